//! One entry point for all policies, and the one judgement behind it.

use alloc::vec::Vec;
use core::borrow::Borrow;

use crate::bitmap::Bitmap;
use crate::charter::Charter;
use crate::digest::Digest;
use crate::policy::groups::Groups;
use crate::policy::median::Middle;
use crate::policy::{Assurance, Points, Policy, Vote, borda, exact, median, plurality, within};
use crate::record::{Outcome, VoteGroup};
use crate::request::{result_commitment, vote_commitment};

/// What supports an outcome beyond the counts of equal votes; goes into the record as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// Nothing: the counts say it all (`plurality`, `exact`, `median`, `trimmed-mean`).
    Counts,
    /// The candidates' points, descending (`borda`).
    Points(Vec<Points>),
    /// The largest cluster (`within`).
    Cluster {
        /// The owners within epsilon of the result.
        members: Bitmap,
        /// Most owners within two epsilon of any vote.
        reach: usize,
    },
}

/// A tally without the content of its votes: all that a verifier without openings sees.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Owners on the roster (g).
    pub owners: usize,
    /// The charter's fault bound (f_g).
    pub faults: usize,
    /// Owners per group of equal votes, descending, without abstentions.
    pub counts: &'a [usize],
    /// Owners that abstained for good.
    pub abstained: usize,
    /// What the counts do not say.
    pub support: &'a Support,
}

/// What a tally supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The strongest assurance that holds now.
    pub now: Assurance,
    /// The strongest that any completion of the missing ballots could reach; an upper bound for `within`.
    pub reachable: Assurance,
}

impl Levels {
    /// The terminal outcome under `demand`; `None` while missing ballots could still decide.
    #[must_use]
    pub fn outcome(self, demand: Assurance) -> Option<Outcome> {
        match () {
            () if self.now >= demand => Some(Outcome::Agreed),
            () if self.reachable >= demand => None,
            () => Some(Outcome::NoAgreement),
        }
    }
}

/// What a policy makes of the votes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The votes by what they say; candidates of a plurality, winner first.
    pub groups: Groups,
    /// What else supports the outcome.
    pub support: Support,
    /// What the tally supports.
    pub levels: Levels,
    /// The result; `None` where no level holds.
    pub result: Option<Vote>,
}

/// An agreement as its record carries it: commitments instead of votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// For [`Record::votes`](crate::Record::votes).
    pub votes: Vec<VoteGroup>,
    /// For [`Record::support`](crate::Record::support).
    pub support: Support,
    /// The terminal outcome.
    pub outcome: Outcome,
    /// For [`Record::result`](crate::Record::result).
    pub result: Option<Digest>,
    /// The strongest assurance that holds.
    pub assurance: Assurance,
}

impl Policy {
    /// Judges a tally. `None` if its support is not of this policy's kind or cannot come from such counts.
    #[must_use]
    pub fn levels(self, standing: &Standing<'_>) -> Option<Levels> {
        let Standing { owners, faults, counts, abstained, support } = *standing;
        let voters: usize = counts.iter().sum();
        let open = owners.checked_sub(voters)?.checked_sub(abstained)?;
        match (self, support) {
            (Self::Plurality, Support::Counts) => {
                let counts = plurality::Counts { owners, faults, votes: counts.to_vec(), abstained };
                Some(Levels { now: counts.assurance(), reachable: counts.reachable() })
            }
            (Self::Exact { quorum }, Support::Counts) => {
                Some(exact::levels(counts, open, usize::try_from(quorum).ok()?))
            }
            (Self::Median { .. } | Self::TrimmedMean { .. }, Support::Counts) => {
                Some(median::levels(voters, open, faults))
            }
            (Self::Borda { ranks }, Support::Points(points)) => {
                borda::fits(points, voters, ranks).then(|| borda::levels(points, abstained, open, faults, ranks))
            }
            (Self::Within { quorum, .. }, Support::Cluster { members, reach }) => {
                let cluster = members.count();
                let fits = cluster <= *reach && *reach <= voters && (cluster == 0) == (voters == 0);
                fits.then_some(within::levels(cluster, *reach, open, usize::try_from(quorum).ok()?))
            }
            _ => None,
        }
    }

