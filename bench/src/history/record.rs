//! One record against the ballots that it counts and what was in force at its place.

use std::sync::Arc;

use dropbear_certificates::ballot::{ballots_root, batch_root};
use dropbear_certificates::{Ballot, Charter, Digest, Header, ModelSet, Record};

use super::report::{Report, Violation};
use super::statement::{Asked, Submission};
use super::world::World;

/// What is in force for a group in one block.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) charter: Arc<Charter>,
    pub(super) digest: Digest,
    pub(super) versions: ModelSet,
    /// Digest of `versions`.
    pub(super) set: Digest,
}

impl Ground {
    /// What is in force for this group in block `seq`; none if it has no charter there.
    pub(super) fn of(world: &World, group: &str, seq: u64) -> Option<Self> {
        let term = world.term(group, seq)?;
        let versions = world.versions(group, seq);
        Some(Self { charter: Arc::clone(&term.charter), digest: term.digest, set: versions.digest(), versions })
    }
}

/// Notes a violation, described, unless something holds.
type Expect<'e> = dyn FnMut(bool, Violation, &dyn Fn() -> String) + 'e;

/// Which of a submission's ballots are signed and say what they signed; once for all its requests.
pub(super) fn valid_ballots(submission: &Submission, ids: &[Digest]) -> Vec<bool> {
    let batch = batch_root(ids);
    let requests: Vec<_> = submission.requests.iter().map(|asked| (&asked.id, &asked.vote_salt)).collect();
    let valid = |ballot: &Ballot| {
        let of_this = ballot.statement.batch == batch && ballot.statement.group == submission.group;
        of_this && ballot.check(requests.iter().copied()).is_ok()
    };
    submission.ballots.iter().map(valid).collect()
}

/// A record and where it comes from.
pub(super) struct Case<'a> {
    pub(super) record: &'a Record,
    pub(super) submission: &'a Submission,
    /// The request's place in the submission.
    pub(super) place: usize,
    pub(super) asked: &'a Asked,
    pub(super) valid: &'a [bool],
    /// Block and leaf.
    pub(super) at: (u64, u64),
    pub(super) header: &'a Header,
}

impl Case<'_> {
    pub(super) fn check(&self, ground: &Ground, report: &mut Report) {
        let mut expect = |holds: bool, violation: Violation, what: &dyn Fn() -> String| {
            if !holds {
                let (seq, leaf) = self.at;
                report
                    .add(violation, || format!("block {seq} leaf {leaf}, request {}: {}", self.record.request, what()));
            }
        };
        let (record, request) = (self.record, &self.asked.request);
        let charter = &ground.charter;
        let same_charter = record.charter == ground.digest && record.group == charter.group;
        expect(same_charter && self.submission.charter == ground.digest, Violation::WrongCharter, &|| {
            format!("charter {} is not the one in force, {}", record.charter, ground.digest)
        });
        expect(record.model_set == ground.set, Violation::WrongVersions, &|| {
            format!("model set {} is not the one in force, {}", record.model_set, ground.set)
        });
        let terms = (record.policy, record.owners, record.faults);
        expect(
            terms == (charter.policy, charter.roster.len(), charter.fault_bound()),
            Violation::WrongCharter,
            &|| "policy, owners or faults are not the charter's".into(),
        );
        let asked = (record.commitment, record.expiry_ms, record.demand, record.origin);
        let place = (record.seq, record.leaf_index, record.agreed_ms) == (self.at.0, self.at.1, self.header.agreed_ms);
        let same = asked == (request.commitment, request.expiry_ms, request.demand, request.origin) && place;
        expect(same, Violation::Unbacked, &|| "the record is about another request or place".into());
        expect(record.expiry_ms >= self.header.agreed_ms, Violation::Expired, &|| "it had expired".into());
        self.ballots(ground, &mut expect);
    }

    fn ballots(&self, ground: &Ground, expect: &mut Expect<'_>) {
        let mut votes = vec![None; ground.charter.roster.len()];
        let mut counted = Vec::new();
        for (owner, seat) in ground.charter.roster.iter().enumerate() {
            let is_counted = self.record.group_of(owner).is_some();
            let found = self.submission.ballots.iter().position(|ballot| ballot.statement.owner == seat.key);
            let Some(found) = found else {
                expect(!is_counted, Violation::Unbacked, &|| format!("{} gave no ballot but is counted", seat.owner));
                continue;
            };
            let ballot = &self.submission.ballots[found];
            let current = ground.versions.0.get(owner).and_then(Option::as_ref);
            let is_current = current.is_some_and(|version| version.digest == ballot.statement.version);
            let is_open = ballot.statement.expiry_ms >= self.header.agreed_ms;
            if is_counted {
                expect(is_current, Violation::StaleBallot, &|| {
                    let in_force = current.map_or("none".into(), |version| version.digest.to_string());
                    format!("{} answered with version {}, in force is {in_force}", seat.owner, ballot.statement.version)
                });
                let valid = self.valid[found] && is_open && ballot.statement.charter == ground.digest;
                expect(valid, Violation::Unbacked, &|| format!("the ballot of {} is not valid", seat.owner));
                counted.push(ballot);
                votes[owner] = ballot.answers.get(self.place).map(|answer| answer.vote.clone());
            } else {
                let left_out = is_current && is_open && self.valid[found];
                expect(!left_out, Violation::Unbacked, &|| format!("the ballot of {} was left out", seat.owner));
            }
        }
        let root = ballots_root(counted.iter().copied());
        expect(root == self.record.ballots, Violation::Unbacked, &|| "the ballots root is another".into());
        let agreement = ground.charter.combine(&votes);
        let sealed = agreement.seal(ground.charter.policy, self.record.demand, &self.asked.vote_salt);
        let record = self.record;
        let follows = sealed.is_some_and(|sealed| {
            sealed.votes == record.votes
                && sealed.support == record.support
                && (sealed.outcome, sealed.result, sealed.assurance)
                    == (record.outcome, record.result, record.assurance)
        });
        expect(follows, Violation::WrongOutcome, &|| "the outcome does not follow from the ballots".into());
    }
}
