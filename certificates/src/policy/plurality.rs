//! `plurality`: the class that most owners name.
//!
//! With g owners, fault bound f_g, `missing` owners without a counted vote and `lead` the distance between winner and
//! runner-up (one ballot shifts a candidate by w = 1):
//!
//! * **supported**: a unique winner with at least f_g + 1 votes, so at least one honest model said so;
//! * **decisive**: supported, and lead > missing: the ballots left out could not have changed the winner;
//! * **robust**: lead > f_g + missing: the winner leads among honest models whatever f_g owners and the gateway do.

use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::policy::{Assurance, Vote};

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
    /// Counts `votes`, one place per owner of the roster, `None` where no ballot is counted. What is no class counts as an
    /// abstention.
    #[must_use]
    pub fn count(votes: &[Option<Vote>], faults: usize) -> Self {
        let mut candidates: Vec<(u32, Bitmap)> = Vec::new();
        let mut abstained = Bitmap::new(votes.len());
        for (owner, vote) in votes.iter().enumerate() {
            match vote {
                None => {}
                Some(Vote::Class(class)) => {
                    let known = candidates.iter().position(|(candidate, _)| candidate == class);
                    let place = known.unwrap_or_else(|| {
                        candidates.push((*class, Bitmap::new(votes.len())));
                        candidates.len() - 1
                    });
                    candidates[place].1.insert(owner);
                }
                Some(_) => {
                    abstained.insert(owner);
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
        assert_eq!(
            Tally::count(&[const { Some(Vote::Abstain) }; 4], 1).decide(Assurance::Supported),
            Decision::NoAgreement
        );
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
