//! Records: the Merkle leaf that describes one certified inference.

use alloc::string::String;
use alloc::vec::Vec;

use crate::bitmap::{Bitmap, PLACES_MAX};
use crate::cbor::{CborError, Decoder, Encoder};
use crate::charter::NAME_BYTES_MAX;
use crate::digest::Digest;
use crate::policy::{Assurance, Points, Policy, RANKS_MAX, Standing, Support};
use crate::request::Origin;

/// Room for a record of few different votes.
const USUAL_BYTES: usize = 448;

/// How a request ended. `insufficient` is never terminal and never recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The demanded assurance holds for the first candidate.
    Agreed,
    /// No completion of the missing ballots could have reached it.
    NoAgreement,
}

impl Outcome {
    const fn code(self) -> u64 {
        match self {
            Self::Agreed => 1,
            Self::NoAgreement => 2,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Agreed),
            2 => Some(Self::NoAgreement),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::NoAgreement => "no-agreement",
        }
    }
}

/// Owners that gave the same vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteGroup {
    /// Commitment to the vote; `None` for abstentions.
    pub commitment: Option<Digest>,
    /// The owners, by roster place.
    pub owners: Bitmap,
}

/// One certified inference. Commitments only: nothing here tells what was asked or answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// Config epoch of the committee.
    pub epoch: u64,
    /// Digest of the committee's config.
    pub config: Digest,
    /// The model group.
    pub group: String,
    /// Digest of its charter.
    pub charter: Digest,
    /// Digest of the model versions in force at `seq`.
    pub model_set: Digest,
    /// The request id.
    pub request: Digest,
    /// Commitment to the request's input.
    pub commitment: Digest,
    /// Unix time in milliseconds until which the request was open.
    pub expiry_ms: u64,
    /// Who made the id unique.
    pub origin: Origin,
    /// The policy.
    pub policy: Policy,
    /// Owners on the roster (g).
    pub owners: usize,
    /// The charter's fault bound (f_g).
    pub faults: usize,
    /// The assurance that the request demanded.
    pub demand: Assurance,
    /// Votes, by descending count, then ascending bytes of the vote; abstentions last.
    pub votes: Vec<VoteGroup>,
    /// What supports the outcome beyond the counts of these groups.
    pub support: Support,
    /// The outcome.
    pub outcome: Outcome,
    /// Commitment to the result, if agreed under a policy whose result is no single vote
    /// ([`Policy::commits_to_result`]). Otherwise the result of an agreed outcome is the first group's vote.
    pub result: Option<Digest>,
    /// The strongest assurance that the tally supports.
    pub assurance: Assurance,
    /// Merkle root over the counted ballots.
    pub ballots: Digest,
    /// The block.
    pub seq: u64,
    /// This record's leaf in the block's tree.
    pub leaf_index: u64,
    /// Agreed time, Unix milliseconds.
    pub agreed_ms: u64,
}

