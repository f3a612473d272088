//! Between messages and core types. Errors blame the sender: they become `INVALID_ARGUMENT`.

use bytes::Bytes;
use dropbear_certificates::{Digest, Header, PublicKey, Signature};
use dropbear_consensus::{Account, Refused};

pub use crate::registry::{GroupState, GroupView, RegistryState};
use crate::v1;

/// A field that does not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{0}` is missing or malformed")]
pub struct Malformed(pub &'static str);

impl From<Malformed> for tonic::Status {
    fn from(error: Malformed) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// A digest of exactly 32 bytes.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn digest(bytes: &[u8], field: &'static str) -> Result<Digest, Malformed> {
    Digest::from_slice(bytes).ok_or(Malformed(field))
}

/// A digest's bytes.
#[must_use]
pub fn digest_bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

/// A signature of exactly 64 bytes; `None` for an empty field.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn signature(bytes: &[u8], field: &'static str) -> Result<Option<Signature>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(Some).map_err(|_| Malformed(field))
}

/// A header with one coordinator's attestation, not verified.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The header.
    pub header: Header,
    /// The coordinator's place in the committee.
    pub member: usize,
    /// Its signature; none while it only follows.
    pub signature: Option<Signature>,
}

impl TryFrom<&v1::Attested> for Attested {
    type Error = Malformed;

    fn try_from(message: &v1::Attested) -> Result<Self, Malformed> {
        Ok(Self {
            header: Header::from_bytes(&message.header).map_err(|_| Malformed("header"))?,
            member: message.member as usize,
            signature: signature(&message.signature, "signature")?,
        })
    }
}

/// The nodes of a leaf's inclusion path.
///
/// # Errors
/// [`Malformed`] if the path is not a multiple of 32 bytes.
pub fn path(leaf: &v1::Leaf) -> Result<Vec<Digest>, Malformed> {
    let (nodes, rest) = leaf.path.as_chunks::<32>();
    if rest.is_empty() { Ok(nodes.iter().copied().map(Digest).collect()) } else { Err(Malformed("path")) }
}

/// A public key.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn public_key(bytes: &[u8], field: &'static str) -> Result<PublicKey, Malformed> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| Malformed(field))?;
    PublicKey::from_bytes(bytes).map_err(|_| Malformed(field))
}

/// A public key's bytes.
#[must_use]
pub fn key_bytes(key: &PublicKey) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

/// A refusal for whoever sent the entry.
#[must_use]
pub fn refusal(refused: &Refused) -> v1::Refusal {
    let (seq, leaf_index) = match refused {
        Refused::AlreadyDecided(place) => (place.seq, place.leaf_index),
        _ => (0, 0),
    };
    v1::Refusal { code: refused.code().into(), message: refused.to_string(), seq, leaf_index }
}

/// One owner's account, and whose it is.
///
/// # Errors
/// [`Malformed`] if the key is none.
pub fn account(message: &v1::Account) -> Result<(PublicKey, Account), Malformed> {
    let v1::Account { offered, counted, late, agreed, dissented, stale, abstained, paid, earned, .. } = *message;
    let account = Account { offered, counted, late, agreed, dissented, stale, abstained, paid, earned };
    Ok((public_key(&message.owner, "account owner")?, account))
}

/// The message of an owner's account.
#[must_use]
pub fn account_message(owner: &PublicKey, account: &Account) -> v1::Account {
    let Account { offered, counted, late, agreed, dissented, stale, abstained, paid, earned } = *account;
    let owner = key_bytes(owner);
    v1::Account { owner, offered, counted, late, agreed, dissented, stale, abstained, paid, earned }
}
