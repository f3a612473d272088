//! Submitting: an entry to f + 1 coordinators, the wait for it to the others, until q of them attest one header.

use std::collections::BTreeMap;

use bytes::Bytes;
use dropbear_certificates::{Digest, Header};
use dropbear_consensus::Entry;
use dropbear_consensus::entry::entry_digest;
use dropbear_wire::convert::digest_bytes;
use dropbear_wire::v1::{self, request_outcome::Outcome, submit_request::What};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};
use tonic::{Code, Status};

use super::{Coordinators, timed};
use crate::quorum::{Gathering, OwnLeaves, ProvenRecord, Quorum, own_leaves, proven_record};
use crate::settle::Work;

/// How long a quorum waits for the coordinator that was asked for the leaves, before others are.
const LEAVES_PATIENCE: Duration = Duration::from_millis(200);
const BACKOFF: Duration = Duration::from_millis(200);

/// How a submission ended.
#[derive(Debug)]
pub(crate) enum Settled {
    /// In a block that a quorum attests; one fate per request, and the entry's own leaves where they were wanted.
    Attested(Quorum, Vec<Fate>, Option<OwnLeaves>),
    /// As a whole, by at least one honest coordinator.
    Refused { code: String, message: String },
}

/// How one request of a submission ended.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// In this record.
    Recorded(Box<ProvenRecord>),
    /// Not recorded, as at least one honest coordinator says.
    Refused { code: String, message: String },
}

type Reply = (usize, Result<v1::SubmitReply, Status>);

struct Submitting<'a> {
    of: &'a Coordinators,
    entry: Bytes,
    digest: Digest,
    ids: &'a [Digest],
    own: Option<&'a Entry>,
    patience_ms: u64,
    deadline: Instant,
    calls: JoinSet<Reply>,
    has_entry: Vec<bool>,
    asked_leaves: Vec<bool>,
    has_replied: Vec<bool>,
    gathering: Gathering<'a>,
    /// What each coordinator says of each request.
    outcomes: BTreeMap<usize, Vec<v1::RequestOutcome>>,
    refusals: BTreeMap<usize, v1::Refusal>,
    leaves: BTreeMap<Digest, (Digest, ProvenRecord)>,
    /// By header.
    own_leaves: BTreeMap<Digest, OwnLeaves>,
    problems: Vec<String>,
}

impl Coordinators {
    /// Submits and waits until it is settled.
    ///
    /// # Errors
    /// What went wrong, if nothing was settled before the deadline.
    pub(crate) async fn submit(&self, work: &Work) -> Result<Settled, Vec<String>> {
        let count = self.members.len();
        let submitting = Submitting {
            of: self,
            digest: entry_digest(&work.entry),
            entry: work.entry.clone().into(),
            ids: &work.ids,
            own: work.own.as_ref(),
            patience_ms: u64::try_from(work.patience.as_millis()).unwrap_or(u64::MAX),
            deadline: work.deadline,
            calls: JoinSet::new(),
            has_entry: vec![false; count],
            asked_leaves: vec![false; count],
            has_replied: vec![false; count],
            gathering: Gathering::new(&self.market.trust),
            outcomes: BTreeMap::new(),
            refusals: BTreeMap::new(),
            leaves: BTreeMap::new(),
            own_leaves: BTreeMap::new(),
            problems: Vec::new(),
        };
        submitting.run().await
    }
}

