//! What a client asks and what it is answered, whichever protocol it speaks.

use std::time::Duration;

use bytes::Bytes;
use dropbear_certificates::{Assurance, Digest, PublicKey, Seed, Signature};

use crate::finding::Finding;

/// A tensor as a client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Its name.
    pub(crate) name: String,
    /// Open Inference Protocol datatype.
    pub(crate) datatype: String,
    /// Its shape, batch dimension first.
    pub(crate) shape: Vec<u64>,
    /// Its contents.
    pub(crate) data: TensorData,
}

/// A tensor's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TensorData {
    /// Little-endian elements of fixed size.
    Raw(Bytes),
    /// The elements of a BYTES tensor.
    Elements(Vec<Bytes>),
}

/// One call: a batch of items for one group.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The model group.
    pub(crate) group: String,
    /// The input, one item per leading index.
    pub(crate) input: Tensor,
    /// How it is to be answered.
    pub(crate) options: Options,
}

/// How a call is to be answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Without ordering and attestation: no certificate.
    pub(crate) uncertified: bool,
    /// The assurance that the outcome must reach; the charter's if absent.
    pub(crate) demand: Option<Assurance>,
    /// The nonce of the first item; drawn if absent. Later items derive theirs from it.
    pub(crate) nonce: Option<[u8; 16]>,
    /// The seed of the first item, likewise.
    pub(crate) seed: Option<Seed>,
    /// Time from admission to answer.
    pub(crate) timeout: Option<Duration>,
    /// When the request expires, Unix milliseconds; part of its id, so a retry repeats it.
    pub(crate) expiry_ms: Option<u64>,
    /// The client's key with its signature over each item's request.
    pub(crate) client: Option<(PublicKey, Vec<Signature>)>,
}

/// One item, answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What names it.
    pub(crate) naming: Naming,
    /// What the group found.
    pub(crate) finding: Finding,
    /// The agreed output byte by byte, where the group agrees on a digest and this gateway holds what it digests.
    pub(crate) output: Option<Bytes>,
    /// The certificate, verified by this gateway; none if none was wanted.
    pub(crate) certificate: Option<Bytes>,
}

/// What names one item's request, and what a retry must repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming {
    /// The request id.
    pub(crate) request_id: Digest,
    /// Its nonce.
    pub(crate) nonce: [u8; 16],
    /// Its seed.
    pub(crate) seed: Seed,
    /// Its expiry, Unix milliseconds.
    pub(crate) expiry_ms: u64,
}

/// Why an item, or a whole call, has no answer; whose fault it is follows from the kind.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client asked something that cannot be answered.
    #[error("{0}")]
    BadInput(String),
    /// No such group.
    #[error("there is no model group `{0}`; GET /api/v1/groups lists them")]
    UnknownGroup(String),
    /// Too much at once.
    #[error("the gateway is at its limit of {0}; try again in a second")]
    Overloaded(&'static str),
    /// The gateway cannot serve now.
    #[error("{0}")]
    Unavailable(String),
    /// Every model that answered could not read the input.
    #[error("no model could read the input: is it a whole, undamaged picture?")]
    Unreadable(Box<Finding>),
    /// The ballots did not suffice before the deadline; nothing was recorded.
    #[error("insufficient: the ballots that arrived before the deadline do not decide at the demanded assurance{}", problems(.1))]
    Insufficient(Box<Finding>, Vec<String>),
    /// The committee did not answer in time; the request may be decided yet.
    #[error("the ballots agree, but no quorum of coordinators attested the outcome before the deadline{}; ask again with the same nonce, seed and expiry_ms to learn it", problems(.0))]
    Unattested(Vec<String>),
    /// The ledger refused it.
    #[error("the ledger refused the request ({0}): {1}")]
    Refused(String, String),
    /// It was decided before, upon votes that this gateway does not hold.
    #[error(
        "it was decided before, upon other ballots than those that this gateway holds; its certificate, without votes, is \
         at /api/v1/certificates/{0}"
    )]
    Closed(Digest),
    /// An owner's entry that can never be valid.
    #[error("{0}")]
    EntryInvalid(String),
    /// An owner's entry that the ledger does not take, with the code of the reason.
    #[error("{1}")]
    EntryRefused(String, String),
    /// A quorum attested something that does not verify.
    #[error("the committee attested something that does not verify: {0}")]
    Committee(String),
    /// Ours.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

fn problems(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
}

impl Failure {
    /// The tally, where there is one.
    #[must_use]
    pub(crate) fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Unreadable(finding) | Self::Insufficient(finding, _) => Some(finding),
            _ => None,
        }
    }
}

/// An item without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    /// What names it: a retry repeats it.
    pub(crate) naming: Naming,
    /// Why.
    pub(crate) failure: Failure,
}

/// An item with its answer, or with the reason why it has none.
pub(crate) type Answered = Result<Answer, Box<Unanswered>>;
