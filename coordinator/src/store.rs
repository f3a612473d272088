//! The ledger on disk: one redb file, one durable transaction per block.
//!
//! A transaction is on disk when it ends (redb syncs its file, and finds torn writes of its own pages at the next
//! start). Every block carries a checksum besides, since disks rot. What a full or broken disk refuses changes nothing:
//! the coordinator stops, and finds the ledger as it was.

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
/// What the file says of itself, by the names below.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The version of this layout: one byte.
const META_FORMAT: &str = "format";
/// Why this coordinator follows without a vote; absent where it may vote.
const META_FOLLOWS: &str = "follows";
/// The newest attestation that was heard of every member, by its place.
const HEARD: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("heard");
/// Version 1 had no META, no HEARD and no checksums; its blocks are still read.
const FORMAT: u8 = 2;
/// A block with its checksum begins with this, which no block of version 1 does, and then with SHA-256 of the rest.
const CHECKED: u8 = 2;
/// Pages that stay in memory; blocks are read rarely.
const CACHE_BYTES: usize = 16 << 20;
const FILE: &str = "ledger.redb";

/// What an operator does about a damaged file.
const AFTER_DAMAGE: &str = "move the data directory aside and start again: the coordinator then fetches the ledger from its \
                            peers, and follows without a vote, as its record of what it signed is gone";

/// Why the ledger's file cannot be used; always this machine's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error(
        "cannot open the ledger {0}: {1} (is another coordinator using it, is the disk writable? if the file is damaged, \
         {AFTER_DAMAGE})"
    )]
    Open(PathBuf, redb::Error),
    /// Reading or writing failed.
    #[error("the ledger cannot be read or written: {0}")]
    Io(#[from] redb::Error),
    /// A block does not read back.
    #[error("block {0} of the ledger is damaged ({1}); {AFTER_DAMAGE}")]
    Damaged(u64, String),
    /// The file is of a newer version.
    #[error("the ledger {0} has format {1}, written by a newer dropbear; this one reads formats 1 to {FORMAT}")]
    Format(PathBuf, u8),
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
    /// [`StoreError::Open`] if the folder or the file cannot be used, [`StoreError::Format`] if the file is of a newer
    /// version.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let failed = |error: redb::Error| StoreError::Open(path.clone(), error);
        std::fs::create_dir_all(folder).map_err(|error| failed(redb::Error::Io(error)))?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&path);
        Self::prepare(database.map_err(|error| failed(error.into()))?, &path)
    }

    /// The ledger on a disk that is made up.
    #[cfg(feature = "sim")]
    pub(crate) fn on(disk: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let path = PathBuf::from("simulated");
        let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(disk);
        Self::prepare(database.map_err(|error| StoreError::Open(path.clone(), error.into()))?, &path)
    }

    fn prepare(database: Database, path: &Path) -> Result<Self, StoreError> {
        let tables = io(database.begin_write())?;
        io(tables.open_table(BLOCKS))?;
        io(tables.open_table(DECIDED))?;
        io(tables.open_table(GOVERNANCE))?;
        io(tables.open_table(MODEL_SETS))?;
        io(tables.open_table(TIP))?;
        io(tables.open_table(HEARD))?;
        {
            let mut meta = io(tables.open_table(META))?;
            let format = io(meta.get(META_FORMAT))?.and_then(|bytes| bytes.value().first().copied());
            if let Some(newer) = format.filter(|format| *format > FORMAT) {
                return Err(StoreError::Format(path.to_owned(), newer));
            }
            io(meta.insert(META_FORMAT, &[FORMAT][..]))?;
        }
        io(tables.commit())?;
        Ok(Self(Arc::new(database)))
    }

    /// Why this coordinator follows without a vote, if it does.
    pub(crate) fn follows(&self) -> Result<Option<String>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let reason = io(io(transaction.open_table(META))?.get(META_FOLLOWS))?;
        Ok(reason.map(|reason| String::from_utf8_lossy(reason.value()).into_owned()))
    }

    /// From now on this coordinator follows without a vote, for this reason.
    pub(crate) fn set_follows(&self, reason: &str) -> Result<(), StoreError> {
        let transaction = io(self.0.begin_write())?;
        io(io(transaction.open_table(META))?.insert(META_FOLLOWS, reason.as_bytes()))?;
        io(transaction.commit())
    }

    /// The newest attestations that were heard, by member.
    pub(crate) fn heard(&self) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let transaction = io(self.0.begin_read())?;
        let heard = io(transaction.open_table(HEARD))?;
        let rows = io(heard.range::<u32>(..))?;
        rows.map(|row| io(row).map(|(member, bytes)| (member.value(), bytes.value().to_vec()))).collect()
    }
}

