//! Expansion into standard receipts (RFC 9942): one COSE_Sign1 per attestation, without any new signature.
//!
//! Each receipt is tag 18 `[protected header with kid, {396: {-1: [inclusion proof]}}, null, signature]`; the payload, the
//! block's record root, is detached and follows from the record's bytes and the proof. Tools that know RFC 9942 verify a
//! receipt unmodified. None of them counts a quorum, nor checks the outcome: that is what
//! [`Certificate::verify`](crate::Certificate::verify) is for.

use alloc::vec::Vec;

use crate::cbor::Encoder;
use crate::key::PublicKey;
use crate::verify::Verified;

const COSE_SIGN1_TAG: u8 = 0xd2;
const LABEL_VDP: u64 = 396;
const INCLUSION_PROOFS: i64 = -1;

/// One standard receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who signed it.
    pub key: PublicKey,
    /// The receipt's bytes: a tagged COSE_Sign1.
    pub bytes: Vec<u8>,
}

impl Verified {
    /// The bytes of the record: the entry that the receipts prove to be in the ledger.
    #[must_use]
    pub fn record_bytes(&self) -> Vec<u8> {
        self.record().to_bytes()
    }

    /// One receipt per attestation, ascending by place in the committee.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        let proof = self.inclusion_proof();
        let one = |(place, signature): (&usize, &crate::key::Signature)| {
            let key = self.committee().members[*place].attestation;
            let mut out = Encoder::new();
            out.raw(&[COSE_SIGN1_TAG]).array(4).bytes(&self.header().protected(Some(&key)));
            out.map(1).uint(LABEL_VDP).map(1).int(INCLUSION_PROOFS).array(1).bytes(&proof);
            out.null().bytes(signature);
            Receipt { key, bytes: out.finish() }
        };
        self.signers().iter().zip(&self.certificate().signatures).map(one).collect()
    }

    /// RFC 9942 section 5.2: `[tree size, leaf index, [path nodes]]`.
    fn inclusion_proof(&self) -> Vec<u8> {
        let path = &self.certificate().path;
        let mut out = Encoder::new();
        out.array(3).uint(self.header().tree_size).uint(self.record().leaf_index).array(path.len());
        path.iter().for_each(|node| {
            out.digest(node);
        });
        out.finish()
    }
}
