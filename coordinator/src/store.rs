//! The ledger on disk: one redb file, one durable transaction per block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dropbear_certificates::Digest;
use dropbear_consensus::{Appended, EngineTip, Place, Storage, StoredBlock};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const DECIDED: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("decided");
/// Seq and leaf of every governance entry.
const GOVERNANCE: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("governance");
/// Encoded model sets by their digests.
const MODEL_SETS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("model-sets");
/// One row: height and name of the engine's last final block.
const TIP: TableDefinition<'_, (), (u64, &[u8; 32])> = TableDefinition::new("tip");
/// Pages that stay in memory; blocks are read rarely.
const CACHE_BYTES: usize = 16 << 20;
const FILE: &str = "ledger.redb";

/// Why the ledger's file cannot be used; always this machine's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error(
        "cannot open the ledger {0}: {1} (is another coordinator using it, is the disk writable, is the file damaged?)"
    )]
    Open(PathBuf, redb::Error),
    /// Reading or writing failed.
    #[error("the ledger cannot be read or written: {0}")]
    Io(#[from] redb::Error),
    /// A block does not read back.
    #[error("block {0} of the ledger is damaged: {1}")]
    Damaged(u64, dropbear_certificates::cbor::CborError),
}

/// The ledger's file; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store(Arc<Database>);

/// redb has one error type per operation, all of which convert into one.
fn io<T>(result: Result<T, impl Into<redb::Error>>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Io(error.into()))
}

impl Store {
    /// Opens or creates the ledger in `folder`.
    ///
    /// # Errors
    /// [`StoreError::Open`] if the folder or the file cannot be used.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let failed = |error: redb::Error| StoreError::Open(path.clone(), error);
        std::fs::create_dir_all(folder).map_err(|error| failed(redb::Error::Io(error)))?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&path);
        let database = database.map_err(|error| failed(error.into()))?;
        let tables = io(database.begin_write())?;
        io(tables.open_table(BLOCKS))?;
        io(tables.open_table(DECIDED))?;
        io(tables.open_table(GOVERNANCE))?;
        io(tables.open_table(MODEL_SETS))?;
        io(tables.open_table(TIP))?;
        io(tables.commit())?;
        Ok(Self(Arc::new(database)))
    }
}

impl Storage for Store {
    type Error = StoreError;

    fn append(&mut self, appended: &Appended<'_>) -> Result<(), StoreError> {
        let (block, seq) = (appended.block, appended.block.header.seq);
        let transaction = io(self.0.begin_write())?;
        {
            let mut blocks = io(transaction.open_table(BLOCKS))?;
            io(blocks.insert(seq, block.to_bytes().as_slice()))?;
            let mut places = io(transaction.open_table(DECIDED))?;
            for (id, place) in appended.decided {
                io(places.insert(id.as_bytes(), (place.seq, place.leaf_index)))?;
            }
            let mut governance = io(transaction.open_table(GOVERNANCE))?;
            for leaf in appended.governance {
                io(governance.insert((seq, *leaf), ()))?;
            }
            let mut model_sets = io(transaction.open_table(MODEL_SETS))?;
            for (digest, models) in appended.model_sets {
                if io(model_sets.get(digest.as_bytes()))?.is_none() {
                    io(model_sets.insert(digest.as_bytes(), models.to_bytes().as_slice()))?;
                }
            }
            io(io(transaction.open_table(TIP))?.insert((), (appended.height, &block.block)))?;
        }
        io(transaction.commit())
    }

    fn pass(&mut self, tip: EngineTip) -> Result<(), StoreError> {
        let transaction = io(self.0.begin_write())?;
        io(io(transaction.open_table(TIP))?.insert((), (tip.height, &tip.block)))?;
        io(transaction.commit())
    }

    fn tip(&self) -> Result<Option<EngineTip>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let tip = io(io(transaction.open_table(TIP))?.get(()))?;
        Ok(tip.map(|tip| EngineTip { height: tip.value().0, block: *tip.value().1 }))
    }

    fn block(&self, seq: u64) -> Result<Option<StoredBlock>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let blocks = io(transaction.open_table(BLOCKS))?;
        let bytes = io(blocks.get(seq))?;
        let block = bytes.map(|bytes| StoredBlock::from_bytes(bytes.value()));
        block.transpose().map_err(|error| StoreError::Damaged(seq, error))
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let blocks = io(transaction.open_table(BLOCKS))?;
        Ok(io(blocks.last())?.map_or(0, |(seq, _)| seq.value()))
    }

    fn decided(&self, request: &Digest) -> Result<Option<Place>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let places = io(transaction.open_table(DECIDED))?;
        let place = io(places.get(request.as_bytes()))?.map(|place| place.value());
        Ok(place.map(|(seq, leaf_index)| Place { seq, leaf_index }))
    }

    fn governance(&self, from_seq: u64, count: usize) -> Result<Vec<Place>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let governance = io(transaction.open_table(GOVERNANCE))?;
        let mut places = Vec::new();
        for row in io(governance.range((from_seq, 0)..))?.take(count) {
            let (seq, leaf_index) = io(row)?.0.value();
            places.push(Place { seq, leaf_index });
        }
        Ok(places)
    }

    fn model_set(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let model_sets = io(transaction.open_table(MODEL_SETS))?;
        Ok(io(model_sets.get(digest.as_bytes()))?.map(|models| models.value().to_vec()))
    }
}
