//! Votes grouped by what they say: the common ground of all policies.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Reverse;

use crate::bitmap::Bitmap;
use crate::policy::Vote;

/// Votes grouped by what they say. Groups stand by descending count, then by ascending bytes of the vote (for classes:
/// ascending class).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Owners on the roster (g).
    pub owners: usize,
    /// The different votes with the owners that gave them.
    pub votes: Vec<(Vote, Bitmap)>,
    /// Owners that answered with an abstention.
    pub abstained: Bitmap,
}

impl Groups {
    /// Groups `votes`, one place per owner of the roster, `None` where no ballot is counted. A vote that is not
    /// `admitted` counts as an abstention: its owner answered, and the answer is worth nothing.
    #[must_use]
    pub fn of<V: Borrow<Vote>>(votes: &[Option<V>], admitted: impl Fn(&Vote) -> bool) -> Self {
        let mut abstained = Bitmap::new(votes.len());
        let mut groups: Vec<(&Vote, Bitmap)> = Vec::with_capacity(2);
        for (owner, vote) in votes.iter().enumerate() {
            let Some(vote) = vote.as_ref().map(Borrow::borrow) else { continue };
            if *vote == Vote::Abstain || !admitted(vote) {
                abstained.insert(owner);
                continue;
            }
            match groups.iter_mut().find(|(other, _)| *other == vote) {
                Some((_, owners)) => owners.insert(owner),
                None => {
                    let mut owners = Bitmap::new(votes.len());
                    owners.insert(owner);
                    groups.push((vote, owners));
                    true
                }
            };
        }
        // Mostly everybody agrees, and there is nothing to be written down for comparison.
        if groups.len() > 1 {
            groups.sort_by_cached_key(|(vote, owners)| (Reverse(owners.count()), vote.to_bytes()));
        }
        let votes_by_count = groups.into_iter().map(|(vote, owners)| (vote.clone(), owners)).collect();
        Self { owners: votes.len(), votes: votes_by_count, abstained }
    }

    /// Owners per group, descending.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        self.votes.iter().map(|(_, owners)| owners.count()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_votes_stand_together_most_first_then_by_value() {
        let votes = [Some(Vote::Class(300)), Some(Vote::Class(5)), None, Some(Vote::Class(24)), Some(Vote::Class(300))];
        let groups = Groups::of(&votes, |_| true);
        let classes: Vec<_> = groups.votes.iter().map(|(vote, _)| vote.clone()).collect();
        assert_eq!(classes, [Vote::Class(300), Vote::Class(5), Vote::Class(24)]);
        assert_eq!(groups.counts(), [2, 1, 1]);
        assert_eq!(groups.abstained.count(), 0);
    }

    #[test]
    fn what_is_not_admitted_is_an_abstention() {
        let votes = [Some(Vote::Class(9)), Some(Vote::Abstain), Some(Vote::Class(1))];
        let groups = Groups::of(&votes, |vote| *vote == Vote::Class(1));
        assert_eq!(groups.abstained.iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(groups.counts(), [1]);
    }
}
