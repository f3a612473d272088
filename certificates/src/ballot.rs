//! Ballots: one owner's signed answers to one request batch under one model version.
//!
//! The signature covers a short *statement* with the Merkle root over the votes, so that one vote can be shown with the
//! owner's signature and without the others. Each vote's leaf names its request id: two leaves of one owner and version
//! with one id and different votes are equivocation, whatever batches they came in.

use alloc::string::String;
use alloc::vec::Vec;

use crate::cbor::{CborError, Decoder, Encoder};
use crate::charter::NAME_BYTES_MAX;
use crate::digest::Digest;
use crate::key::{PublicKey, SecretKey, Signature, StatementType};
use crate::merkle;
use crate::policy::Vote;
use crate::request::vote_commitment;
use crate::short::Short;

/// A request batch has at most this many requests.
pub const BATCH_REQUESTS_MAX: usize = 1024;

/// What a leaf's hash begins with (RFC 9162 section 2.1.1), and the CBOR heads of a vote's leaf.
const LEAF: u8 = 0;
const ARRAY_OF_3: u8 = 0x83;
const BYTES_OF_32: [u8; 2] = [0x58, 32];
const NULL: u8 = 0xf6;

/// The digest of a request batch: the Merkle root over its request ids.
#[must_use]
pub fn batch_root(request_ids: &[Digest]) -> Digest {
    let leaves: Vec<_> = request_ids.iter().map(|id| merkle::leaf_hash(id.as_bytes())).collect();
    merkle::root(&leaves)
}

/// The leaf of one vote in a ballot's tree: `[request id, vote commitment or null, output commitment]`.
#[must_use]
pub fn vote_leaf(request_id: &Digest, commitment: Option<&Digest>, output: &Digest) -> Digest {
    // One for each vote that anybody checks: written in place, its length being known.
    let mut leaf = Short::default();
    leaf.push_fixed(&[LEAF, ARRAY_OF_3]).push_fixed(&BYTES_OF_32).push_fixed(request_id.as_bytes());
    match commitment {
        Some(commitment) => leaf.push_fixed(&BYTES_OF_32).push_fixed(commitment.as_bytes()),
        None => leaf.push_fixed(&[NULL]),
    };
    leaf.push_fixed(&BYTES_OF_32).push_fixed(output.as_bytes());
    leaf.digest()
}

/// A ballot's leaf under the ballots root: `[statement, signature]`.
#[must_use]
pub fn ballot_leaf(statement: &[u8], signature: &Signature) -> Digest {
    let mut leaf = Encoder::new();
    leaf.array(2).bytes(statement).bytes(signature);
    merkle::leaf_hash(&leaf.finish())
}

/// What an owner signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BallotStatement {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The model group.
    pub group: String,
    /// Digest of the group's charter.
    pub charter: Digest,
    /// The request batch, see [`batch_root`].
    pub batch: Digest,
    /// Requests in the batch.
    pub count: u64,
    /// Digest of the model version that answered.
    pub version: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// Unix time in milliseconds after which the ballot counts no more.
    pub expiry_ms: u64,
    /// Merkle root over the [`vote_leaf`] of each request, in batch order.
    pub votes: Digest,
}

impl BallotStatement {
    /// The signed bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(10).uint(1).digest(&self.genesis).text(&self.group).digest(&self.charter).digest(&self.batch);
        out.uint(self.count).digest(&self.version).bytes(self.owner.as_bytes());
        out.uint(self.expiry_ms).digest(&self.votes);
        out.finish()
    }

    /// Reads signed bytes.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no ballot statement or the key is not admissible.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(10)?;
        input.key(1)?;
        let statement = Self {
            genesis: input.digest()?,
            group: input.text(NAME_BYTES_MAX)?.into(),
            charter: input.digest()?,
            batch: input.digest()?,
            count: input.uint_max(BATCH_REQUESTS_MAX as u64)?,
            version: input.digest()?,
            owner: PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)?,
            expiry_ms: input.uint()?,
            votes: input.digest()?,
        };
        input.finish()?;
        Ok(statement)
    }
}

