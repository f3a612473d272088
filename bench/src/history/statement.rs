//! What stands in a block's payload, read from the bytes by this page alone.
//!
//! ```text
//! payload    = [1, uint agreed_ms, [* bstr entry]]
//! entry      = [uint kind, bstr body, sig]
//! statement  = [1, digest genesis, key owner, uint serial, ...]          the body of an owner's entry, see [`Act`]
//! submission = [digest genesis, key gateway, group, digest charter,
//!               [* [bstr request, sig / null, digest vote salt]], [* bstr ballot]]
//! ```

use dropbear_certificates::cbor::{CborError, Decoder};
use dropbear_certificates::request::request_id;
use dropbear_certificates::{Ballot, Charter, Digest, PublicKey, Request, Signature, StatementType};

const ENTRY_BYTES_MAX: usize = 2 << 20;
const ENTRIES_MAX: usize = 4096;
const TEXT_BYTES_MAX: usize = 256;
const LIST_MAX: usize = 1024;

/// What an owner's entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// `..., group, model, licence, lineage`
    Register { group: String, model: String },
    /// `..., group, model, label, version`
    Publish { group: String, model: String, label: String, version: Digest },
    /// `..., group, version, from_seq`
    Activate { group: String, version: Digest, from_seq: u64 },
    /// `..., group, version, permanent, reason`
    Withdraw { group: String, version: Digest, permanent: bool },
    /// `..., group, [* endpoint]`
    Endpoints { group: String },
    /// `..., previous / null, charter`
    Propose { previous: Option<Digest>, charter: Box<Charter> },
    /// `..., group, proposal`
    Approve { group: String, proposal: Digest },
    /// `..., group`
    Leave { group: String },
    /// `..., new key, consent`
    Rekey { new_key: PublicKey },
    /// A report; it changes no version and no charter.
    Evidence,
}

/// An owner's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) owner: PublicKey,
    pub(super) serial: u64,
    pub(super) act: Act,
    pub(super) body: Vec<u8>,
    pub(super) signature: Signature,
}

/// One request of a submission.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: Digest,
    pub(super) request: Request,
    pub(super) vote_salt: Digest,
}

/// A gateway's submission.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) group: String,
    pub(super) charter: Digest,
    pub(super) requests: Vec<Asked>,
    pub(super) ballots: Vec<Ballot>,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Submission(Submission),
    /// Late ballots; the entry's digest.
    Late(Digest),
    Statement(Box<Statement>),
}

/// The entries of a payload, and its agreed time.
pub(super) fn entries(payload: &[u8], genesis: &Digest) -> Result<(u64, Vec<Entry>), CborError> {
    let mut input = Decoder::new(payload);
    input.array_of(3)?;
    input.key(1)?;
    let agreed_ms = input.uint()?;
    let count = input.array(ENTRIES_MAX)?;
    let entries = (0..count).map(|_| entry(input.bytes(ENTRY_BYTES_MAX)?, genesis)).collect::<Result<_, _>>()?;
    input.finish()?;
    Ok((agreed_ms, entries))
}

fn entry(bytes: &[u8], genesis: &Digest) -> Result<Entry, CborError> {
    let mut input = Decoder::new(bytes);
    input.array_of(3)?;
    let (kind, body, signature) = (input.uint()?, input.bytes(ENTRY_BYTES_MAX)?, input.fixed()?);
    input.finish()?;
    match kind {
        1 => submission(body, genesis).map(Entry::Submission),
        11 => Ok(Entry::Late(Digest::tagged("dropbear/entry/v1", &[bytes]))),
        _ => statement(kind, body, signature, genesis).map(|statement| Entry::Statement(statement.into())),
    }
}

fn key(input: &mut Decoder<'_>) -> Result<PublicKey, CborError> {
    PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)
}

fn of_this_market(input: &mut Decoder<'_>, genesis: &Digest) -> Result<(), CborError> {
    if input.digest()? == *genesis { Ok(()) } else { Err(CborError::Bounds) }
}

