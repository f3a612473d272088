//! Agreement policies: pure functions from votes to an outcome, recomputable by every verifier.
//!
//! Each policy has its own page, with what it promises and why. They share one entry point, [`Policy::combine`], and one
//! judgement of what a tally supports, [`Policy::levels`], which needs no vote's content: coordinators, holders of all
//! votes and verifiers that see commitments only come to the same outcome.
//!
//! Assurance says what leaving ballots out, or lying, could have changed; see [`Assurance`]. The shift of the lead by one
//! ballot is w = 1 for `plurality` and w = k for `borda`.

mod assurance;
mod borda;
mod combine;
mod exact;
pub mod fixed;
mod groups;
mod median;
pub mod plurality;
mod vote;
mod within;

#[cfg(test)]
mod tests;

pub use assurance::Assurance;
pub use borda::{Points, points};
pub use combine::{Agreement, Levels, Sealed, Standing, Support};
pub use fixed::TensorBounds;
pub use groups::Groups;
pub use plurality::{Counts, Decision, Tally};
pub use vote::{RANKS_MAX, Vote};

use crate::cbor::{CborError, Decoder, Encoder, INT_MAX};

/// A group's rule for combining votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The class that most owners name.
    Plurality,
    /// The class with the most points from rankings.
    Borda {
        /// A ballot ranks at most this many classes (k): the first gets k points.
        ranks: u64,
    },
    /// The output digest that a quorum shares.
    Exact {
        /// Owners that must share it (k), 2k > g + f_g.
        quorum: u64,
    },
    /// The element-wise lower median.
    Median {
        /// What a tensor must fulfil.
        tensor: TensorBounds,
    },
    /// The element-wise mean without the f_g smallest and largest values.
    TrimmedMean {
        /// What a tensor must fulfil.
        tensor: TensorBounds,
    },
    /// The medoid of the largest epsilon-cluster.
    Within {
        /// What a tensor must fulfil.
        tensor: TensorBounds,
        /// Largest sum of absolute differences to the medoid, in the tensor's fixed point.
        epsilon: u64,
        /// Owners that the cluster must have (k), 2k > g + f_g.
        quorum: u64,
    },
}

impl Policy {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plurality => "plurality",
            Self::Borda { .. } => "borda",
            Self::Exact { .. } => "exact",
            Self::Median { .. } => "median",
            Self::TrimmedMean { .. } => "trimmed-mean",
            Self::Within { .. } => "within",
        }
    }

    /// The strongest assurance that the policy can ever give: `median`, `trimmed-mean` and `within` state their own
    /// promise at level *supported* and are never called decisive. A request that demands more can only end in
    /// `no-agreement`: refuse it at the door.
    #[must_use]
    pub const fn strongest(self) -> Assurance {
        match self {
            Self::Plurality | Self::Borda { .. } | Self::Exact { .. } => Assurance::Robust,
            Self::Median { .. } | Self::TrimmedMean { .. } | Self::Within { .. } => Assurance::Supported,
        }
    }

    /// What an agreed outcome at `level` promises, in one sentence.
    #[must_use]
    pub const fn promise(self, level: Assurance) -> &'static str {
        match (self, level) {
            (_, Assurance::None) => "nothing: there is no result",
            (Self::Median { .. } | Self::TrimmedMean { .. }, _) => {
                "every element lies between the smallest and the largest value of the honest owners"
            }
            (Self::Within { .. }, _) => {
                "an honest vote lies within epsilon of the result, and every other possible result within two epsilon"
            }
            (_, Assurance::Supported) => "at least one honest owner named the result",
            (_, Assurance::Decisive) => "no ballot that was left out could have changed the result",
            (_, Assurance::Robust) => "the result leads among honest owners whatever f_g owners and the gateway did",
        }
    }

    /// Whether the parameters fit a roster of `owners` with this fault bound.
    #[must_use]
    pub const fn is_well_formed(self, owners: u64, faults: u64) -> bool {
        match self {
            Self::Plurality => true,
            Self::Borda { ranks } => 1 <= ranks && ranks <= RANKS_MAX as u64,
            Self::Exact { quorum } => exact::is_quorum(quorum, owners, faults),
            Self::Median { tensor } | Self::TrimmedMean { tensor } => tensor.is_well_formed(),
            Self::Within { tensor, epsilon, quorum } => {
                tensor.is_well_formed() && epsilon <= INT_MAX / 2 && exact::is_quorum(quorum, owners, faults)
            }
        }
    }

    /// The same policy for a smaller roster: a quorum is at most everybody.
    pub(crate) const fn at_most(self, owners: u64) -> Self {
        const fn least(a: u64, b: u64) -> u64 {
            if a < b { a } else { b }
        }
        match self {
            Self::Exact { quorum } => Self::Exact { quorum: least(quorum, owners) },
            Self::Within { tensor, epsilon, quorum } => Self::Within { tensor, epsilon, quorum: least(quorum, owners) },
            other => other,
        }
    }

    /// Whether `vote` can be counted where votes name classes below `classes`. An abstention always can.
    #[must_use]
    pub fn admits(self, vote: &Vote, classes: u32) -> bool {
        match (self, vote) {
            (_, Vote::Abstain) | (Self::Exact { .. }, Vote::Output(_)) => true,
            (Self::Plurality, Vote::Class(class)) => *class < classes,
            (Self::Borda { ranks }, Vote::Ranking(ranking)) => {
                let twice = |place: usize| ranking[..place].contains(&ranking[place]);
                let length_fits = !ranking.is_empty() && ranking.len() as u64 <= ranks;
                length_fits && ranking.iter().all(|class| *class < classes) && !(0..ranking.len()).any(twice)
            }
            (
                Self::Median { tensor } | Self::TrimmedMean { tensor } | Self::Within { tensor, .. },
                Vote::Tensor(values),
            ) => tensor.admit(values),
            _ => false,
        }
    }

    pub(crate) fn encode(self, out: &mut Encoder) {
        match self {
            Self::Plurality => {
                out.array(1).uint(1);
            }
            Self::Borda { ranks } => {
                out.array(2).uint(2).uint(ranks);
            }
            Self::Exact { quorum } => {
                out.array(2).uint(3).uint(quorum);
            }
            Self::Median { tensor } => tensor.encode(out.array(2).uint(4)),
            Self::TrimmedMean { tensor } => tensor.encode(out.array(2).uint(5)),
            Self::Within { tensor, epsilon, quorum } => {
                tensor.encode(out.array(4).uint(6));
                out.uint(epsilon).uint(quorum);
            }
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        let items = input.array(4)?;
        let (policy, length) = match input.uint()? {
            1 => (Self::Plurality, 1),
            2 if items == 2 => (Self::Borda { ranks: input.uint()? }, 2),
            3 if items == 2 => (Self::Exact { quorum: input.uint()? }, 2),
            4 if items == 2 => (Self::Median { tensor: TensorBounds::decode(input)? }, 2),
            5 if items == 2 => (Self::TrimmedMean { tensor: TensorBounds::decode(input)? }, 2),
            6 if items == 4 => {
                let tensor = TensorBounds::decode(input)?;
                (Self::Within { tensor, epsilon: input.uint()?, quorum: input.uint()? }, 4)
            }
            _ => return Err(CborError::Bounds),
        };
        if items == length { Ok(policy) } else { Err(CborError::Bounds) }
    }
}
