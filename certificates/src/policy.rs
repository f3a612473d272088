//! Agreement policies: pure functions from votes to an outcome, recomputable by every verifier.
//!
//! Assurance says what leaving ballots out, or lying, could have changed. With g owners, fault bound f_g, `missing`
//! owners without a counted vote and `lead` the distance between winner and runner-up (DESIGN: one ballot of a plurality
//! shifts a candidate by w = 1):
//!
//! * **supported**: a unique winner with at least f_g + 1 votes, so at least one honest model said so;
//! * **decisive**: supported, and lead > missing: the ballots left out could not have changed the winner;
//! * **robust**: lead > f_g + missing: the winner leads among honest models whatever f_g owners and the gateway do.

use alloc::vec::Vec;
use core::fmt;

use crate::bitmap::Bitmap;
use crate::cbor::{CborError, Decoder, Encoder};

/// How far a tally is safe against missing and lying owners; ordered from weakest to strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// No claim: there is no winner, or too few votes for it.
    None,
    /// At least one honest model gave the winner.
    Supported,
    /// And the ballots left out could not have changed it.
    Decisive,
    /// And neither could f_g lying owners.
    Robust,
}

impl Assurance {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// From its number on the wire.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Supported),
            2 => Some(Self::Decisive),
            3 => Some(Self::Robust),
            _ => None,
        }
    }

    /// From its name, for a level that can be demanded: `supported`, `decisive` or `robust`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Supported, Self::Decisive, Self::Robust].into_iter().find(|level| level.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Supported => "supported",
            Self::Decisive => "decisive",
            Self::Robust => "robust",
        }
    }

    /// The strongest level that these counts support. `lead` is zero when the best two candidates tie.
    #[must_use]
    pub const fn of(winner: usize, lead: usize, missing: usize, faults: usize) -> Self {
        if lead == 0 || winner <= faults {
            Self::None
        } else if lead > faults + missing {
            Self::Robust
        } else if lead > missing {
            Self::Decisive
        } else {
            Self::Supported
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        Self::from_code(input.uint()?).ok_or(CborError::Bounds)
    }

    /// Reads a level that can be demanded: anything but [`Assurance::None`].
    pub(crate) fn decode_demand(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        match Self::decode(input)? {
            Self::None => Err(CborError::Bounds),
            level => Ok(level),
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A group's rule for combining votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The class that most owners name.
    Plurality,
}

impl Policy {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plurality => "plurality",
        }
    }

    pub(crate) fn encode(self, out: &mut Encoder) {
        match self {
            Self::Plurality => out.array(1).uint(1),
        };
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(1)?;
        input.key(1)?;
        Ok(Self::Plurality)
    }
}

/// What one owner's ballot says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vote {
    /// The most likely class.
    Class(u32),
    /// The model could not answer; the owner counts as missing, for good.
    Abstain,
}

impl Vote {
    /// The bytes that a vote's commitment covers: `[kind, value]`; none for an abstention.
    #[must_use]
    pub fn to_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Class(class) => {
                let mut out = Encoder::new();
                out.array(2).uint(1).uint(class.into());
                Some(out.finish())
            }
            Self::Abstain => None,
        }
    }

    /// Writes the vote as an item of a ballot body: `[kind, value]`, or null for an abstention.
    pub fn encode(self, out: &mut Encoder) {
        match self.to_bytes() {
            Some(bytes) => out.raw(&bytes),
            None => out.null(),
        };
    }

    /// Reads what [`Vote::encode`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        if input.null() {
            return Ok(Self::Abstain);
        }
        input.array_of(2)?;
        input.key(1)?;
        Ok(Self::Class(input.uint_max(u32::MAX.into())? as u32))
    }
}

/// The votes of one request, counted. Candidates stand by descending count, then ascending class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    owners: usize,
    faults: usize,
    candidates: Vec<(u32, Bitmap)>,
    abstained: Bitmap,
}

