//! Commitments to votes that were made while a submission was checked, for whoever needs them again.
//!
//! Owners mostly agree: a vote's commitment is then the same in every ballot's tree, and in the record. The first vote on
//! each request is remembered and no other, so that memory stays a fraction of the ballots'.

use dropbear_certificates::request::vote_commitment;
use dropbear_certificates::{Digest, Vote};

use crate::entry::Submission;

/// For each request of a submission: the first ballot with a vote on it, and the commitment to that vote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commitments(Vec<Option<(usize, Digest)>>);

impl Commitments {
    /// None yet, of a submission of so many requests.
    pub(super) fn new(requests: usize) -> Self {
        Self(vec![None; requests])
    }

    /// The commitment to the vote in the ballot at `ballot` on the request at `item`.
    pub(super) fn make(
        &mut self,
        submission: &Submission,
        item: usize,
        ballot: usize,
        vote: &Vote,
        salt: &Digest,
    ) -> Option<Digest> {
        let commitment = self.of(submission, item, vote, salt)?;
        if let Some(first @ None) = self.0.get_mut(item) {
            *first = Some((ballot, commitment));
        }
        Some(commitment)
    }

    /// The commitment to `vote` on the request at `item`, whose vote salt is `salt`; `None` for an abstention.
    pub(crate) fn of(&self, submission: &Submission, item: usize, vote: &Vote, salt: &Digest) -> Option<Digest> {
        let first = self.0.get(item).copied().flatten().filter(|(ballot, _)| {
            let ballot = submission.ballots.get(*ballot);
            ballot.and_then(|ballot| ballot.answers.get(item)).is_some_and(|answer| answer.vote == *vote)
        });
        first.map_or_else(|| vote_commitment(salt, vote), |(_, commitment)| Some(commitment))
    }
}