    /// Whether a record of an agreed outcome commits to its result apart from its votes. Where it does not, the result
    /// is the vote of the first group.
    #[must_use]
    pub const fn commits_to_result(self) -> bool {
        !matches!(self, Self::Plurality | Self::Exact { .. })
    }

    /// Combines `votes` (one place per owner of the roster, `None` where no ballot is counted) under `charter`, whose
    /// policy this is. Votes that the charter does not admit count as abstentions.
    #[must_use]
    pub fn combine<V: Borrow<Vote>>(self, votes: &[Option<V>], charter: &Charter) -> Agreement {
        let faults = charter.fault_bound();
        let groups = Groups::of(votes, |vote| self.admits(vote, charter.classes));
        let (support, result) = self.count(&groups, faults);
        let (counts, abstained) = (groups.counts(), groups.abstained.count());
        let standing = Standing { owners: votes.len(), faults, counts: &counts, abstained, support: &support };
        let levels = self.levels(&standing).unwrap_or(Levels { now: Assurance::None, reachable: Assurance::None });
        let result = result.filter(|_| levels.now > Assurance::None);
        Agreement { groups, support, levels, result }
    }

    fn count(self, groups: &Groups, faults: usize) -> (Support, Option<Vote>) {
        let first = || groups.votes.first().map(|(vote, _)| vote.clone());
        let middle = |tensor: super::TensorBounds, middle| {
            median::combine(groups, tensor.length as usize, faults, middle).map(Vote::Tensor)
        };
        match self {
            Self::Plurality | Self::Exact { .. } => (Support::Counts, first()),
            Self::Median { tensor } => (Support::Counts, middle(tensor, Middle::Median)),
            Self::TrimmedMean { tensor } => (Support::Counts, middle(tensor, Middle::TrimmedMean)),
            Self::Borda { ranks } => {
                let candidates = borda::points(groups, ranks);
                let winner = candidates.first().map(|(class, _)| Vote::Class(*class));
                (Support::Points(candidates.into_iter().map(|(_, points)| points).collect()), winner)
            }
            Self::Within { epsilon, .. } => {
                let cluster = within::largest(groups, epsilon);
                let result = cluster.medoid.map(|place| groups.votes[place].0.clone());
                (Support::Cluster { members: cluster.members, reach: cluster.reach }, result)
            }
        }
    }
}

impl Agreement {
    /// The terminal outcome under `demand`; `None` while missing ballots could still decide (`insufficient`).
    #[must_use]
    pub fn outcome(&self, demand: Assurance) -> Option<Outcome> {
        self.levels.outcome(demand)
    }

    /// What the record carries if `demand` must hold; `None` while the outcome is not terminal. `salt` is the request's
    /// vote salt, `policy` the charter's.
    #[must_use]
    pub fn seal(&self, policy: Policy, demand: Assurance, salt: &Digest) -> Option<Sealed> {
        self.seal_committed(policy, demand, salt, |vote| vote_commitment(salt, vote))
    }

    /// As [`Agreement::seal`], for those who have made [`vote_commitment`]s before: `commit` gives that of a vote under
    /// `salt`.
    #[must_use]
    pub fn seal_committed(
        &self,
        policy: Policy,
        demand: Assurance,
        salt: &Digest,
        commit: impl Fn(&Vote) -> Option<Digest>,
    ) -> Option<Sealed> {
        let outcome = self.outcome(demand)?;
        let group = |(vote, owners): &(Vote, Bitmap)| VoteGroup { commitment: commit(vote), owners: owners.clone() };
        let mut votes: Vec<_> = self.groups.votes.iter().map(group).collect();
        if self.groups.abstained.count() > 0 {
            votes.push(VoteGroup { commitment: None, owners: self.groups.abstained.clone() });
        }
        let shown = policy.commits_to_result() && outcome == Outcome::Agreed;
        let result = self.result.as_ref().filter(|_| shown).and_then(|result| result_commitment(salt, result));
        Some(Sealed { votes, support: self.support.clone(), outcome, result, assurance: self.levels.now })
    }
}