/// A block as its row holds it.
fn checked(block: &StoredBlock) -> Vec<u8> {
    let bytes = block.to_bytes();
    let checksum = Digest::of(&bytes);
    let mut row = Vec::with_capacity(1 + checksum.0.len() + bytes.len());
    row.push(CHECKED);
    row.extend_from_slice(&checksum.0);
    row.extend_from_slice(&bytes);
    row
}

fn parse_block(seq: u64, row: &[u8]) -> Result<StoredBlock, StoreError> {
    let damaged = |why: String| StoreError::Damaged(seq, why);
    let bytes = match row.split_first() {
        Some((&CHECKED, rest)) => {
            let (checksum, bytes) = rest.split_first_chunk().ok_or_else(|| damaged("it is cut off".into()))?;
            if Digest::of(bytes).0 != *checksum {
                return Err(damaged("its checksum does not fit".into()));
            }
            bytes
        }
        _ => row,
    };
    StoredBlock::from_bytes(bytes).map_err(|error| damaged(error.to_string()))
}

impl Storage for Store {
    type Error = StoreError;

    fn append(&mut self, appended: &Appended<'_>) -> Result<(), StoreError> {
        let (block, seq) = (appended.block, appended.block.header.seq);
        let transaction = io(self.0.begin_write())?;
        {
            let mut blocks = io(transaction.open_table(BLOCKS))?;
            io(blocks.insert(seq, checked(block).as_slice()))?;
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
            let mut heard = io(transaction.open_table(HEARD))?;
            for (member, attestation) in appended.heard {
                io(heard.insert(member, attestation.as_slice()))?;
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
        bytes.map(|bytes| parse_block(seq, bytes.value())).transpose()
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

#[cfg(test)]
mod tests {
    use dropbear_certificates::Header;

    use super::*;

    fn block(seq: u64) -> StoredBlock {
        let header = Header {
            genesis: Digest::of(b"genesis"),
            epoch: 0,
            config: Digest::of(b"config"),
            seq,
            tree_size: 2,
            ledger_root: Digest::of(b"ledger"),
            governance_seq: 0,
            agreed_ms: 1_700_000_000_000,
            record_root: Digest::of(b"records"),
        };
        StoredBlock {
            block: [7; 32],
            payload: b"payload".to_vec(),
            header,
            leaves: vec![b"info".to_vec(), b"leaf".to_vec()],
            attestation: Some([9; 64]),
        }
    }

    #[test]
    fn a_ledger_of_the_first_format_is_read_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let old = Database::create(folder.path().join(FILE)).unwrap();
        let transaction = old.begin_write().unwrap();
        transaction.open_table(BLOCKS).unwrap().insert(1, block(1).to_bytes().as_slice()).unwrap();
        transaction.open_table(TIP).unwrap().insert((), (1, &[7; 32])).unwrap();
        transaction.commit().unwrap();
        drop(old);

        let mut store = Store::open(folder.path()).unwrap();
        assert_eq!((store.last_seq().unwrap(), store.block(1).unwrap()), (1, Some(block(1))));
        assert_eq!(store.follows().unwrap(), None);
        let next = block(2);
        let heard = [(3, b"attestation".to_vec())];
        let appended =
            Appended { block: &next, height: 2, decided: &[], governance: &[], model_sets: &[], heard: &heard };
        store.append(&appended).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!((store.block(1).unwrap(), store.block(2).unwrap()), (Some(block(1)), Some(next)));
        assert_eq!(store.heard().unwrap(), heard);
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let transaction = store.0.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(META_FORMAT, &[FORMAT + 1][..]).unwrap();
        transaction.commit().unwrap();
        drop(store);
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has format 3") && error.contains("newer dropbear"), "{error}");
    }

    #[test]
    fn every_damage_to_a_block_is_noticed() {
        let row = checked(&block(5));
        assert_eq!(parse_block(5, &row).unwrap(), block(5));
        for place in 0..row.len() {
            let mut damaged = row.clone();
            damaged[place] ^= 1;
            assert!(matches!(parse_block(5, &damaged), Err(StoreError::Damaged(5, _))), "byte {place}");
        }
        assert!(parse_block(5, &row[..20]).is_err());
    }
}