/// One owner's answer to one request, as a ballot's body lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the owner votes.
    pub vote: Vote,
    /// Commitment to the model's full output.
    pub output: Digest,
}

/// A signed statement with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// What was signed.
    pub statement: BallotStatement,
    /// The owner's signature over the statement.
    pub signature: Signature,
    /// One answer per request, in batch order.
    pub answers: Vec<Answer>,
}

/// What is wrong with a ballot; always its sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BallotError {
    /// Not one answer per request.
    #[error("the ballot does not have one answer per request")]
    Count,
    /// The body is not what was signed.
    #[error("the ballot's answers do not hash to the signed root")]
    Votes,
    /// Not signed by the named owner.
    #[error("the ballot's signature is not its owner's")]
    Signature,
}

/// The Merkle root over a ballot's votes. `requests` gives each request's id and vote salt, in batch order.
#[must_use]
pub fn votes_root<'a>(requests: impl Iterator<Item = (&'a Digest, &'a Digest)>, answers: &[Answer]) -> Digest {
    committed_root(commitments(requests, answers), answers)
}

/// Each request's id with the commitment to its vote.
fn commitments<'a>(
    requests: impl Iterator<Item = (&'a Digest, &'a Digest)>,
    answers: &[Answer],
) -> impl Iterator<Item = (&'a Digest, Option<Digest>)> {
    requests.zip(answers).map(|((id, salt), answer)| (id, vote_commitment(salt, &answer.vote)))
}

fn committed_root<'a>(committed: impl Iterator<Item = (&'a Digest, Option<Digest>)>, answers: &[Answer]) -> Digest {
    let leaf = |((id, commitment), answer): ((&Digest, Option<Digest>), &Answer)| {
        vote_leaf(id, commitment.as_ref(), &answer.output)
    };
    let leaves: Vec<_> = committed.zip(answers).map(leaf).collect();
    merkle::root(&leaves)
}

impl Ballot {
    /// Signs a statement over `answers`; `key` is the owner's.
    #[must_use]
    pub fn sign(statement: BallotStatement, answers: Vec<Answer>, key: &SecretKey) -> Self {
        let signature = StatementType::Ballot.sign(key, &statement.to_bytes());
        Self { statement, signature, answers }
    }

    /// Checks the body against the signed root, and the signature. `requests` as for [`votes_root`].
    ///
    /// # Errors
    /// [`BallotError`], the sender's fault.
    pub fn check<'a>(
        &self,
        requests: impl ExactSizeIterator<Item = (&'a Digest, &'a Digest)>,
    ) -> Result<(), BallotError> {
        self.check_committed(requests.len(), commitments(requests, &self.answers))
    }

    /// As [`Ballot::check`], over `count` requests whose ids come with the [`vote_commitment`] to this ballot's vote:
    /// owners mostly agree, and who checks all their ballots commits to each vote once.
    ///
    /// # Errors
    /// [`BallotError`], the sender's fault.
    pub fn check_committed<'a>(
        &self,
        count: usize,
        committed: impl Iterator<Item = (&'a Digest, Option<Digest>)>,
    ) -> Result<(), BallotError> {
        if self.answers.len() != count || self.statement.count != count as u64 {
            return Err(BallotError::Count);
        }
        if committed_root(committed, &self.answers) != self.statement.votes {
            return Err(BallotError::Votes);
        }
        if !StatementType::Ballot.verifies(&self.statement.owner, &self.statement.to_bytes(), &self.signature) {
            return Err(BallotError::Signature);
        }
        Ok(())
    }

    /// This ballot's leaf under the ballots root: `[statement, signature]`.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        ballot_leaf(&self.statement.to_bytes(), &self.signature)
    }

    /// Writes statement, signature and body.
    pub fn encode(&self, out: &mut Encoder) {
        out.array(3).bytes(&self.statement.to_bytes()).bytes(&self.signature).array(self.answers.len());
        for answer in &self.answers {
            out.array(2);
            answer.vote.encode(out);
            out.digest(&answer.output);
        }
    }

    /// Reads what [`Ballot::encode`] wrote; nothing is verified.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(3)?;
        let statement = BallotStatement::from_bytes(input.bytes(512)?)?;
        let signature = input.fixed()?;
        let count = input.array(BATCH_REQUESTS_MAX)?;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            input.array_of(2)?;
            answers.push(Answer { vote: Vote::decode(input)?, output: input.digest()? });
        }
        Ok(Self { statement, signature, answers })
    }

    /// The ballot on its own, as it travels from model node to gateway.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.encode(&mut out);
        out.finish()
    }

    /// Reads what [`Ballot::to_bytes`] wrote; nothing is verified.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no ballot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        let ballot = Self::decode(&mut input)?;
        input.finish()?;
        Ok(ballot)
    }
}

