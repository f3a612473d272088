//! Attachments: what the holder of a certificate can show beyond the record.
//!
//! Each part opens one commitment of the record and nothing else. None is needed to verify the certificate, each may be
//! left out, and whatever is attached must open: a certificate with an attachment that does not is refused.

use alloc::vec::Vec;

use crate::bitmap::PLACES_MAX;
use crate::cbor::{CborError, Decoder, Encoder};
use crate::chain::GovernanceChain;
use crate::charter::ModelSet;
use crate::digest::Digest;
use crate::key::{PublicKey, Signature};
use crate::merkle::PATH_LENGTH_MAX;
use crate::policy::Vote;
use crate::request::RequestOpening;

const MODEL_SET_BYTES_MAX: usize = 32_768;
const STATEMENT_BYTES_MAX: usize = 512;
/// The last place of a group or an owner.
const PLACE_MAX: u64 = PLACES_MAX as u64 - 1;

/// What the holder can show beyond the record; each part opens one of its commitments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    /// Opens the request id and the request commitment.
    pub request: Option<RequestAttachment>,
    /// Opens all votes.
    pub votes: Option<VotesAttachment>,
    /// The model versions in force, behind the model-set digest.
    pub models: Option<ModelSet>,
    /// Opens the result commitment alone.
    pub result: Option<ValueOpening>,
    /// Opens single votes, by ascending place of their group in the record.
    pub single_votes: Vec<(usize, ValueOpening)>,
    /// Owners' signatures on their votes, by ascending place on the roster.
    pub ballots: Vec<BallotProof>,
    /// The governance chain from genesis to the certificate's epoch and charter.
    pub chain: Option<GovernanceChain>,
}

/// Opens the request: with it, the certificate speaks of one input and one requester.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAttachment {
    /// Who signed the request: the client, or the gateway that minted it.
    pub key: PublicKey,
    /// The request's nonce.
    pub nonce: [u8; 16],
    /// Opens the commitment to the input.
    pub opening: RequestOpening,
    /// The requester's signature, where it is shown.
    pub signature: Option<Signature>,
}

/// Opens all votes of a record: one salt, one value per vote group but the abstentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VotesAttachment {
    /// Salt of the vote field.
    pub salt: Digest,
    /// The votes, in the record's order.
    pub votes: Vec<Vote>,
}

/// Opens one vote or result: its own salt, which tells nothing about any other value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueOpening {
    /// [`value_salt`](crate::request::value_salt) or [`result_salt`](crate::request::result_salt).
    pub salt: Digest,
    /// The value; never an abstention.
    pub value: Vote,
}

/// One owner's own signature on its vote: not even a corrupt committee can put words into an owner's mouth, and the owner
/// cannot deny them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BallotProof {
    /// The owner's place on the roster.
    pub owner: usize,
    /// The bytes of the owner's [`BallotStatement`](crate::BallotStatement).
    pub statement: Vec<u8>,
    /// The owner's signature over them.
    pub signature: Signature,
    /// Commitment to the model's full output, part of the vote's leaf.
    pub output: Digest,
    /// The request's place in its batch.
    pub vote_index: u64,
    /// Path from the vote's leaf to the statement's vote root.
    pub vote_path: Vec<Digest>,
    /// Path from the ballot's leaf to the record's ballots root. Its place and the size of the tree follow from the
    /// record: the owner's rank among the owners that it counts, and their number.
    pub ballot_path: Vec<Digest>,
}

impl Attachments {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        let parts = [
            self.request.is_some(),
            self.votes.is_some(),
            self.models.is_some(),
            self.result.is_some(),
            !self.single_votes.is_empty(),
            !self.ballots.is_empty(),
            self.chain.is_some(),
        ];
        out.map(parts.into_iter().filter(|part| *part).count());
        if let Some(request) = &self.request {
            request.encode(out.uint(1));
        }
        if let Some(votes) = &self.votes {
            votes.encode(out.uint(2));
        }
        if let Some(models) = &self.models {
            out.uint(3).bytes(&models.to_bytes());
        }
        if let Some(result) = &self.result {
            out.uint(4).array(2).digest(&result.salt);
            result.value.encode(out);
        }
        if !self.single_votes.is_empty() {
            out.uint(5).array(self.single_votes.len());
            for (group, opening) in &self.single_votes {
                out.array(3).uint(*group as u64).digest(&opening.salt);
                opening.value.encode(out);
            }
        }
        if !self.ballots.is_empty() {
            out.uint(6).array(self.ballots.len());
            self.ballots.iter().for_each(|proof| proof.encode(out));
        }
        if let Some(chain) = &self.chain {
            chain.encode(out.uint(7));
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut attachments = Self::default();
        let mut last = 0;
        for _ in 0..input.map(7)? {
            let key = input.uint()?;
            if key <= last {
                return Err(CborError::NotDeterministic);
            }
            last = key;
            match key {
                1 => attachments.request = Some(RequestAttachment::decode(input)?),
                2 => attachments.votes = Some(VotesAttachment::decode(input)?),
                3 => attachments.models = Some(ModelSet::from_bytes(input.bytes(MODEL_SET_BYTES_MAX)?)?),
                4 => {
                    input.array_of(2)?;
                    attachments.result = Some(ValueOpening::decode(input)?);
                }
                5 => attachments.single_votes = decode_single_votes(input)?,
                6 => attachments.ballots = decode_ballots(input)?,
                7 => attachments.chain = Some(GovernanceChain::decode(input)?),
                _ => return Err(CborError::Bounds),
            }
        }
        Ok(attachments)
    }
}

