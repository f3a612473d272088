//! Entries: what is ordered. Each is signed by whoever answers for it.
//!
//! An [`Entry`] is only parsed; [`Entry::check`] makes a [`Checked`] entry of it, after every signature and hash that
//! needs no ledger state. Checking happens once per entry, off the ordering path; executing a checked entry is cheap.

use dropbear_certificates::ballot::{BATCH_REQUESTS_MAX, BallotError, batch_root};
use dropbear_certificates::bitmap::PLACES_MAX;
use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::charter::{NAME_BYTES_MAX, is_name};
use dropbear_certificates::request::request_id;
use dropbear_certificates::{Ballot, Digest, Origin, PublicKey, Request, SecretKey, Signature, StatementType};

/// An entry is at most this large.
pub const ENTRY_BYTES_MAX: usize = 2 << 20;

const REQUEST_BYTES_MAX: usize = 512;
/// A ballot in a submission is at most this large.
pub const BALLOT_BYTES_MAX: usize = 1 << 20;

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
}

/// One request of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedRequest {
    /// The request.
    pub request: Request,
    /// The client's signature; none where the gateway minted the request and signs the submission.
    pub signature: Option<Signature>,
    /// Salt of the request's vote field.
    pub vote_salt: Digest,
}

/// A gateway's submission: a request batch with the ballots that it collected. No inputs, no tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The gateway.
    pub gateway: PublicKey,
    /// The model group.
    pub group: String,
    /// Digest of the charter under which the ballots were given.
    pub charter: Digest,
    /// The batch, in order.
    pub requests: Vec<SubmittedRequest>,
    /// At most one ballot per owner.
    pub ballots: Vec<Ballot>,
    /// The gateway's signature over the digest of all this.
    pub signature: Signature,
}

/// An owner's publication of a model version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// Ascends with every lifecycle entry of the owner, so that none can be replayed; Unix milliseconds do.
    pub serial: u64,
    /// The group in which the version is to serve.
    pub group: String,
    /// The model's name.
    pub model: String,
    /// The version's name.
    pub label: String,
    /// Digest of manifest and artefact.
    pub version: Digest,
}

/// An owner's activation of a published version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activate {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`].
    pub serial: u64,
    /// The group.
    pub group: String,
    /// The version, published before.
    pub version: Digest,
    /// In force from this seq, or from the earliest that the charter's notice allows if that is later.
    pub from_seq: u64,
}

/// Something to be ordered; parsed, not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A request batch with its ballots.
    Submission(Box<Submission>),
    /// A model version becomes known.
    Publish(Publish, Signature),
    /// A model version becomes current.
    Activate(Activate, Signature),
}

impl Submission {
    /// The submission, signed.
    #[must_use]
    pub fn sign(
        genesis: Digest,
        key: &SecretKey,
        group: String,
        charter: Digest,
        requests: Vec<SubmittedRequest>,
        ballots: Vec<Ballot>,
    ) -> Self {
        let gateway = key.public();
        let mut submission = Self { genesis, gateway, group, charter, requests, ballots, signature: [0; 64] };
        submission.signature = StatementType::Submission.sign(key, Digest::of(&submission.body()).as_bytes());
        submission
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(6).digest(&self.genesis).bytes(self.gateway.as_bytes()).text(&self.group).digest(&self.charter);
        out.array(self.requests.len());
        for submitted in &self.requests {
            out.array(3).bytes(&submitted.request.statement());
            match &submitted.signature {
                Some(signature) => out.bytes(signature),
                None => out.null(),
            };
            out.digest(&submitted.vote_salt);
        }
        out.array(self.ballots.len());
        for ballot in &self.ballots {
            out.bytes(&ballot.to_bytes());
        }
        out.finish()
    }

