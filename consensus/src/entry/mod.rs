//! Entries: what is ordered. Each is signed by whoever answers for it.
//!
//! An [`Entry`] is only parsed; [`Entry::check`] makes a [`Checked`] entry of it, after every signature and hash that
//! needs no ledger state. Checking happens once per entry, off the ordering path; executing a checked entry is cheap.

mod charter;
mod commitments;
mod evidence;
mod model;
mod statement;
mod submission;

use dropbear_certificates::ballot::{BATCH_REQUESTS_MAX, BallotError};
use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::charter::{CharterError, NAME_BYTES_MAX};
use dropbear_certificates::{Digest, Signature, StatementType};

pub(crate) use commitments::Commitments;

pub use charter::{Approve, Leave, Propose, Rekey, proposal_digest};
pub use evidence::{Evidence, SignedVote};
pub use model::{
    Activate, ENDPOINT_BYTES_MAX, ENDPOINTS_MAX, Endpoints, LICENCE_BYTES_MAX, Publish, REASON_BYTES_MAX, Register,
    Withdraw,
};
pub use statement::Statement;
pub use submission::{BALLOT_BYTES_MAX, Submission, SubmittedRequest};

/// An entry is at most this large.
pub const ENTRY_BYTES_MAX: usize = 2 << 20;

const KIND_SUBMISSION: u64 = 1;
const KIND_PUBLISH: u64 = 2;
const KIND_ACTIVATE: u64 = 3;
const KIND_WITHDRAW: u64 = 4;
const KIND_ENDPOINTS: u64 = 5;
const KIND_PROPOSE: u64 = 6;
const KIND_APPROVE: u64 = 7;
const KIND_LEAVE: u64 = 8;
const KIND_REKEY: u64 = 9;
const KIND_EVIDENCE: u64 = 10;
const KIND_LATE: u64 = 11;
const KIND_REGISTER: u64 = 12;

