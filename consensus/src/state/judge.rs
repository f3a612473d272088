//! Judging submissions: what counts at a place in the order, without changing anything.

use std::sync::Arc;

use dropbear_certificates::policy::Agreement;
use dropbear_certificates::{Ballot, Charter, Digest};

use crate::entry::{Submission, SubmittedRequest};
use crate::ids::Answered;
use crate::refusal::{Place, Refused};
use crate::registry::{Group, Registry};

/// What is in force for a group in one block: nothing in the block changes it.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) charter: Arc<Charter>,
    pub(super) digest: Digest,
    /// Every owner's current version, by place.
    current: Vec<Option<Digest>>,
}

impl InForce {
    pub(super) fn of(group: &Group, seq: u64) -> Result<Self, Refused> {
        let pending =
            || group.pending(seq).map_or(Refused::UnknownGroup, |term| Refused::CharterPending(term.from_seq));
        let term = group.term(seq).ok_or_else(pending)?;
        let current = |key| group.current(key, seq).map(|version| version.digest);
        let current = term.charter.roster.iter().map(|seat| current(&seat.key)).collect();
        Ok(Self { charter: Arc::clone(&term.charter), digest: term.digest, current })
    }
}

/// A submission's ballots at a place in the order.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) in_force: &'a InForce,
    /// The ballots that count, by roster place: of current versions and not expired. Others are dropped alone.
    pub(super) counted: Vec<(usize, &'a Ballot)>,
    /// The owners whose ballots are dropped.
    pub(super) stale: Answered,
}

/// The bounds on a request's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) agreed_ms: u64,
    pub(super) lifetime_ms_max: u64,
}

/// The group of a submission from a registered gateway.
pub(super) fn group_of<'r>(registry: &'r Registry, submission: &Submission) -> Result<&'r Arc<Group>, Refused> {
    if !registry.is_gateway(&submission.gateway) {
        return Err(Refused::UnknownGateway);
    }
    registry.group(&submission.group).ok_or(Refused::UnknownGroup)
}

impl<'a> Batch<'a> {
    pub(super) fn new(in_force: &'a InForce, submission: &'a Submission, agreed_ms: u64) -> Result<Self, Refused> {
        if in_force.digest != submission.charter {
            return Err(Refused::StaleCharter);
        }
        let mut batch = Self { in_force, counted: Vec::with_capacity(submission.ballots.len()), stale: 0 };
        for ballot in &submission.ballots {
            let statement = &ballot.statement;
            let place = in_force.charter.place(&statement.owner).ok_or(Refused::NotOnRoster)?;
            if in_force.current[place] == Some(statement.version) && statement.expiry_ms >= agreed_ms {
                batch.counted.push((place, ballot));
            } else {
                batch.stale |= 1 << place;
            }
        }
        batch.counted.sort_unstable_by_key(|(place, _)| *place);
        Ok(batch)
    }

    /// What the policy makes of the request at `place` in the batch; an agreement has a terminal outcome.
    pub(super) fn judge(
        &self,
        submitted: &SubmittedRequest,
        place: usize,
        decided: Option<Place>,
        times: Times,
    ) -> Result<Agreement, Refused> {
        let request = &submitted.request;
        if let Some(decided) = decided {
            return Err(Refused::AlreadyDecided(decided));
        }
        if request.expiry_ms < times.agreed_ms {
            return Err(Refused::Expired);
        }
        if request.expiry_ms > times.agreed_ms + times.lifetime_ms_max {
            return Err(Refused::ExpiryTooFar);
        }
        let charter = &self.in_force.charter;
        if request.demand > charter.policy.strongest() {
            return Err(Refused::DemandTooStrong);
        }
        let agreement = self.combine(place);
        if agreement.outcome(request.demand).is_none() {
            let missing = charter.roster.len() - agreement.groups.counts().iter().sum::<usize>();
            let stale = self.stale.count_ones() as usize;
            return Err(Refused::Insufficient { counted: self.counted.len(), stale, missing });
        }
        Ok(agreement)
    }

    fn combine(&self, place: usize) -> Agreement {
        let charter = &self.in_force.charter;
        let mut votes = vec![None; charter.roster.len()];
        for (owner, ballot) in &self.counted {
            votes[*owner] = ballot.answers.get(place).map(|answer| &answer.vote);
        }
        charter.combine(&votes)
    }
}
