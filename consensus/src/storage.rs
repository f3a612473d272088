//! What a ledger keeps on disk, behind a trait: the rules here do no IO.

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::{Digest, Header, ModelSet, Signature};

use crate::block::{BLOCK_BYTES_MAX, BLOCK_LEAVES_MAX, LEAF_BYTES_MAX};
use crate::chain::BlockId;
use crate::refusal::Place;

/// What says how long a leaf is.
const HEAD_BYTES_MAX: usize = 9;
/// A stored block without payload and leaves.
const FRAME_BYTES_MAX: usize = 1024;

/// A final block as it is stored, with this coordinator's attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// The engine's name of the block.
    pub block: BlockId,
    /// The proposal's bytes: entries with ballot bodies.
    pub payload: Vec<u8>,
    /// The header.
    pub header: Header,
    /// Every leaf of the record tree.
    pub leaves: Vec<Vec<u8>>,
    /// This coordinator's attestation; none if it only follows.
    pub attestation: Option<Signature>,
}

impl StoredBlock {
    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let room = self.payload.len() + self.leaves.iter().map(|leaf| leaf.len() + HEAD_BYTES_MAX).sum::<usize>();
        let mut out = Encoder::with_capacity(room + FRAME_BYTES_MAX);
        out.array(6).uint(1).bytes(&self.block).bytes(&self.payload).bytes(&self.header.to_bytes());
        out.array(self.leaves.len());
        for leaf in &self.leaves {
            out.bytes(leaf);
        }
        match &self.attestation {
            Some(signature) => out.bytes(signature),
            None => out.null(),
        };
        out.finish()
    }

    /// Reads what [`StoredBlock::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no stored block.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(6)?;
        input.key(1)?;
        let block = input.fixed()?;
        let payload = input.bytes(2 * BLOCK_BYTES_MAX)?.to_vec();
        let header = Header::from_bytes(input.bytes(1024)?)?;
        let count = input.array(BLOCK_LEAVES_MAX)?;
        let leaves = (0..count).map(|_| Ok(input.bytes(LEAF_BYTES_MAX)?.to_vec())).collect::<Result<_, CborError>>()?;
        let attestation = if input.null() { None } else { Some(input.fixed()?) };
        input.finish()?;
        Ok(Self { block, payload, header, leaves, attestation })
    }
}

/// The engine's last final block that this replica made durable; it may have no entries and so no seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineTip {
    /// Its height in the engine's chain.
    pub height: u64,
    /// Its name.
    pub block: BlockId,
}

/// A final block with everything that is looked up apart from it.
#[derive(Clone, Copy, Debug)]
pub struct Appended<'a> {
    /// The block.
    pub block: &'a StoredBlock,
    /// Its height in the engine's chain.
    pub height: u64,
    /// The request ids that it decides.
    pub decided: &'a [(Digest, Place)],
    /// Its leaves that are governance entries.
    pub governance: &'a [u64],
    /// The model sets that its records name.
    pub model_sets: &'a [(Digest, ModelSet)],
    /// Attestations of members, by place, that came since the block before and are the newest of theirs.
    pub heard: &'a [(u32, Vec<u8>)],
}

/// Durable storage of the ledger. Implementations are atomic and durable when a call returns.
pub trait Storage {
    /// What can go wrong; always this machine's fault.
    type Error;

    /// Appends a final block, and moves the tip to it.
    ///
    /// # Errors
    /// The implementation's; nothing is then changed.
    fn append(&mut self, appended: &Appended<'_>) -> Result<(), Self::Error>;

    /// Moves the tip to a final block without entries.
    ///
    /// # Errors
    /// The implementation's; nothing is then changed.
    fn pass(&mut self, tip: EngineTip) -> Result<(), Self::Error>;

    /// The tip; `None` before the first final block.
    ///
    /// # Errors
    /// The implementation's.
    fn tip(&self) -> Result<Option<EngineTip>, Self::Error>;

    /// The block at `seq`.
    ///
    /// # Errors
    /// The implementation's.
    fn block(&self, seq: u64) -> Result<Option<StoredBlock>, Self::Error>;

    /// The last block's seq; 0 if there is none.
    ///
    /// # Errors
    /// The implementation's.
    fn last_seq(&self) -> Result<u64, Self::Error>;

    /// Where a request was decided, however long ago.
    ///
    /// # Errors
    /// The implementation's.
    fn decided(&self, request: &Digest) -> Result<Option<Place>, Self::Error>;

    /// The places of governance entries in blocks from `from_seq` on, in ledger order, at most `count`.
    ///
    /// # Errors
    /// The implementation's.
    fn governance(&self, from_seq: u64, count: usize) -> Result<Vec<Place>, Self::Error>;

    /// A model set that a record names, however old.
    ///
    /// # Errors
    /// The implementation's.
    fn model_set(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Self::Error>;
}
