//! Ballots that came after the outcome.

use std::sync::Arc;

use dropbear_certificates::Vote;

use crate::accounts::Sums;
use crate::block::{BLOCK_LEAVES_MAX, late_leaf};
use crate::entry::{Checked, Submission};
use crate::ids::{Answered, Late};
use crate::refusal::{Place, Refused};
use crate::registry::{Group, Term};
use crate::state::execution::Execution;
use crate::state::judge::group_of;

impl Execution<'_> {
    /// Applies ballots that came after the outcome: each request that an owner had not answered yet counts as late.
    pub(super) fn late_ballots(&mut self, late: &Submission, entry: &Checked) -> Result<(), Refused> {
        let registry = Arc::clone(&self.state.registry);
        let group = group_of(&registry, late)?;
        let term = group.terms().iter().find(|term| term.digest == late.charter).ok_or(Refused::StaleCharter)?;
        if self.leaves.len() >= BLOCK_LEAVES_MAX {
            return Err(Refused::BlockFull);
        }
        let mut sums = Sums::new(term.charter.roster.len());
        let mut marks = Vec::new();
        for (place, (submitted, id)) in late.requests.iter().zip(entry.request_ids()).enumerate() {
            let expiry_ms = submitted.request.expiry_ms;
            // Only what no replica has forgotten.
            let Some(found) = self.find(id, expiry_ms).filter(|_| expiry_ms >= self.agreed_ms) else { continue };
            let answered = self.late_answers(group, term, late, place, found)?;
            if answered != 0 {
                (0..term.charter.roster.len()).filter(|owner| answered >> owner & 1 == 1).for_each(|o| sums.late(o));
                marks.push(Late { id: *id, expiry_ms, answered });
            }
        }
        if marks.is_empty() {
            return Err(Refused::NothingLate);
        }
        for mark in marks {
            self.state.buckets.push_late(&mark);
            self.late.entry(mark.id).and_modify(|late| late.answered |= mark.answered).or_insert(mark);
        }
        let owners = term.charter.roster.iter().enumerate().map(|(place, seat)| (seat.key, sums.late_of(place)));
        let owners: Vec<_> = owners.filter(|(_, requests)| *requests > 0).collect();
        self.leaves.push(late_leaf(&entry.digest(), &owners, self.seq, self.leaves.len() as u64));
        self.account(&term.charter, &sums);
        Ok(())
    }

    /// The owners whose ballots answer the request at `place` of the batch late.
    fn late_answers(
        &self,
        group: &Group,
        term: &Term,
        late: &Submission,
        place: usize,
        (decided, before): (Place, Answered),
    ) -> Result<Answered, Refused> {
        if group.term(decided.seq).is_none_or(|in_force| in_force.digest != term.digest) {
            return Ok(0);
        }
        let mut answered = 0;
        for ballot in &late.ballots {
            let statement = &ballot.statement;
            let owner = term.charter.place(&statement.owner).ok_or(Refused::NotOnRoster)?;
            let current = group.current(&statement.owner, decided.seq);
            let is_vote = |vote: &Vote| *vote != Vote::Abstain && term.charter.admits(vote);
            let counts = current.is_some_and(|version| version.digest == statement.version)
                && statement.expiry_ms >= self.agreed_ms
                && ballot.answers.get(place).is_some_and(|answer| is_vote(&answer.vote));
            if counts && before >> owner & 1 == 0 {
                answered |= 1 << owner;
            }
        }
        Ok(answered)
    }
}
