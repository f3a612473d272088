//! Submissions: a gateway's request batch with the ballots that it collected, in time or late.

use dropbear_certificates::ballot::{BATCH_REQUESTS_MAX, batch_root};
use dropbear_certificates::bitmap::PLACES_MAX;
use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::charter::NAME_BYTES_MAX;
use dropbear_certificates::request::request_id;
use dropbear_certificates::{Ballot, Digest, Origin, PublicKey, Request, SecretKey, Signature, StatementType};

use crate::entry::Invalid;
use crate::entry::commitments::Commitments;
use crate::entry::statement::public_key;

const REQUEST_BYTES_MAX: usize = 512;
/// A ballot in a submission is at most this large.
pub const BALLOT_BYTES_MAX: usize = 1 << 20;

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

impl Submission {
    /// The submission, signed: as [`StatementType::Submission`], or as [`StatementType::Late`] for ballots that came after
    /// the outcome, the content of an [`Entry::Late`](crate::Entry::Late).
    #[must_use]
    pub fn sign(
        statement: StatementType,
        genesis: Digest,
        key: &SecretKey,
        group: String,
        charter: Digest,
        requests: Vec<SubmittedRequest>,
        ballots: Vec<Ballot>,
    ) -> Self {
        let gateway = key.public();
        let mut submission = Self { genesis, gateway, group, charter, requests, ballots, signature: [0; 64] };
        submission.signature = statement.sign(key, Digest::of(&submission.body()).as_bytes());
        submission
    }

    pub(super) fn body(&self) -> Vec<u8> {
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

    /// The submission, and the ids of its requests: digests of their bytes as they came, since the decoder takes nothing
    /// but what the encoder writes.
    pub(super) fn decode(body: &[u8], signature: Signature) -> Result<(Self, Vec<Digest>), CborError> {
        let mut input = Decoder::new(body);
        input.array_of(6)?;
        let genesis = input.digest()?;
        let gateway = public_key(&mut input)?;
        let group = input.text(NAME_BYTES_MAX)?.into();
        let charter = input.digest()?;
        let count = input.array(BATCH_REQUESTS_MAX)?;
        let (mut requests, mut ids) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            input.array_of(3)?;
            let statement = input.bytes(REQUEST_BYTES_MAX)?;
            ids.push(request_id(statement));
            let request = Request::from_statement(statement)?;
            let signature = if input.null() { None } else { Some(input.fixed()?) };
            requests.push(SubmittedRequest { request, signature, vote_salt: input.digest()? });
        }
        let mut ballots = Vec::new();
        for _ in 0..input.array(PLACES_MAX)? {
            ballots.push(Ballot::from_bytes(input.bytes(BALLOT_BYTES_MAX)?)?);
        }
        input.finish()?;
        Ok((Self { genesis, gateway, group, charter, requests, ballots, signature }, ids))
    }

    /// Everything that needs no ledger state; gives the commitments that it made.
    pub(super) fn check(&self, statement: StatementType, body: &[u8], ids: &[Digest]) -> Result<Commitments, Invalid> {
        if !statement.verifies(&self.gateway, Digest::of(body).as_bytes(), &self.signature) {
            return Err(Invalid::Signature("gateway"));
        }
        for (place, submitted) in self.requests.iter().enumerate() {
            self.check_request(place, submitted)?;
        }
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        if ids.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Invalid::Requests);
        }
        self.check_ballots(ids)
    }

    fn check_ballots(&self, ids: &[Digest]) -> Result<Commitments, Invalid> {
        let batch = batch_root(ids);
        let mut commitments = Commitments::new(ids.len());
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
            let answers = ballot.answers.iter().zip(&self.requests).enumerate();
            let committed = ids.iter().zip(answers).map(|(id, (item, (answer, submitted)))| {
                (id, commitments.make(self, item, place, &answer.vote, &submitted.vote_salt))
            });
            ballot.check_committed(ids.len(), committed).map_err(|error| Invalid::Ballot(place, error))?;
        }
        Ok(commitments)
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