fn submission(body: &[u8], genesis: &Digest) -> Result<Submission, CborError> {
    let mut input = Decoder::new(body);
    input.array_of(6)?;
    of_this_market(&mut input, genesis)?;
    key(&mut input)?;
    let (group, charter) = (input.text(TEXT_BYTES_MAX)?.into(), input.digest()?);
    let mut requests = Vec::new();
    for _ in 0..input.array(LIST_MAX)? {
        input.array_of(3)?;
        let statement = input.bytes(TEXT_BYTES_MAX * 2)?;
        if !input.null() {
            input.fixed::<64>()?;
        }
        let (id, request) = (request_id(statement), Request::from_statement(statement)?);
        requests.push(Asked { id, request, vote_salt: input.digest()? });
    }
    let count = input.array(LIST_MAX)?;
    let ballots = (0..count).map(|_| Ballot::from_bytes(input.bytes(ENTRY_BYTES_MAX)?)).collect::<Result<_, _>>()?;
    input.finish()?;
    Ok(Submission { group, charter, requests, ballots })
}

fn statement(kind: u64, body: &[u8], signature: Signature, genesis: &Digest) -> Result<Statement, CborError> {
    let mut input = Decoder::new(body);
    let (name, items) = match kind {
        2 => ("publish", 8),
        3 => ("activate", 7),
        4 => ("withdraw", 8),
        5 => ("endpoints", 6),
        6 => ("propose", 6),
        7 => ("approve", 6),
        8 => ("leave", 5),
        9 => ("rekey", 6),
        10 => ("evidence", 0),
        12 => ("register", 8),
        _ => return Err(CborError::Bounds),
    };
    if kind == 10 {
        input.array(LIST_MAX)?;
        input.key(1)?;
        of_this_market(&mut input, genesis)?;
        let owner = key(&mut input)?;
        return Ok(Statement { name, owner, serial: 0, act: Act::Evidence, body: body.to_vec(), signature });
    }
    input.array_of(items)?;
    input.key(1)?;
    of_this_market(&mut input, genesis)?;
    let (owner, serial) = (key(&mut input)?, input.uint()?);
    let act = act(kind, &mut input)?;
    input.finish()?;
    Ok(Statement { name, owner, serial, act, body: body.to_vec(), signature })
}

fn act(kind: u64, input: &mut Decoder<'_>) -> Result<Act, CborError> {
    let text = |input: &mut Decoder<'_>| input.text(TEXT_BYTES_MAX).map(String::from);
    Ok(match kind {
        2 => {
            let (group, model, label) = (text(input)?, text(input)?, text(input)?);
            Act::Publish { group, model, label, version: input.digest()? }
        }
        3 => Act::Activate { group: text(input)?, version: input.digest()?, from_seq: input.uint()? },
        4 => {
            let (group, version, permanent) = (text(input)?, input.digest()?, input.uint_max(1)? == 1);
            text(input)?;
            Act::Withdraw { group, version, permanent }
        }
        5 => {
            let group = text(input)?;
            for _ in 0..input.array(LIST_MAX)? {
                text(input)?;
            }
            Act::Endpoints { group }
        }
        6 => {
            let previous = if input.null() { None } else { Some(input.digest()?) };
            Act::Propose { previous, charter: Charter::from_bytes(input.bytes(ENTRY_BYTES_MAX)?)?.into() }
        }
        7 => Act::Approve { group: text(input)?, proposal: input.digest()? },
        8 => Act::Leave { group: text(input)? },
        9 => {
            let new_key = key(input)?;
            input.fixed::<64>()?;
            Act::Rekey { new_key }
        }
        _ => {
            let (group, model) = (text(input)?, text(input)?);
            text(input)?;
            text(input)?;
            Act::Register { group, model }
        }
    })
}

impl Statement {
    /// Whether it is signed by whom it names.
    pub(super) fn is_signed(&self) -> bool {
        let kind = match self.act {
            Act::Register { .. } => StatementType::Register,
            Act::Publish { .. } => StatementType::Publish,
            Act::Activate { .. } => StatementType::Activate,
            Act::Withdraw { .. } => StatementType::Withdraw,
            Act::Endpoints { .. } => StatementType::Endpoints,
            Act::Propose { .. } => StatementType::Propose,
            Act::Approve { .. } => StatementType::Approve,
            Act::Leave { .. } => StatementType::Leave,
            Act::Rekey { .. } => StatementType::Rekey,
            Act::Evidence => StatementType::Evidence,
        };
        kind.verifies(&self.owner, &self.body, &self.signature)
    }
}