/// The ballots root: the Merkle root over the counted ballots, in roster order.
#[must_use]
pub fn ballots_root<'a>(ballots: impl Iterator<Item = &'a Ballot>) -> Digest {
    let leaves: Vec<_> = ballots.map(Ballot::leaf).collect();
    merkle::root(&leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot() -> (Vec<(Digest, Digest)>, Ballot) {
        let key = SecretKey::from_seed(&[4; 32]);
        let requests: Vec<_> = (0..3u8).map(|i| (Digest::of(&[i]), Digest::of(&[i, i]))).collect();
        let answers: Vec<_> = [Vote::Class(1), Vote::Abstain, Vote::Class(2)]
            .map(|vote| Answer { vote, output: Digest::of(b"output") })
            .to_vec();
        let ids: Vec<_> = requests.iter().map(|(id, _)| *id).collect();
        let statement = BallotStatement {
            genesis: Digest::of(b"genesis"),
            group: "imagenet".into(),
            charter: Digest::of(b"charter"),
            batch: batch_root(&ids),
            count: 3,
            version: Digest::of(b"version"),
            owner: key.public(),
            expiry_ms: 1,
            votes: votes_root(requests.iter().map(|(id, salt)| (id, salt)), &answers),
        };
        (requests, Ballot::sign(statement, answers, &key))
    }

    fn check(requests: &[(Digest, Digest)], ballot: &Ballot) -> Result<(), BallotError> {
        ballot.check(requests.iter().map(|(id, salt)| (id, salt)))
    }

    #[test]
    fn a_ballot_survives_the_wire_and_checks() {
        let (requests, ballot) = ballot();
        let back = Ballot::from_bytes(&ballot.to_bytes()).unwrap();
        assert_eq!(back, ballot);
        assert_eq!(check(&requests, &back), Ok(()));
    }

    #[test]
    fn a_votes_leaf_is_what_the_encoder_writes() {
        let [id, commitment, output] = [b"id", b"co", b"ou"].map(|bytes| Digest::of(bytes));
        let mut voted = Encoder::new();
        voted.array(3).digest(&id).digest(&commitment).digest(&output);
        assert_eq!(vote_leaf(&id, Some(&commitment), &output), merkle::leaf_hash(&voted.finish()));
        let mut abstained = Encoder::new();
        abstained.array(3).digest(&id).null().digest(&output);
        assert_eq!(vote_leaf(&id, None, &output), merkle::leaf_hash(&abstained.finish()));
    }

    #[test]
    fn every_change_is_refused() {
        let (requests, ballot) = ballot();
        let mut other = ballot.clone();
        other.answers[0].vote = Vote::Class(9);
        assert_eq!(check(&requests, &other), Err(BallotError::Votes));
        let mut other = ballot.clone();
        other.answers.pop();
        assert_eq!(check(&requests, &other), Err(BallotError::Count));
        let mut other = ballot.clone();
        other.statement.version = Digest::of(b"another");
        assert_eq!(check(&requests, &other), Err(BallotError::Signature));
        let mut swapped = requests.clone();
        swapped.swap(0, 2);
        assert_eq!(check(&swapped, &ballot), Err(BallotError::Votes));
    }
}