/// Why an entry can never be valid; always the fault of whoever signed or sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not the encoding of an entry.
    #[error("malformed entry: {0}")]
    Malformed(#[from] CborError),
    /// Larger than [`ENTRY_BYTES_MAX`].
    #[error("the entry is larger than {ENTRY_BYTES_MAX} bytes")]
    TooLarge,
    /// Of another market.
    #[error("the entry belongs to another market (genesis)")]
    Genesis,
    /// A signature that is not the named key's.
    #[error("the {0}'s signature does not verify")]
    Signature(&'static str),
    /// No requests, too many, or one twice.
    #[error("a submission holds 1 to {BATCH_REQUESTS_MAX} different requests")]
    Requests,
    /// A request of another group, or minted by another gateway.
    #[error("request {0} does not belong into this submission")]
    Foreign(usize),
    /// A ballot over another batch, group or charter.
    #[error("ballot {0} is not over this submission's batch, group and charter")]
    OtherBatch(usize),
    /// Two ballots of one owner.
    #[error("two ballots of one owner")]
    TwoBallots,
    /// A ballot whose body or signature is wrong.
    #[error("ballot {0}: {1}")]
    Ballot(usize, BallotError),
    /// A name that breaks the rules for names.
    #[error("names are 1 to {NAME_BYTES_MAX} characters of a-z, 0-9, '-', '.' and '_'")]
    Name,
    /// A text that is too long or has control characters.
    #[error("the {0} is a text of at most {1} bytes without control characters")]
    Text(&'static str, usize),
    /// Not a list of different addresses.
    #[error("endpoints are at most {ENDPOINTS_MAX} different host:port of at most {ENDPOINT_BYTES_MAX} bytes")]
    Endpoint,
    /// A charter that breaks a rule of its own.
    #[error("the charter is not acceptable: {0}")]
    Charter(CharterError),
    /// A charter that nobody or more than everybody would have to approve.
    #[error("a charter asks for at least one approval of a change, and for at most one per owner")]
    Approvals,
    /// Evidence that proves nothing.
    #[error("the evidence proves nothing: {0}")]
    Evidence(&'static str),
}

/// Something to be ordered; parsed, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A request batch with its ballots.
    Submission(Box<Submission>),
    /// Ballots that came after the outcome.
    Late(Box<Submission>),
    /// A model becomes known.
    Register(Register, Signature),
    /// A model version becomes known.
    Publish(Publish, Signature),
    /// A model version becomes current.
    Activate(Activate, Signature),
    /// A model version is taken back.
    Withdraw(Withdraw, Signature),
    /// Where an owner's model nodes are.
    Endpoints(Endpoints, Signature),
    /// A charter is put forward.
    Propose(Propose, Signature),
    /// A charter is approved of.
    Approve(Approve, Signature),
    /// An owner leaves a group.
    Leave(Leave, Signature),
    /// An owner's key changes.
    Rekey(Rekey, Signature),
    /// An owner contradicted itself.
    Evidence(Box<Evidence>, Signature),
}

impl Entry {
    /// The signed statement of an entry that is none of a gateway's submissions.
    #[must_use]
    pub fn statement(&self) -> Option<(&dyn Statement, &Signature)> {
        Some(match self {
            Self::Submission(_) | Self::Late(_) => return None,
            Self::Register(entry, signature) => (entry, signature),
            Self::Publish(entry, signature) => (entry, signature),
            Self::Activate(entry, signature) => (entry, signature),
            Self::Withdraw(entry, signature) => (entry, signature),
            Self::Endpoints(entry, signature) => (entry, signature),
            Self::Propose(entry, signature) => (entry, signature),
            Self::Approve(entry, signature) => (entry, signature),
            Self::Leave(entry, signature) => (entry, signature),
            Self::Rekey(entry, signature) => (entry, signature),
            Self::Evidence(entry, signature) => (&**entry, signature),
        })
    }

    /// Deterministic encoding: `[kind, signed bytes, signature]`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, body, signature) = match self {
            Self::Submission(submission) => (KIND_SUBMISSION, submission.body(), &submission.signature),
            Self::Late(late) => (KIND_LATE, late.body(), &late.signature),
            _ => match self.statement() {
                Some((entry, signature)) => (entry.kind(), entry.statement(), signature),
                None => unreachable!("only a gateway's entries have no statement"),
            },
        };
        let mut out = Encoder::new();
        out.array(3).uint(kind).bytes(&body).bytes(signature);
        out.finish()
    }

    /// Reads what [`Entry::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are no entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        Self::parse(bytes).map(|parsed| parsed.entry)
    }

    fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Invalid> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        let mut input = Decoder::new(bytes);
        input.array_of(3)?;
        let kind = input.uint()?;
        let body = input.bytes(ENTRY_BYTES_MAX)?;
        let signature = input.fixed()?;
        input.finish()?;
        let mut request_ids = Vec::new();
        let mut submission = || {
            let (submission, ids) = Submission::decode(body, signature)?;
            request_ids = ids;
            Ok::<_, CborError>(Box::new(submission))
        };
        let entry = match kind {
            KIND_SUBMISSION => Self::Submission(submission()?),
            KIND_LATE => Self::Late(submission()?),
            KIND_REGISTER => Self::Register(Register::decode(body)?, signature),
            KIND_PUBLISH => Self::Publish(Publish::decode(body)?, signature),
            KIND_ACTIVATE => Self::Activate(Activate::decode(body)?, signature),
            KIND_WITHDRAW => Self::Withdraw(Withdraw::decode(body)?, signature),
            KIND_ENDPOINTS => Self::Endpoints(Endpoints::decode(body)?, signature),
            KIND_PROPOSE => Self::Propose(Propose::decode(body)?, signature),
            KIND_APPROVE => Self::Approve(Approve::decode(body)?, signature),
            KIND_LEAVE => Self::Leave(Leave::decode(body)?, signature),
            KIND_REKEY => Self::Rekey(Rekey::decode(body)?, signature),
            KIND_EVIDENCE => Self::Evidence(Box::new(Evidence::decode(body)?), signature),
            _ => return Err(Invalid::Malformed(CborError::Bounds)),
        };
        Ok(Parsed { entry, body, request_ids })
    }

    /// Checks everything that needs no ledger state.
    ///
    /// # Errors
    /// [`Invalid`], the sender's fault.
    pub fn check(&self, genesis: &Digest) -> Result<Checked, Invalid> {
        Checked::from_bytes(self.to_bytes(), genesis)
    }

    /// Takes an entry that this replica checked before it wrote it to its own disk.
    #[must_use]
    pub fn checked_before(self) -> Checked {
        let bytes = self.to_bytes();
        let request_ids = match &self {
            Self::Submission(submission) | Self::Late(submission) => {
                submission.requests.iter().map(|submitted| submitted.request.id()).collect()
            }
            _ => Vec::new(),
        };
        let commitments = Commitments::default();
        Checked { digest: entry_digest(&bytes), entry: self, bytes, request_ids, commitments }
    }
}