/// What a tally comes to, given the assurance that is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The demanded assurance holds for this class.
    Agreed(u32),
    /// No completion of the missing ballots could reach it.
    NoAgreement,
    /// Missing ballots could still decide: ask for them.
    Insufficient,
}

impl Tally {
    /// Counts `votes`, one place per owner of the roster, `None` where no ballot is counted.
    #[must_use]
    pub fn count(votes: &[Option<Vote>], faults: usize) -> Self {
        let mut candidates: Vec<(u32, Bitmap)> = Vec::new();
        let mut abstained = Bitmap::new(votes.len());
        for (owner, vote) in votes.iter().enumerate() {
            match vote {
                None => {}
                Some(Vote::Abstain) => {
                    abstained.insert(owner);
                }
                Some(Vote::Class(class)) => {
                    let known = candidates.iter().position(|(candidate, _)| candidate == class);
                    let place = known.unwrap_or_else(|| {
                        candidates.push((*class, Bitmap::new(votes.len())));
                        candidates.len() - 1
                    });
                    candidates[place].1.insert(owner);
                }
            }
        }
        candidates.sort_by_key(|(class, owners)| (core::cmp::Reverse(owners.count()), *class));
        Self { owners: votes.len(), faults, candidates, abstained }
    }

    /// The candidates with the owners that named them, winner first.
    #[must_use]
    pub fn candidates(&self) -> &[(u32, Bitmap)] {
        &self.candidates
    }

    /// Owners that answered with an abstention.
    #[must_use]
    pub const fn abstained(&self) -> &Bitmap {
        &self.abstained
    }

    /// The counts from which everything else follows.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            owners: self.owners,
            faults: self.faults,
            votes: self.candidates.iter().map(|(_, owners)| owners.count()).collect(),
            abstained: self.abstained.count(),
        }
    }

    /// What the tally comes to if `demand` must hold.
    #[must_use]
    pub fn decide(&self, demand: Assurance) -> Decision {
        let counts = self.counts();
        match self.candidates.first() {
            Some((class, _)) if counts.assurance() >= demand => Decision::Agreed(*class),
            _ if counts.reachable() >= demand => Decision::Insufficient,
            _ => Decision::NoAgreement,
        }
    }
}

/// A tally without the names of its candidates: all that a verifier without openings sees, and enough to recompute
/// outcome and assurance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Owners on the roster (g).
    pub owners: usize,
    /// The charter's fault bound (f_g).
    pub faults: usize,
    /// Votes per candidate, descending.
    pub votes: Vec<usize>,
    /// Owners that abstained for good.
    pub abstained: usize,
}