impl RequestAttachment {
    fn encode(&self, out: &mut Encoder) {
        out.array(6).bytes(self.key.as_bytes()).bytes(&self.nonce);
        out.digest(&self.opening.salt).digest(&self.opening.seed_digest).digest(&self.opening.input);
        match &self.signature {
            Some(signature) => out.bytes(signature),
            None => out.null(),
        };
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(6)?;
        let key = PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)?;
        let nonce = input.fixed()?;
        let opening = RequestOpening { salt: input.digest()?, seed_digest: input.digest()?, input: input.digest()? };
        let signature = if input.null() { None } else { Some(input.fixed()?) };
        Ok(Self { key, nonce, opening, signature })
    }
}

impl VotesAttachment {
    fn encode(&self, out: &mut Encoder) {
        out.array(2).digest(&self.salt).array(self.votes.len());
        self.votes.iter().for_each(|vote| vote.encode(out));
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(2)?;
        let salt = input.digest()?;
        let count = input.array(PLACES_MAX)?;
        let votes = (0..count).map(|_| Vote::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self { salt, votes })
    }
}

impl ValueOpening {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        Ok(Self { salt: input.digest()?, value: Vote::decode(input)? })
    }
}

/// At least one, by ascending group.
fn decode_single_votes(input: &mut Decoder<'_>) -> Result<Vec<(usize, ValueOpening)>, CborError> {
    let mut openings: Vec<(usize, ValueOpening)> = Vec::new();
    for _ in 0..input.array(PLACES_MAX)? {
        input.array_of(3)?;
        let group = input.uint_max(PLACE_MAX)? as usize;
        if openings.last().is_some_and(|(last, _)| *last >= group) {
            return Err(CborError::NotDeterministic);
        }
        openings.push((group, ValueOpening::decode(input)?));
    }
    if openings.is_empty() { Err(CborError::NotDeterministic) } else { Ok(openings) }
}

/// At least one, by ascending owner.
fn decode_ballots(input: &mut Decoder<'_>) -> Result<Vec<BallotProof>, CborError> {
    let mut proofs: Vec<BallotProof> = Vec::new();
    for _ in 0..input.array(PLACES_MAX)? {
        let proof = BallotProof::decode(input)?;
        if proofs.last().is_some_and(|last| last.owner >= proof.owner) {
            return Err(CborError::NotDeterministic);
        }
        proofs.push(proof);
    }
    if proofs.is_empty() { Err(CborError::NotDeterministic) } else { Ok(proofs) }
}

impl BallotProof {
    fn encode(&self, out: &mut Encoder) {
        out.array(7).uint(self.owner as u64).bytes(&self.statement).bytes(&self.signature).digest(&self.output);
        out.uint(self.vote_index);
        encode_path(out, &self.vote_path);
        encode_path(out, &self.ballot_path);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(7)?;
        Ok(Self {
            owner: input.uint_max(PLACE_MAX)? as usize,
            statement: input.bytes(STATEMENT_BYTES_MAX)?.to_vec(),
            signature: input.fixed()?,
            output: input.digest()?,
            vote_index: input.uint()?,
            vote_path: decode_path(input)?,
            ballot_path: decode_path(input)?,
        })
    }
}

/// Writes a Merkle path: one byte string of 32 bytes per node.
pub(crate) fn encode_path(out: &mut Encoder, path: &[Digest]) {
    let nodes: Vec<u8> = path.iter().flat_map(|node| node.0).collect();
    out.bytes(&nodes);
}

/// Reads a Merkle path.
pub(crate) fn decode_path(input: &mut Decoder<'_>) -> Result<Vec<Digest>, CborError> {
    let nodes = chunks(input.bytes(32 * PATH_LENGTH_MAX)?)?;
    Ok(nodes.iter().copied().map(Digest).collect())
}

/// Splits a byte string into items of equal length.
pub(crate) fn chunks<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], CborError> {
    let (chunks, rest) = bytes.as_chunks();
    if rest.is_empty() { Ok(chunks) } else { Err(CborError::Bounds) }
}