impl Record {
    /// The leaf's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(USUAL_BYTES);
        out.map(12);
        out.uint(1).uint(1);
        out.uint(2).digest(&self.genesis);
        out.uint(3).array(2).uint(self.epoch).digest(&self.config);
        out.uint(4).array(3).text(&self.group).digest(&self.charter).digest(&self.model_set);
        out.uint(5).array(4).digest(&self.request).digest(&self.commitment);
        out.uint(self.expiry_ms).uint(self.origin.code());
        out.uint(6).array(4);
        self.policy.encode(&mut out);
        out.uint(self.owners as u64).uint(self.faults as u64).uint(self.demand.code());
        out.uint(7).array(self.votes.len());
        for group in &self.votes {
            out.array(2);
            match &group.commitment {
                Some(commitment) => out.digest(commitment),
                None => out.null(),
            };
            group.owners.encode(&mut out);
        }
        out.uint(8).array(2).uint(self.outcome.code());
        match &self.result {
            Some(result) => out.digest(result),
            None => out.null(),
        };
        out.uint(9).array(2);
        self.encode_support(&mut out);
        out.uint(self.assurance.code());
        out.uint(10).digest(&self.ballots);
        out.uint(11).array(2).uint(self.seq).uint(self.leaf_index);
        out.uint(12).uint(self.agreed_ms);
        out.finish()
    }

    fn encode_support(&self, out: &mut Encoder) {
        match &self.support {
            Support::Counts => {
                out.array(self.votes.len());
                for group in &self.votes {
                    out.uint(group.owners.count() as u64);
                }
            }
            Support::Points(points) => {
                out.array(points.len());
                for sum in points {
                    out.array(2).uint(sum.points).uint(sum.named);
                }
            }
            Support::Cluster { members, reach } => {
                out.array(2);
                members.encode(out);
                out.uint(*reach as u64);
            }
        }
    }

    /// Reads a leaf's bytes. The tally must be that of the votes; whether the outcome follows is [`Record::follows`].
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        if input.map(12)? != 12 {
            return Err(CborError::Bounds);
        }
        input.key(1)?;
        input.key(1)?;
        input.key(2)?;
        let genesis = input.digest()?;
        input.key(3)?;
        input.array_of(2)?;
        let (epoch, config) = (input.uint()?, input.digest()?);
        input.key(4)?;
        input.array_of(3)?;
        let (group, charter, model_set) = (input.text(NAME_BYTES_MAX)?.into(), input.digest()?, input.digest()?);
        input.key(5)?;
        input.array_of(4)?;
        let (request, commitment, expiry_ms) = (input.digest()?, input.digest()?, input.uint()?);
        let origin = Origin::from_code(input.uint()?).ok_or(CborError::Bounds)?;
        input.key(6)?;
        input.array_of(4)?;
        let policy = Policy::decode(&mut input)?;
        let owners = input.uint_max(PLACES_MAX as u64)? as usize;
        let faults = input.uint_max(PLACES_MAX as u64)? as usize;
        let demand = Assurance::decode_demand(&mut input)?;
        input.key(7)?;
        let votes = decode_votes(&mut input, owners)?;
        input.key(8)?;
        input.array_of(2)?;
        let outcome = Outcome::from_code(input.uint()?).ok_or(CborError::Bounds)?;
        let result = if input.null() { None } else { Some(input.digest()?) };
        input.key(9)?;
        input.array_of(2)?;
        let support = decode_support(&mut input, policy, &votes, owners)?;
        let assurance = Assurance::decode(&mut input)?;
        input.key(10)?;
        let ballots = input.digest()?;
        input.key(11)?;
        input.array_of(2)?;
        let (seq, leaf_index) = (input.uint()?, input.uint()?);
        input.key(12)?;
        let agreed_ms = input.uint()?;
        input.finish()?;
        Ok(Self {
            genesis,
            epoch,
            config,
            group,
            charter,
            model_set,
            request,
            commitment,
            expiry_ms,
            origin,
            policy,
            owners,
            faults,
            demand,
            votes,
            support,
            outcome,
            result,
            assurance,
            ballots,
            seq,
            leaf_index,
            agreed_ms,
        })
    }

    /// Owners per group of equal votes, and owners that abstained.
    #[must_use]
    pub fn counts(&self) -> (Vec<usize>, usize) {
        let of = |abstained: bool| {
            let groups = self.votes.iter().filter(move |group| group.commitment.is_none() == abstained);
            groups.map(|group| group.owners.count())
        };
        (of(false).collect(), of(true).sum())
    }

    /// Whether outcome, assurance and the presence of a result follow from policy and tally.
    #[must_use]
    pub fn follows(&self) -> bool {
        let (counts, abstained) = self.counts();
        let Self { owners, faults, ref support, .. } = *self;
        let standing = Standing { owners, faults, counts: &counts, abstained, support };
        let Some(levels) = self.policy.levels(&standing) else {
            return false;
        };
        let result_fits = self.result.is_some() == (self.policy.commits_to_result() && self.outcome == Outcome::Agreed);
        let decided = levels.outcome(self.demand) == Some(self.outcome);
        decided && result_fits && levels.now == self.assurance && self.cluster_voted()
    }

    /// Whether every member of the cluster gave a vote.
    fn cluster_voted(&self) -> bool {
        let Support::Cluster { members, .. } = &self.support else {
            return true;
        };
        let voted = |owner| self.group_of(owner).is_some_and(|group| group.commitment.is_some());
        members.iter().all(voted)
    }

    /// The group that an owner's ballot was counted in.
    #[must_use]
    pub fn group_of(&self, owner: usize) -> Option<&VoteGroup> {
        self.votes.iter().find(|group| group.owners.contains(owner))
    }
}

/// Reads what supports the outcome. Counts must be those of the bitmaps, points descend.
fn decode_support(
    input: &mut Decoder<'_>,
    policy: Policy,
    votes: &[VoteGroup],
    owners: usize,
) -> Result<Support, CborError> {
    match policy {
        Policy::Borda { .. } => {
            let mut points: Vec<Points> = Vec::new();
            for _ in 0..input.array(PLACES_MAX * RANKS_MAX)? {
                input.array_of(2)?;
                let sum = Points { points: input.uint()?, named: input.uint()? };
                if points.last().is_some_and(|last| last.points < sum.points) {
                    return Err(CborError::NotDeterministic);
                }
                points.push(sum);
            }
            Ok(Support::Points(points))
        }
        Policy::Within { .. } => {
            input.array_of(2)?;
            let members = Bitmap::decode(input, owners)?;
            Ok(Support::Cluster { members, reach: input.uint_max(PLACES_MAX as u64)? as usize })
        }
        _ => {
            input.array_of(votes.len())?;
            for group in votes {
                input.key(group.owners.count() as u64)?;
            }
            Ok(Support::Counts)
        }
    }
}

/// Reads the vote groups: disjoint, none empty, counts descending, at most one group of abstentions and that last.
fn decode_votes(input: &mut Decoder<'_>, owners: usize) -> Result<Vec<VoteGroup>, CborError> {
    let mut votes: Vec<VoteGroup> = Vec::new();
    let mut seen = Bitmap::new(owners);
    for _ in 0..input.array(owners)? {
        input.array_of(2)?;
        let commitment = if input.null() { None } else { Some(input.digest()?) };
        let group = VoteGroup { commitment, owners: Bitmap::decode(input, owners)? };
        let in_order = votes.last().is_none_or(|last| {
            let descends = group.commitment.is_none() || last.owners.count() >= group.owners.count();
            last.commitment.is_some() && descends
        });
        let repeated = votes.iter().any(|other| other.commitment == group.commitment);
        if !in_order || repeated || group.owners.count() == 0 || seen.overlaps(&group.owners) {
            return Err(CborError::NotDeterministic);
        }
        seen.extend(&group.owners);
        votes.push(group);
    }
    Ok(votes)
}
