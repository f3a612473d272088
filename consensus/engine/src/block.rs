//! The block that the engine orders: opaque bytes with a place in a chain.

use bytes::{BufMut, Bytes};
use commonware_codec::{Buf, EncodeSize, Error, FixedSize as _, Read, ReadExt as _, Write};
use commonware_consensus::types::Height;
use commonware_consensus::{BoundedBlock, Heightable};
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digestible, Hasher as _, Sha256};

/// Separates a block's digest from every other SHA-256 use.
const DIGEST_DOMAIN: &[u8] = b"dropbear/engine/block/v1";
/// Separates the genesis block's payload from every proposed one.
const GENESIS_DOMAIN: &[u8] = b"dropbear/engine/genesis/v1";
/// Bytes of a block around its payload at most: parent, height, and the payload's length as a varint.
const OVERHEAD_BYTES_MAX: usize = Digest::SIZE + u64::SIZE + 5;

/// A block as the engine sees it: opaque bytes with a place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedBlock {
    /// Names the block: [`OrderedBlock::new`] says how it is computed.
    pub digest: [u8; 32],
    /// The digest of the block that this one extends.
    pub parent: [u8; 32],
    /// Blocks below this one, genesis being 0.
    pub height: u64,
    /// The bytes being ordered.
    pub payload: Bytes,
}

impl OrderedBlock {
    /// The block with this place and payload.
    ///
    /// Its digest is SHA-256 over `dropbear/engine/block/v1`, the parent's digest, the height as eight
    /// big-endian bytes, and the payload.
    pub fn new(parent: [u8; 32], height: u64, payload: Bytes) -> Self {
        let block = Block { parent: Digest(parent), height: Height::new(height), payload };
        block.ordered(block.digest())
    }

    /// The root of the chain that `genesis_digest` names, at height 0: replicas know it from the start, and it
    /// is never delivered.
    pub fn genesis(genesis_digest: [u8; 32]) -> Self {
        let block = Block::genesis(genesis_digest);
        block.ordered(block.digest())
    }
}

/// The same block as the library wants it, with its wire encoding: parent, height, length, payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) parent: Digest,
    pub(crate) height: Height,
    pub(crate) payload: Bytes,
}

impl Block {
    pub(crate) fn genesis(genesis_digest: [u8; 32]) -> Self {
        Self {
            parent: Digest([0; 32]),
            height: Height::zero(),
            payload: [GENESIS_DOMAIN, &genesis_digest].concat().into(),
        }
    }

    /// Takes the digest because whoever holds a block has already computed it.
    pub(crate) fn ordered(&self, digest: Digest) -> OrderedBlock {
        OrderedBlock {
            digest: digest.0,
            parent: self.parent.0,
            height: self.height.get(),
            payload: self.payload.clone(),
        }
    }
}

/// The payload bound under which blocks are decoded. Genesis must fit below it too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PayloadMax(pub(crate) usize);

impl PayloadMax {
    pub(crate) fn new(block_size_bytes_max: usize) -> Self {
        Self(block_size_bytes_max.max(GENESIS_DOMAIN.len() + Digest::SIZE))
    }
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        self.parent.write(buf);
        self.height.get().write(buf);
        self.payload.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        Digest::SIZE + u64::SIZE + self.payload.encode_size()
    }
}

impl Read for Block {
    type Cfg = PayloadMax;

    fn read_cfg(buf: &mut impl Buf, max: &PayloadMax) -> Result<Self, Error> {
        Ok(Self {
            parent: Digest::read(buf)?,
            height: Height::new(u64::read(buf)?),
            payload: Bytes::read_cfg(buf, &(..=max.0).into())?,
        })
    }
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        Sha256::hash(&[DIGEST_DOMAIN, &self.parent, &self.height.get().to_be_bytes(), &self.payload])
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        self.height
    }
}

impl commonware_consensus::Block for Block {
    fn parent(&self) -> Digest {
        self.parent
    }
}

impl BoundedBlock for Block {
    fn max_encode_size(max: &PayloadMax) -> usize {
        OVERHEAD_BYTES_MAX + max.0
    }
}

#[cfg(test)]
mod tests {
    use commonware_codec::{Copying, Decode as _, Encode as _};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn encoding_and_digest_are_golden() {
        let block =
            Block { parent: Digest([7; 32]), height: Height::new(258), payload: Bytes::from_static(b"entries") };
        assert_eq!(hex(&block.encode()), format!("{}0000000000000102{}{}", "07".repeat(32), "07", hex(b"entries")));
        let expected: [u8; 32] =
            Sha256::hash(&[
                &[b"dropbear/engine/block/v1".as_slice(), &[7; 32], &[0, 0, 0, 0, 0, 0, 1, 2], b"entries"].concat()
            ])
            .0;
        let ordered = OrderedBlock::new([7; 32], 258, Bytes::from_static(b"entries"));
        assert_eq!(ordered.digest, expected);
    }

    #[test]
    fn oversized_truncated_and_trailing_bytes_do_not_decode() {
        let max = PayloadMax::new(64);
        let block = Block { parent: Digest([1; 32]), height: Height::new(1), payload: vec![9; 64].into() };
        let encoded = block.encode();
        assert!(encoded.len() <= Block::max_encode_size(&max));
        let decode = |bytes: &[u8], max| Block::decode_cfg(Copying(bytes), &max);
        assert_eq!(decode(&encoded, max).unwrap(), block);
        assert!(decode(&encoded, PayloadMax(63)).is_err());
        assert!(decode(&encoded[..encoded.len() - 1], max).is_err());
        assert!(decode(&[&encoded[..], &[0]].concat(), max).is_err());
    }

    #[test]
    fn genesis_binds_its_digest_and_fits_every_bound() {
        let one = OrderedBlock::genesis([1; 32]);
        assert_ne!(one.digest, OrderedBlock::genesis([2; 32]).digest);
        assert_eq!(one.height, 0);
        assert!(one.payload.len() <= PayloadMax::new(0).0);
    }
}
