//! Ed25519 keys and signatures, with the strictness on which independent verifiers agree.
//!
//! Implementations of Ed25519 disagree on hundreds of edge cases. Three rules remove them (`SPEC.md`, "Signatures"): a
//! key is admitted only if canonical and torsion-free; the encoding of R is not the identity; the equation is checked
//! without cofactor, one signature at a time, never in a batch.

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::{Signer as _, Verifier as _};

#[cfg(feature = "std")]
mod recent;

use crate::cbor::Encoder;
use crate::digest::Digest;

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// COSE algorithm identifier of EdDSA (RFC 9053), here always Ed25519.
pub const COSE_ALG_EDDSA: i64 = -8;

/// The encoding of the identity point, which no R may have.
pub(crate) const IDENTITY: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// A raw Ed25519 signature.
pub type Signature = [u8; SIGNATURE_BYTES];

/// Why 32 bytes are not an admissible public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an admissible Ed25519 public key: it must be canonical, on the curve and torsion-free")]
pub struct InvalidKey;

/// An admitted public key: canonical, on the curve, torsion-free and not the identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Admits a key: about 23 µs, and with the feature `std` next to nothing if it was admitted a moment ago.
    ///
    /// # Errors
    /// [`InvalidKey`] if the bytes are no point, not canonical, or have a component of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        #[cfg(feature = "std")]
        return recent::admit(bytes);
        #[cfg(not(feature = "std"))]
        Self::admit(bytes)
    }

    fn admit(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey)?;
        let point = key.to_edwards();
        let canonical = point.compress().to_bytes() == *bytes;
        if canonical && !key.is_weak() && point.is_torsion_free() { Ok(Self(key)) } else { Err(InvalidKey) }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn point(&self) -> curve25519_dalek::EdwardsPoint {
        self.0.to_edwards()
    }

    /// The COSE key identifier: the first 8 bytes of the key's SHA-256. A hint, never an identity.
    #[must_use]
    pub fn key_id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&Digest::of(self.as_bytes()).0[..8]);
        id
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        signature[..32] != IDENTITY && self.0.verify(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(*self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret key; wiped from memory when dropped, never shown.
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// From its 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed itself: handle with care.
    #[cfg(feature = "samples")]
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message` as it is.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// What a signature is about; part of the signed bytes, so that no statement can pass for one of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatementType {
    /// A client's request for one inference.
    Request,
    /// An owner's answers to one request batch.
    Ballot,
    /// A gateway's submission of a ballot set.
    Submission,
    /// An owner's publication of a model version.
    Publish,
    /// An owner's activation of a published version.
    Activate,
    /// An owner's registration of a model.
    Register,
    /// An owner's withdrawal of a version.
    Withdraw,
    /// An owner's list of its model nodes.
    Endpoints,
    /// An owner's proposal of a charter.
    Propose,
    /// An owner's approval of a proposed charter, or its consent to sit in it.
    Approve,
    /// An owner's leaving of a group.
    Leave,
    /// An owner's change of its key; the old key and the new one sign.
    Rekey,
    /// A report of two ballots that contradict each other.
    Evidence,
    /// A gateway's ballots that came after the outcome.
    Late,
}

impl StatementType {
    /// The COSE `typ` value (RFC 9596).
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Request => "application/dropbear-request+cose;v=1",
            Self::Ballot => "application/dropbear-ballot+cose;v=1",
            Self::Submission => "application/dropbear-submission+cose;v=1",
            Self::Publish => "application/dropbear-publish+cose;v=1",
            Self::Activate => "application/dropbear-activate+cose;v=1",
            Self::Register => "application/dropbear-register+cose;v=1",
            Self::Withdraw => "application/dropbear-withdraw+cose;v=1",
            Self::Endpoints => "application/dropbear-endpoints+cose;v=1",
            Self::Propose => "application/dropbear-propose+cose;v=1",
            Self::Approve => "application/dropbear-approve+cose;v=1",
            Self::Leave => "application/dropbear-leave+cose;v=1",
            Self::Rekey => "application/dropbear-rekey+cose;v=1",
            Self::Evidence => "application/dropbear-evidence+cose;v=1",
            Self::Late => "application/dropbear-late+cose;v=1",
        }
    }

    /// The bytes that `key`'s signature over `payload` covers.
    #[must_use]
    pub fn signed_bytes(self, key: &PublicKey, payload: &[u8]) -> Vec<u8> {
        let mut protected = Encoder::new();
        protected.map(3).uint(1).int(COSE_ALG_EDDSA).uint(4).bytes(&key.key_id()).uint(16).text(self.media_type());
        signature1(&protected.finish(), payload)
    }

    /// Signs `payload` as a statement of this type.
    #[must_use]
    pub fn sign(self, key: &SecretKey, payload: &[u8]) -> Signature {
        key.sign(&self.signed_bytes(&key.public(), payload))
    }

    /// Whether `signature` is `key`'s over `payload` as a statement of this type.
    #[must_use]
    pub fn verifies(self, key: &PublicKey, payload: &[u8], signature: &Signature) -> bool {
        key.verifies(&self.signed_bytes(key, payload), signature)
    }
}

/// The bytes that a COSE_Sign1 signature covers (RFC 9052 section 4.4), with empty external data.
#[must_use]
pub fn signature1(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Encoder::new();
    bytes.array(4).text("Signature1").bytes(protected).bytes(&[]).bytes(payload);
    bytes.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_small_order_components_are_not_admitted() {
        // The eight points of small order, and a non-canonical encoding of one (y = p + 1).
        for hex in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let bytes = Digest::from_hex(hex).unwrap().0;
            assert_eq!(PublicKey::from_bytes(&bytes), Err(InvalidKey), "{hex}");
        }
        let torsion = curve25519_dalek::constants::EIGHT_TORSION[1];
        let mixed = SecretKey::from_seed(&[7; 32]).public().0.to_edwards() + torsion;
        assert_eq!(PublicKey::from_bytes(&mixed.compress().to_bytes()), Err(InvalidKey));
    }

    #[test]
    fn a_statement_of_one_type_is_none_of_another() {
        let key = SecretKey::from_seed(&[1; 32]);
        let signature = StatementType::Ballot.sign(&key, b"payload");
        assert!(StatementType::Ballot.verifies(&key.public(), b"payload", &signature));
        assert!(!StatementType::Request.verifies(&key.public(), b"payload", &signature));
        assert!(!StatementType::Ballot.verifies(&key.public(), b"payloae", &signature));
        assert!(!StatementType::Ballot.verifies(&SecretKey::from_seed(&[2; 32]).public(), b"payload", &signature));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let key = SecretKey::from_seed(&[0xab; 32]);
        assert!(!alloc::format!("{key:?}").contains("abab"));
    }
}
