//! The block that the engine orders: opaque bytes with a place in a chain.

use bytes::Bytes;

/// A block as the engine sees it: opaque bytes with a place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedBlock {
    /// Names the block: see [`OrderedBlock::new`].
    pub digest: [u8; 32],
    /// The digest of the block that this one extends.
    pub parent: [u8; 32],
    /// Blocks below this one, genesis being 0.
    pub height: u64,
    /// The bytes being ordered.
    pub payload: Bytes,
}
