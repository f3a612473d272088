//! Block headers: what coordinators attest.
//!
//! Every field is a pure function of the finalised chain, so honest coordinators sign the same bytes (but for their own
//! key id). The protected COSE header carries the fields; the payload is the block's record root. Each attestation is
//! therefore a signature of a standard RFC 9942 receipt.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::HEXLOWER;

use crate::cbor::{CborError, Decoder, Encoder};
use crate::digest::Digest;
use crate::key::{COSE_ALG_EDDSA, PublicKey, SecretKey, Signature, signature1};
use crate::merkle;

/// A template is at most this large.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 512;

const MEDIA_TYPE: &str = "application/dropbear-header+cose;v=1";
const SUBJECT: &str = "ledger";
/// Label of the ledger's fields in the protected header; private use (below -65536).
const LABEL_LEDGER: i64 = -70_001;
/// RFC 9942: the verifiable data structure of the receipt, and its value for RFC 9162 trees with SHA-256.
const LABEL_VDS: u64 = 395;
const VDS_RFC9162_SHA256: u64 = 1;
const LABEL_KEY_ID: u64 = 4;
const LABEL_CWT_CLAIMS: u64 = 15;
const LABEL_TYPE: u64 = 16;

/// A block's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// Config epoch of the committee that attests.
    pub epoch: u64,
    /// Digest of that committee's config.
    pub config: Digest,
    /// The block's place in the ledger, from 1.
    pub seq: u64,
    /// Leaves of the block's record tree, at least 2.
    pub tree_size: u64,
    /// Root of the ledger tree over all earlier headers.
    pub ledger_root: Digest,
    /// Seq of the last block with a governance entry; 0 if there was none.
    pub governance_seq: u64,
    /// Agreed time, Unix milliseconds.
    pub agreed_ms: u64,
    /// Root of the block's record tree.
    pub record_root: Digest,
}

const ISSUER: &str = "dropbear:";

fn issuer(genesis: &Digest) -> String {
    format!("{ISSUER}{}", genesis.short())
}

/// A header's leaf in the ledger tree, from its parts.
pub(crate) fn ledger_leaf(template: &[u8], record_root: &Digest) -> Digest {
    merkle::leaf_hash(&leaf_data(template, record_root))
}

fn leaf_data(template: &[u8], record_root: &Digest) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(2).bytes(template).digest(record_root);
    out.finish()
}

/// Whether this is the market's issuer; without allocating, since every verification asks.
fn is_issuer(stated: &str, genesis: &Digest) -> bool {
    let mut short = [0; 16];
    HEXLOWER.encode_mut(&genesis.0[..8], &mut short);
    stated.strip_prefix(ISSUER).is_some_and(|rest| rest.as_bytes() == short)
}

impl Header {
    /// The protected header without a key id: equal for all coordinators.
    #[must_use]
    pub fn template(&self) -> Vec<u8> {
        self.protected(None)
    }

    /// The protected header as one coordinator signs it.
    #[must_use]
    pub fn protected(&self, key: Option<&PublicKey>) -> Vec<u8> {
        let mut out = Encoder::new();
        out.map(5 + usize::from(key.is_some())).uint(1).int(COSE_ALG_EDDSA);
        if let Some(key) = key {
            out.uint(LABEL_KEY_ID).bytes(&key.key_id());
        }
        out.uint(LABEL_CWT_CLAIMS).map(3);
        out.uint(1).text(&issuer(&self.genesis)).uint(2).text(SUBJECT).uint(6).uint(self.agreed_ms / 1000);
        out.uint(LABEL_TYPE).text(MEDIA_TYPE).uint(LABEL_VDS).uint(VDS_RFC9162_SHA256);
        out.int(LABEL_LEDGER).array(9).uint(1).digest(&self.genesis).uint(self.epoch).digest(&self.config);
        out.uint(self.seq).uint(self.tree_size).digest(&self.ledger_root);
        out.uint(self.governance_seq).uint(self.agreed_ms);
        out.finish()
    }

