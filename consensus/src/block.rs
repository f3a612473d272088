//! Blocks as they are ordered, and the leaves that make up a block's record tree.

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::genesis::CHARTER_BYTES_MAX;
use dropbear_certificates::{Digest, PublicKey, Signature};

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::entry::{Checked, ENTRY_BYTES_MAX, Invalid, Statement};
use crate::refusal::BlockRefused;

/// A block holds at most this many entries.
pub const BLOCK_ENTRIES_MAX: usize = 4096;

/// A block holds at most this many leaves.
pub const BLOCK_LEAVES_MAX: usize = 65_536;

/// A leaf is at most this large: a proposal holds a charter.
pub const LEAF_BYTES_MAX: usize = CHARTER_BYTES_MAX + 1024;

/// A block is at most this large.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;

/// What says how long an entry is.
const ENTRY_HEAD_BYTES_MAX: usize = 9;

/// What a proposer puts forward: a time and entries, encoded but not yet parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Agreed time, Unix milliseconds: the proposer's clock, within bounds that voters check.
    pub agreed_ms: u64,
    /// The entries' encodings, in order.
    pub entries: Vec<Vec<u8>>,
}

impl Proposal {
    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let room = self.entries.iter().map(|entry| entry.len() + ENTRY_HEAD_BYTES_MAX).sum::<usize>();
        let mut out = Encoder::with_capacity(room + ENTRY_HEAD_BYTES_MAX * 4);
        out.array(3).uint(1).uint(self.agreed_ms).array(self.entries.len());
        for entry in &self.entries {
            out.bytes(entry);
        }
        out.finish()
    }

    /// Reads what [`Proposal::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no proposal.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let (agreed_ms, entries) = Self::parse(bytes)?;
        Ok(Self { agreed_ms, entries: entries.into_iter().map(<[u8]>::to_vec).collect() })
    }

    /// Agreed time and the entries' bytes.
    fn parse(bytes: &[u8]) -> Result<(u64, Vec<&[u8]>), CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(3)?;
        input.key(1)?;
        let agreed_ms = input.uint()?;
        let count = input.array(BLOCK_ENTRIES_MAX)?;
        let entries = (0..count).map(|_| input.bytes(ENTRY_BYTES_MAX)).collect::<Result<_, CborError>>()?;
        input.finish()?;
        Ok((agreed_ms, entries))
    }
}

/// A proposal whose entries are all checked.
#[derive(Clone, Debug)]
pub struct CheckedProposal {
    /// Agreed time, Unix milliseconds.
    pub agreed_ms: u64,
    /// The entries, in order; at least one, none twice.
    pub entries: Vec<Arc<Checked>>,
}

impl CheckedProposal {
    /// Parses a block's payload and checks its entries with `check`: a replica answers from its cache where it can.
    ///
    /// # Errors
    /// [`BlockRefused`] says why an honest replica does not vote for the block.
    pub fn from_payload(
        payload: &[u8],
        mut check: impl FnMut(&[u8]) -> Result<Arc<Checked>, Invalid>,
    ) -> Result<Self, BlockRefused> {
        let (agreed_ms, encoded) = Proposal::parse(payload)?;
        if encoded.is_empty() {
            return Err(BlockRefused::Empty);
        }
        let mut seen = BTreeSet::new();
        let mut entries = Vec::with_capacity(encoded.len());
        for (place, bytes) in encoded.into_iter().enumerate() {
            let entry = check(bytes).map_err(|error| BlockRefused::Invalid(place, error))?;
            if !seen.insert(entry.digest()) {
                return Err(BlockRefused::Twice(place));
            }
            entries.push(entry);
        }
        Ok(Self { agreed_ms, entries })
    }
}

/// Leaf 0 of every block: where the block stands, and the state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block.
    pub seq: u64,
    /// Digest of the previous header's bytes; the genesis digest in the first block.
    pub parent: Digest,
    /// Agreed time, Unix milliseconds.
    pub agreed_ms: u64,
    /// Entries in the block.
    pub entries: u64,
    /// Digest of registry, decided ids and accounts after the block.
    pub state: Digest,
}

impl BlockInfo {
    /// The leaf's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(7).text("block").uint(1).uint(self.seq).digest(&self.parent);
        out.uint(self.agreed_ms).uint(self.entries).digest(&self.state);
        out.finish()
    }
}

/// The leaf of a signed statement: its place and the statement itself.
#[must_use]
pub fn statement_leaf(entry: &dyn Statement, signature: &Signature, seq: u64, leaf_index: u64) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(6).text(entry.name()).uint(1).uint(seq).uint(leaf_index).bytes(&entry.statement()).bytes(signature);
    out.finish()
}

/// The leaf of late ballots: how many requests each owner answered late.
#[must_use]
pub fn late_leaf(entry: &Digest, owners: &[(PublicKey, u64)], seq: u64, leaf_index: u64) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(6).text("late").uint(1).uint(seq).uint(leaf_index).digest(entry).array(owners.len());
    for (owner, requests) in owners {
        out.array(2).bytes(owner.as_bytes()).uint(*requests);
    }
    out.finish()
}