    fn decode(body: &[u8], signature: Signature) -> Result<Self, CborError> {
        let mut input = Decoder::new(body);
        input.array_of(6)?;
        let genesis = input.digest()?;
        let gateway = public_key(&mut input)?;
        let group = input.text(NAME_BYTES_MAX)?.into();
        let charter = input.digest()?;
        let mut requests = Vec::new();
        for _ in 0..input.array(BATCH_REQUESTS_MAX)? {
            input.array_of(3)?;
            let request = Request::from_statement(input.bytes(REQUEST_BYTES_MAX)?)?;
            let signature = if input.null() { None } else { Some(input.fixed()?) };
            requests.push(SubmittedRequest { request, signature, vote_salt: input.digest()? });
        }
        let mut ballots = Vec::new();
        for _ in 0..input.array(PLACES_MAX)? {
            ballots.push(Ballot::from_bytes(input.bytes(BALLOT_BYTES_MAX)?)?);
        }
        input.finish()?;
        Ok(Self { genesis, gateway, group, charter, requests, ballots, signature })
    }

    /// Everything that needs no ledger state; gives the request ids.
    fn check(&self, body: &[u8]) -> Result<Vec<Digest>, Invalid> {
        if !StatementType::Submission.verifies(&self.gateway, Digest::of(body).as_bytes(), &self.signature) {
            return Err(Invalid::Signature("gateway"));
        }
        let mut ids = Vec::with_capacity(self.requests.len());
        for (place, submitted) in self.requests.iter().enumerate() {
            self.check_request(place, submitted)?;
            ids.push(request_id(&submitted.request.statement()));
        }
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if ids.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Invalid::Requests);
        }
        let batch = batch_root(&ids);
        for (place, ballot) in self.ballots.iter().enumerate() {
            let statement = &ballot.statement;
            let of_this_batch = statement.genesis == self.genesis
                && statement.group == self.group
                && statement.charter == self.charter
                && statement.batch == batch;
            if !of_this_batch {
                return Err(Invalid::OtherBatch(place));
            }
            if self.ballots[..place].iter().any(|other| other.statement.owner == statement.owner) {
                return Err(Invalid::TwoBallots);
            }
            let salts = self.requests.iter().map(|submitted| &submitted.vote_salt);
            let pairs: Vec<_> = ids.iter().zip(salts).collect();
            ballot.check(pairs.into_iter()).map_err(|error| Invalid::Ballot(place, error))?;
        }
        Ok(ids)
    }

    fn check_request(&self, place: usize, submitted: &SubmittedRequest) -> Result<(), Invalid> {
        let request = &submitted.request;
        if request.genesis != self.genesis || request.group != self.group {
            return Err(Invalid::Foreign(place));
        }
        match (request.origin, &submitted.signature) {
            (Origin::GatewayMinted, None) if request.key == self.gateway => Ok(()),
            (Origin::GatewayMinted, _) => Err(Invalid::Foreign(place)),
            (Origin::ClientSigned, Some(signature)) if request.is_signed(signature) => Ok(()),
            (Origin::ClientSigned, _) => Err(Invalid::Signature("client")),
        }
    }
}

fn public_key(input: &mut Decoder<'_>) -> Result<PublicKey, CborError> {
    PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)
}

impl Publish {
    /// The signed bytes.
    #[must_use]
    pub fn statement(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(8).uint(1).digest(&self.genesis).bytes(self.owner.as_bytes()).uint(self.serial);
        out.text(&self.group).text(&self.model).text(&self.label).digest(&self.version);
        out.finish()
    }

    fn from_statement(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(8)?;
        input.key(1)?;
        let publish = Self {
            genesis: input.digest()?,
            owner: public_key(&mut input)?,
            serial: input.uint()?,
            group: input.text(NAME_BYTES_MAX)?.into(),
            model: input.text(NAME_BYTES_MAX)?.into(),
            label: input.text(NAME_BYTES_MAX)?.into(),
            version: input.digest()?,
        };
        input.finish()?;
        Ok(publish)
    }

    /// The entry, signed by the owner.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> Entry {
        let signature = StatementType::Publish.sign(key, &self.statement());
        Entry::Publish(self, signature)
    }
}