    /// Reads a template; the record root comes from the certificate's path.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are not exactly what [`Header::template`] writes for some header.
    pub fn from_template(bytes: &[u8], record_root: Digest) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        if input.map(5)? != 5 {
            return Err(CborError::Bounds);
        }
        input.key(1)?;
        if input.int()? != COSE_ALG_EDDSA {
            return Err(CborError::Bounds);
        }
        input.key(LABEL_CWT_CLAIMS)?;
        if input.map(3)? != 3 {
            return Err(CborError::Bounds);
        }
        input.key(1)?;
        let stated_issuer = input.text(64)?;
        input.key(2)?;
        let subject = input.text(16)?;
        input.key(6)?;
        let seconds = input.uint()?;
        input.key(LABEL_TYPE)?;
        let media_type = input.text(64)?;
        input.key(LABEL_VDS)?;
        input.key(VDS_RFC9162_SHA256)?;
        if input.int()? != LABEL_LEDGER {
            return Err(CborError::Bounds);
        }
        input.array_of(9)?;
        input.key(1)?;
        let header = Self {
            genesis: input.digest()?,
            epoch: input.uint()?,
            config: input.digest()?,
            seq: input.uint()?,
            tree_size: input.uint()?,
            ledger_root: input.digest()?,
            governance_seq: input.uint()?,
            agreed_ms: input.uint()?,
            record_root,
        };
        input.finish()?;
        let claims_fit = is_issuer(stated_issuer, &header.genesis)
            && subject == SUBJECT
            && media_type == MEDIA_TYPE
            && seconds == header.agreed_ms / 1000
            && header.seq > 0;
        if claims_fit { Ok(header) } else { Err(CborError::Bounds) }
    }

    /// The bytes that `key`'s attestation covers.
    #[must_use]
    pub fn signed_bytes(&self, key: &PublicKey) -> Vec<u8> {
        signature1(&self.protected(Some(key)), self.record_root.as_bytes())
    }

    /// Attests the header. Callers persist it first: an honest coordinator signs one header per seq.
    #[must_use]
    pub fn attest(&self, key: &SecretKey) -> Signature {
        key.sign(&self.signed_bytes(&key.public()))
    }

    /// Whether `signature` is `key`'s attestation of this header.
    #[must_use]
    pub fn is_attested(&self, key: &PublicKey, signature: &Signature) -> bool {
        key.verifies(&self.signed_bytes(key), signature)
    }

    /// The header as a whole: `[template, record root]`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        leaf_data(&self.template(), &self.record_root)
    }

    /// Reads what [`Header::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no header.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(2)?;
        let template = input.bytes(TEMPLATE_BYTES_MAX)?;
        let record_root = input.digest()?;
        input.finish()?;
        Self::from_template(template, record_root)
    }

    /// The header's leaf in the ledger tree.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        merkle::leaf_hash(&self.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn header() -> Header {
        Header {
            genesis: Digest::of(b"genesis"),
            epoch: 0,
            config: Digest::of(b"config"),
            seq: 421,
            tree_size: 1024,
            ledger_root: Digest::of(b"ledger"),
            governance_seq: 0,
            agreed_ms: 1_800_000_000_123,
            record_root: Digest::of(b"records"),
        }
    }

    #[test]
    fn reads_back_and_refuses_every_flipped_bit() {
        let header = header();
        let bytes = header.to_bytes();
        assert_eq!(Header::from_bytes(&bytes), Ok(header.clone()));
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Header::from_bytes(&other), Ok(header.clone()), "bit {bit}");
        }
    }

    #[test]
    fn an_attestation_holds_for_one_header_and_one_key() {
        let (key, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let signature = header().attest(&key);
        assert!(header().is_attested(&key.public(), &signature));
        assert!(!header().is_attested(&other.public(), &signature));
        assert!(!Header { seq: 422, ..header() }.is_attested(&key.public(), &signature));
    }
}
