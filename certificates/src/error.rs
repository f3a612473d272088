//! Why a certificate is refused: the step that failed, and whose fault that is.

use crate::cbor::CborError;

/// Who is to blame for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whoever handed over the bytes: they are damaged, forged, or not a certificate.
    Bearer,
    /// The committee that signed: q members attested something that the rules forbid.
    Committee,
    /// Nobody: the verifier lacks a trust root that covers the certificate.
    Verifier,
}

/// Why a certificate is refused. [`Refusal::code`] is stable across implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Larger than any certificate may be.
    #[error("the certificate is larger than {} bytes", crate::certificate::CERTIFICATE_BYTES_MAX)]
    TooLarge,
    /// Not the encoding of a certificate.
    #[error("not a certificate: {0}")]
    Malformed(CborError),
    /// The version is not one that this verifier knows.
    #[error("certificate version {0} is not known to this verifier")]
    Version(u64),
    /// The record is not one.
    #[error("the record is malformed: {0}")]
    Record(CborError),
    /// The header is not one.
    #[error("the header is malformed: {0}")]
    Header(CborError),
    /// Another market's.
    #[error("the certificate belongs to another market (genesis) than the trust root")]
    Genesis,
    /// The committee is not one that the trust root vouches for.
    #[error("the certificate names a committee that the trust root does not vouch for")]
    Committee,
    /// The epoch's committee may not attest a header at this seq.
    #[error("the header lies outside the epoch of the committee that signed it")]
    EpochSpan,
    /// A link of the governance chain does not hold.
    #[error("link {link} of the governance chain does not hold: {reason}")]
    Chain {
        /// The link, from 0.
        link: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The charter is not known.
    #[error("the certificate names a charter that the trust root does not contain")]
    Charter,
    /// The charter was not in force.
    #[error("the charter was not in force at the record's seq")]
    CharterSpan,
    /// The Merkle path does not fit the record's place.
    #[error("the Merkle path does not fit the record's place in its block")]
    Path,
    /// Too few attestations.
    #[error("too few attestations: {found} of the {needed} that make a quorum")]
    Quorum {
        /// Attestations in the certificate.
        found: usize,
        /// Attestations that are needed.
        needed: usize,
    },
    /// An attestation does not verify: the record, the path, the header or the signature was changed.
    #[error("the attestation of member {0} does not verify: record, path, header or signature was changed")]
    Signature(usize),
    /// Record and header contradict each other.
    #[error("the record contradicts the header or the charter under which it was signed")]
    Binding,
    /// The outcome is not the policy applied to the tally.
    #[error("the outcome does not follow from the tally")]
    Outcome,
    /// Decided after the request had expired.
    #[error("the request had expired before it was decided")]
    Expired,
    /// An attachment does not open what the record commits to.
    #[error("an attachment does not open what the record commits to: {0}")]
    Opening(&'static str),
    /// An owner's ballot does not prove its vote.
    #[error("the ballot of owner {owner} does not prove its vote: {reason}")]
    Ballot {
        /// The owner's place on the roster.
        owner: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The verifier's own bound on work.
    #[error("the certificate needs more work than the verifier allows: raise the budget to verify it")]
    Budget,
}

impl Refusal {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Malformed(_) => "malformed",
            Self::Version(_) => "unknown-version",
            Self::Record(_) => "malformed-record",
            Self::Header(_) => "malformed-header",
            Self::Genesis => "other-genesis",
            Self::Committee => "unknown-committee",
            Self::EpochSpan => "outside-epoch",
            Self::Chain { .. } => "bad-chain",
            Self::Charter => "unknown-charter",
            Self::CharterSpan => "charter-not-in-force",
            Self::Path => "bad-path",
            Self::Quorum { .. } => "no-quorum",
            Self::Signature(_) => "bad-signature",
            Self::Binding => "contradiction",
            Self::Outcome => "wrong-outcome",
            Self::Expired => "expired-request",
            Self::Opening(_) => "bad-opening",
            Self::Ballot { .. } => "bad-ballot",
            Self::Budget => "budget-exhausted",
        }
    }

    /// Whose fault it is. The committee's only where q valid attestations cover the wrong content.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Genesis | Self::Committee | Self::Charter | Self::Version(_) | Self::Budget => Fault::Verifier,
            Self::EpochSpan | Self::CharterSpan | Self::Binding | Self::Outcome | Self::Expired => Fault::Committee,
            _ => Fault::Bearer,
        }
    }
}