impl Counts {
    /// Owners whose vote is counted for no candidate.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.owners - self.votes.iter().sum::<usize>()
    }

    fn best_two(&self) -> (usize, usize) {
        (self.votes.first().copied().unwrap_or(0), self.votes.get(1).copied().unwrap_or(0))
    }

    /// The strongest assurance that holds now.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        let (first, second) = self.best_two();
        Assurance::of(first, first - second, self.missing(), self.faults)
    }

    /// The strongest assurance that any completion of the missing ballots could reach: all of them join the leader.
    #[must_use]
    pub fn reachable(&self) -> Assurance {
        let (first, second) = self.best_two();
        let open = self.missing() - self.abstained;
        Assurance::of(first + open, first + open - second, self.abstained, self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn tally(votes: &[Option<u32>], faults: usize) -> Tally {
        let votes: Vec<_> = votes.iter().map(|vote| vote.map(Vote::Class)).collect();
        Tally::count(&votes, faults)
    }

    #[test]
    fn four_owners_one_fault() {
        let decide = |votes: &[Option<u32>], demand| tally(votes, 1).decide(demand);
        let (robust, supported) = (Assurance::Robust, Assurance::Supported);
        assert_eq!(decide(&[Some(7); 4], robust), Decision::Agreed(7));
        assert_eq!(decide(&[Some(7), Some(7), Some(7), None], robust), Decision::Agreed(7));
        assert_eq!(decide(&[Some(7), Some(7), Some(7), Some(9)], robust), Decision::Agreed(7));
        assert_eq!(decide(&[Some(7), Some(7), Some(9), None], robust), Decision::Insufficient);
        assert_eq!(decide(&[Some(7), Some(7), Some(8), Some(9)], robust), Decision::NoAgreement);
        assert_eq!(decide(&[Some(7), Some(7), Some(8), Some(9)], supported), Decision::Agreed(7));
        assert_eq!(
            decide(&[Some(7), Some(7), Some(9), Some(9)], supported),
            Decision::NoAgreement,
            "a tie has no winner"
        );
        assert_eq!(decide(&[None; 4], robust), Decision::Insufficient);
    }

    #[test]
    fn an_abstention_is_missing_for_good() {
        let mut votes = vec![Some(Vote::Class(1)), Some(Vote::Class(1)), Some(Vote::Class(2)), None];
        assert_eq!(Tally::count(&votes, 1).decide(Assurance::Robust), Decision::Insufficient);
        votes[3] = Some(Vote::Abstain);
        assert_eq!(Tally::count(&votes, 1).decide(Assurance::Robust), Decision::NoAgreement);
        assert_eq!(Tally::count(&[Some(Vote::Abstain); 4], 1).decide(Assurance::Supported), Decision::NoAgreement);
    }

    /// Every way to fill the `None`s with classes below `classes`.
    fn completions(votes: &[Option<u32>], classes: u32) -> Vec<Vec<Option<u32>>> {
        match votes.iter().position(Option::is_none) {
            None => vec![votes.to_vec()],
            Some(place) => (0..classes)
                .flat_map(|class| {
                    let mut votes = votes.to_vec();
                    votes[place] = Some(class);
                    completions(&votes, classes)
                })
                .collect(),
        }
    }

    fn every_tally(owners: u32, classes: u32) -> impl Iterator<Item = Vec<Option<u32>>> {
        let digits = classes + 1;
        (0..digits.pow(owners)).map(move |mut code| {
            (0..owners)
                .map(|_| {
                    let digit = code % digits;
                    code /= digits;
                    digit.checked_sub(1)
                })
                .collect()
        })
    }

    fn winner(votes: &[Option<u32>]) -> Option<u32> {
        match tally(votes, 0).decide(Assurance::Supported) {
            Decision::Agreed(class) => Some(class),
            _ => None,
        }
    }

    #[test]
    fn decisive_means_that_no_missing_ballot_could_change_the_winner() {
        for votes in every_tally(5, 3) {
            let tally = tally(&votes, 1);
            let stands =
                completions(&votes, 4).iter().all(|all| winner(all) == winner(&votes)) && winner(&votes).is_some();
            if tally.counts().assurance() >= Assurance::Decisive {
                assert!(stands, "{votes:?}");
            }
            if stands && tally.counts().assurance() >= Assurance::Supported {
                assert!(tally.counts().assurance() >= Assurance::Decisive, "tight: {votes:?}");
            }
        }
    }

    #[test]
    fn robust_means_that_a_liar_could_not_have_hidden_another_honest_winner() {
        // The winner leads among the honest votes, whichever one owner lied and whatever the missing would have said.
        for votes in every_tally(4, 3) {
            if tally(&votes, 1).counts().assurance() < Assurance::Robust {
                continue;
            }
            for all in completions(&votes, 4) {
                for liar in 0..4 {
                    let mut honest = all.clone();
                    honest.remove(liar);
                    assert_eq!(winner(&honest), winner(&votes), "{votes:?} {all:?} liar {liar}");
                }
            }
        }
    }

    #[test]
    fn no_agreement_means_that_no_completion_reaches_the_demand() {
        for votes in every_tally(4, 3) {
            for demand in [Assurance::Supported, Assurance::Decisive, Assurance::Robust] {
                let reached = completions(&votes, 4).iter().any(|all| tally(all, 1).counts().assurance() >= demand);
                let decision = tally(&votes, 1).decide(demand);
                assert_eq!(decision == Decision::NoAgreement, !reached, "{votes:?} {demand}");
            }
        }
    }
}
