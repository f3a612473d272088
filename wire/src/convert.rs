//! Between messages and core types. Errors blame the sender: they become `INVALID_ARGUMENT`.

use bytes::Bytes;
use dropbear_certificates::charter::ModelVersion;
use dropbear_certificates::{Charter, Digest, Header, ModelSet, Signature};

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

/// One group as the ledger sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The charter in force.
    pub charter: Charter,
    /// Its digest.
    pub digest: Digest,
    /// By roster place.
    pub holdings: Vec<Holding>,
}

/// One owner's versions, and (first seq in force, index into them) ascending.
pub type Holding = (Vec<ModelVersion>, Vec<(u64, usize)>);

impl GroupView {
    /// The version of the owner at `place` that is current at `seq`.
    #[must_use]
    pub fn current(&self, place: usize, seq: u64) -> Option<&ModelVersion> {
        let (versions, activations) = self.holdings.get(place)?;
        let (_, version) = activations.iter().rev().find(|(from, _)| *from <= seq)?;
        versions.get(*version)
    }

    /// Every owner's current version at `seq`.
    #[must_use]
    pub fn model_set(&self, seq: u64) -> ModelSet {
        ModelSet((0..self.holdings.len()).map(|place| self.current(place, seq).cloned()).collect())
    }
}

impl TryFrom<&v1::Group> for GroupView {
    type Error = Malformed;

    fn try_from(group: &v1::Group) -> Result<Self, Malformed> {
        let charter = Charter::from_bytes(&group.charter).map_err(|_| Malformed("charter"))?;
        let version = |version: &v1::Version| {
            let digest = digest(&version.digest, "version digest")?;
            Ok(ModelVersion { model: version.model.clone(), label: version.label.clone(), digest })
        };
        let holding = |holding: &v1::Holding| {
            let versions = holding.versions.iter().map(version).collect::<Result<Vec<_>, Malformed>>()?;
            let activation = |activation: &v1::Activation| (activation.from_seq, activation.version as usize);
            Ok((versions, holding.activations.iter().map(activation).collect()))
        };
        let holdings = group.holdings.iter().map(holding).collect::<Result<Vec<_>, Malformed>>()?;
        if holdings.len() != charter.roster.len() {
            return Err(Malformed("holdings"));
        }
        Ok(Self { digest: charter.digest(), charter, holdings })
    }
}