/// An entry that was read.
struct Parsed<'a> {
    entry: Entry,
    /// What was signed.
    body: &'a [u8],
    /// The ids of a gateway's requests.
    request_ids: Vec<Digest>,
}

impl Parsed<'_> {
    /// Checks all that needs no ledger state: about 33 µs per signature. Gives the commitments that it made.
    fn check(&self, genesis: &Digest) -> Result<Commitments, Invalid> {
        match &self.entry {
            Entry::Submission(submission) if submission.genesis == *genesis => {
                submission.check(StatementType::Submission, self.body, &self.request_ids)
            }
            Entry::Late(late) if late.genesis == *genesis => {
                late.check(StatementType::Late, self.body, &self.request_ids)
            }
            entry => match entry.statement() {
                Some((entry, signature)) if entry.genesis() == genesis => {
                    check_statement(entry, self.body, signature).map(|()| Commitments::default())
                }
                _ => Err(Invalid::Genesis),
            },
        }
    }
}

fn check_statement(entry: &dyn Statement, body: &[u8], signature: &Signature) -> Result<(), Invalid> {
    if !entry.statement_type().verifies(entry.signer(), body, signature) {
        return Err(Invalid::Signature(if entry.kind() == KIND_EVIDENCE { "reporter" } else { "owner" }));
    }
    entry.check_fields()
}

/// The name of the entry with these bytes.
#[must_use]
pub fn entry_digest(bytes: &[u8]) -> Digest {
    Digest::tagged("dropbear/entry/v1", &[bytes])
}

/// An entry whose signatures and hashes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    digest: Digest,
    entry: Entry,
    bytes: Vec<u8>,
    request_ids: Vec<Digest>,
    commitments: Commitments,
}

impl Checked {
    /// Parses and checks an entry. Signatures are held against the bytes as they came: the decoder takes nothing but what
    /// the encoder writes, so nothing is encoded again.
    ///
    /// # Errors
    /// [`Invalid`], the sender's fault.
    pub fn from_bytes(bytes: Vec<u8>, genesis: &Digest) -> Result<Self, Invalid> {
        let parsed = Entry::parse(&bytes)?;
        let commitments = parsed.check(genesis)?;
        let Parsed { entry, request_ids, .. } = parsed;
        Ok(Self { digest: entry_digest(&bytes), entry, bytes, request_ids, commitments })
    }

    /// The entry's name.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The entry's encoding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The ids of a gateway's requests, in order; empty for other entries.
    #[must_use]
    pub fn request_ids(&self) -> &[Digest] {
        &self.request_ids
    }

    /// What was committed to while a gateway's entry was checked; nothing for entries that were checked before.
    pub(crate) const fn commitments(&self) -> &Commitments {
        &self.commitments
    }
}