impl Submitting<'_> {
    async fn run(mut self) -> Result<Settled, Vec<String>> {
        let faults = self.of.market.committee().faults();
        for (rank, place) in self.of.order().into_iter().enumerate() {
            self.call(place, rank <= faults, rank == 0, Duration::ZERO);
        }
        let mut hedge = Some(Instant::now() + self.of.resubmit_after);
        let mut leaves_due = None;
        loop {
            if let Some(settled) = self.settled() {
                return Ok(settled);
            }
            if self.gathering.quorum().is_some() {
                hedge = None;
                let due = *leaves_due.get_or_insert_with(|| Instant::now() + LEAVES_PATIENCE);
                if self.calls.is_empty() || Instant::now() >= due {
                    self.ask_for_leaves();
                    leaves_due = None;
                }
            }
            if self.calls.is_empty() {
                self.again();
            }
            let wake = [hedge, leaves_due, Some(self.deadline)].into_iter().flatten().min();
            tokio::select! {
                Some(reply) = self.calls.join_next() => {
                    let Ok((place, reply)) = reply else { continue };
                    if !self.take(place, reply) {
                        hedge = None;
                        self.escalate(place);
                    }
                }
                () = sleep_until(wake.unwrap_or(self.deadline)) => {
                    if Instant::now() >= self.deadline {
                        return Err(self.problems);
                    }
                    if hedge.is_some_and(|hedge| Instant::now() >= hedge) {
                        hedge = None;
                        self.escalate_all();
                    }
                }
            }
        }
    }

    fn call(&mut self, place: usize, entry: bool, want_leaves: bool, delay: Duration) {
        let what = if entry { What::Entry(self.entry.clone()) } else { What::Digest(digest_bytes(&self.digest)) };
        self.has_entry[place] |= entry;
        self.asked_leaves[place] |= want_leaves;
        let (mut client, deadline, patience_ms) = (self.of.client(place), self.deadline, self.patience_ms);
        self.calls.spawn(async move {
            sleep_until(Instant::now() + delay).await;
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let request = v1::SubmitRequest { what: Some(what), timeout_ms, want_leaves, patience_ms };
            (place, client.submit(timed(request, deadline)).await.map(tonic::Response::into_inner))
        });
    }

    /// A coordinator is of no use now: another one gets the entry, and it is asked again later.
    fn escalate(&mut self, failed: usize) {
        let next = self.of.order().into_iter().find(|place| !self.has_entry[*place] && *place != failed);
        if let Some(place) = next {
            self.call(place, true, true, Duration::ZERO);
        }
        self.call(failed, true, true, BACKOFF);
    }

    /// Nothing came of it for too long: everybody gets the entry.
    fn escalate_all(&mut self) {
        for place in 0..self.has_entry.len() {
            if !self.has_entry[place] {
                self.call(place, true, true, Duration::ZERO);
            }
        }
    }

    /// Everybody answered, and it settles nothing: some lag behind others.
    fn again(&mut self) {
        self.refusals.clear();
        for place in 0..self.has_entry.len() {
            self.call(place, true, true, BACKOFF);
        }
    }

    /// Somebody else is asked for the leaves, and before those that kept silent next time, too.
    fn ask_for_leaves(&mut self) {
        for place in (0..self.asked_leaves.len()).filter(|place| self.asked_leaves[*place] && !self.has_replied[*place])
        {
            self.of.miss(place);
        }
        if self.asked_leaves.iter().all(|asked| *asked) {
            self.asked_leaves.fill(false);
        }
        let next = self.of.order().into_iter().find(|place| !self.asked_leaves[*place]);
        if let Some(place) = next {
            self.call(place, true, true, Duration::ZERO);
        }
    }

    /// Takes a reply in; false if it is of no use.
    fn take(&mut self, place: usize, reply: Result<v1::SubmitReply, Status>) -> bool {
        self.has_replied[place] = true;
        let problem = self.of.note(place, reply.as_ref().err());
        let reply = match reply {
            Ok(reply) => reply,
            // An entry that can never be valid: asking others helps as little as asking again.
            Err(status) if status.code() == Code::InvalidArgument => {
                let (code, message) = ("invalid".into(), status.message().into());
                self.refusals.insert(place, v1::Refusal { code, message, ..Default::default() });
                return true;
            }
            Err(_) => {
                self.problem(problem);
                return false;
            }
        };
        if let Some(refusal) = reply.refusal {
            let transient = matches!(refusal.code.as_str(), "pool-full" | "timeout" | "block-full");
            if transient {
                self.problem(Some(format!("coordinator {}: {}", self.of.members[place].name, refusal.message)));
            } else {
                self.refusals.insert(place, refusal);
            }
            return !transient;
        }
        let Some(attested) = &reply.attested else {
            self.problem(Some(format!("coordinator {} sent an empty reply", self.of.members[place].name)));
            return false;
        };
        match self.gathering.take(place, attested) {
            Ok(header) => {
                self.take_leaves(place, &header, &reply.leaves);
                if reply.outcomes.len() == self.ids.len() {
                    self.outcomes.insert(place, reply.outcomes);
                }
                true
            }
            Err(fault) => {
                let problem = self.of.blame(place, &fault);
                self.problem(Some(problem));
                // What it attests is worth nothing, but the entry may have reached it.
                true
            }
        }
    }

    fn take_leaves(&mut self, place: usize, header: &Header, leaves: &[v1::Leaf]) {
        let name = Digest::of(&header.to_bytes());
        match self.own.map(|entry| own_leaves(entry, leaves, header)) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(own))) => drop(self.own_leaves.insert(name, own)),
            Some(Err(fault)) => {
                let problem = self.of.blame(place, &fault);
                return self.problem(Some(problem));
            }
        }
        for leaf in leaves.iter().take(self.ids.len()) {
            match proven_record(leaf, header) {
                Ok(proven) => {
                    self.leaves.insert(proven.record.request, (name, proven));
                }
                Err(fault) => {
                    let problem = self.of.blame(place, &fault);
                    self.problem(Some(problem));
                    return;
                }
            }
        }
    }

    fn problem(&mut self, problem: Option<String>) {
        const PROBLEMS_MAX: usize = 16;
        let room = self.problems.len() < PROBLEMS_MAX;
        self.problems.extend(problem.filter(|problem| room && !self.problems.contains(problem)));
    }

    fn settled(&self) -> Option<Settled> {
        if let Some(quorum) = self.gathering.quorum() {
            let name = Digest::of(&quorum.header.to_bytes());
            let fates = (0..self.ids.len()).map(|item| self.fate(item, &name)).collect::<Option<_>>()?;
            let own = match self.own {
                Some(_) => Some(self.own_leaves.get(&name)?.clone()),
                None => None,
            };
            return Some(Settled::Attested(quorum, fates, own));
        }
        let agreed = self.agreed(self.refusals.values(), |one, other| one.code == other.code)?;
        Some(Settled::Refused { code: agreed.code.clone(), message: agreed.message.clone() })
    }

    fn fate(&self, item: usize, header: &Digest) -> Option<Fate> {
        if let Some((_, proven)) = self.leaves.get(&self.ids[item]).filter(|(of, _)| of == header) {
            return Some(Fate::Recorded(Box::new(proven.clone())));
        }
        let said = self.outcomes.values().filter_map(|outcomes| match &outcomes[item].outcome {
            Some(Outcome::Refusal(refusal)) => Some(refusal),
            _ => None,
        });
        let agreed = self.agreed(said, |one, other| one.code == other.code)?;
        Some(Fate::Refused { code: agreed.code.clone(), message: agreed.message.clone() })
    }

    /// What f + 1 coordinators say alike: at least one of them is honest.
    fn agreed<'b, T: 'b>(&self, said: impl Iterator<Item = &'b T>, alike: impl Fn(&T, &T) -> bool) -> Option<&'b T> {
        let needed = self.of.market.committee().faults() + 1;
        let said: Vec<_> = said.collect();
        let agreed = said.iter().find(|one| said.iter().filter(|other| alike(one, other)).count() >= needed);
        agreed.copied()
    }
}