impl Activate {
    /// The signed bytes.
    #[must_use]
    pub fn statement(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(7).uint(1).digest(&self.genesis).bytes(self.owner.as_bytes()).uint(self.serial);
        out.text(&self.group).digest(&self.version).uint(self.from_seq);
        out.finish()
    }

    fn from_statement(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(7)?;
        input.key(1)?;
        let activate = Self {
            genesis: input.digest()?,
            owner: public_key(&mut input)?,
            serial: input.uint()?,
            group: input.text(NAME_BYTES_MAX)?.into(),
            version: input.digest()?,
            from_seq: input.uint()?,
        };
        input.finish()?;
        Ok(activate)
    }

    /// The entry, signed by the owner.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> Entry {
        let signature = StatementType::Activate.sign(key, &self.statement());
        Entry::Activate(self, signature)
    }
}

const KIND_SUBMISSION: u64 = 1;
const KIND_PUBLISH: u64 = 2;
const KIND_ACTIVATE: u64 = 3;

impl Entry {
    /// Deterministic encoding: `[kind, signed bytes, signature]`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, body, signature) = match self {
            Self::Submission(submission) => (KIND_SUBMISSION, submission.body(), &submission.signature),
            Self::Publish(publish, signature) => (KIND_PUBLISH, publish.statement(), signature),
            Self::Activate(activate, signature) => (KIND_ACTIVATE, activate.statement(), signature),
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
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        let mut input = Decoder::new(bytes);
        input.array_of(3)?;
        let kind = input.uint()?;
        let body = input.bytes(ENTRY_BYTES_MAX)?;
        let signature = input.fixed()?;
        input.finish()?;
        Ok(match kind {
            KIND_SUBMISSION => Self::Submission(Box::new(Submission::decode(body, signature)?)),
            KIND_PUBLISH => Self::Publish(Publish::from_statement(body)?, signature),
            KIND_ACTIVATE => Self::Activate(Activate::from_statement(body)?, signature),
            _ => return Err(Invalid::Malformed(CborError::Bounds)),
        })
    }

    /// Checks everything that needs no ledger state: about 33 µs per signature.
    ///
    /// # Errors
    /// [`Invalid`], the sender's fault.
    pub fn check(self, genesis: &Digest) -> Result<Checked, Invalid> {
        let bytes = self.to_bytes();
        let request_ids = match &self {
            Self::Submission(submission) if submission.genesis == *genesis => submission.check(&submission.body())?,
            Self::Publish(publish, signature) if publish.genesis == *genesis => {
                if ![&publish.group, &publish.model, &publish.label].into_iter().all(|name| is_name(name)) {
                    return Err(Invalid::Name);
                }
                owner_signed(StatementType::Publish, &publish.owner, &publish.statement(), signature)?;
                Vec::new()
            }
            Self::Activate(activate, signature) if activate.genesis == *genesis => {
                owner_signed(StatementType::Activate, &activate.owner, &activate.statement(), signature)?;
                Vec::new()
            }
            _ => return Err(Invalid::Genesis),
        };
        Ok(Checked { digest: entry_digest(&bytes), entry: self, bytes, request_ids })
    }

    /// Takes an entry that this replica checked before it wrote it to its own disk.
    #[must_use]
    pub fn checked_before(self) -> Checked {
        let bytes = self.to_bytes();
        let request_ids = match &self {
            Self::Submission(submission) => {
                submission.requests.iter().map(|submitted| submitted.request.id()).collect()
            }
            _ => Vec::new(),
        };
        Checked { digest: entry_digest(&bytes), entry: self, bytes, request_ids }
    }
}

fn owner_signed(
    statement: StatementType,
    owner: &PublicKey,
    payload: &[u8],
    signature: &Signature,
) -> Result<(), Invalid> {
    if statement.verifies(owner, payload, signature) { Ok(()) } else { Err(Invalid::Signature("owner")) }
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
}

impl Checked {
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

    /// The ids of a submission's requests, in order; empty for other entries.
    #[must_use]
    pub fn request_ids(&self) -> &[Digest] {
        &self.request_ids
    }
}
