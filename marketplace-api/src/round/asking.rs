//! Asking the owners of one charter about one request batch: at first as many as the demanded assurance needs, then the
//! rest as soon as those do not decide.

use std::sync::Arc;

use bytes::Bytes;
use dropbear_certificates::{Digest, PublicKey};
use dropbear_wire::convert::{GroupView, digest_bytes};
use dropbear_wire::v1;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::collect::{Collector, Taken, Wanted};
use crate::directory::Owners;
use crate::evidence;
use crate::experience::Plan;
use crate::lane::{Item, Lane};
use crate::needed::ballots_needed;
use crate::nodes::{NodeProblem, Reply};
use crate::schema::{Gives, Task};

/// An owner that failed is asked again after this long, doubling.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(50);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// What an owner's nodes said.
pub(crate) type Answered = (usize, Result<Reply, NodeProblem>);

/// How asking one owner goes.
#[derive(Clone, Debug, Default)]
struct Asked {
    running: bool,
    /// When it was asked first.
    since: Option<Instant>,
    failures: u32,
    problem: Option<String>,
}

/// One batch before the owners of one charter.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) collector: Collector,
    pub(super) deadline: Instant,
    lane: Arc<Lane>,
    group: Arc<GroupView>,
    owners: Arc<Owners>,
    call: v1::InferRequest,
    /// Of the inputs.
    pub(crate) bytes: usize,
    began: Instant,
    plan: Plan,
    /// How many of the plan's order were asked.
    asked: usize,
    needed: usize,
    asks: JoinSet<Answered>,
    standing: Vec<Asked>,
    /// Per request, the outputs that owners sent, by digest.
    outputs: Vec<Vec<(Digest, Bytes)>>,
    exact_echo: bool,
}

impl Asking {
    /// Asks the first owners; the ledger stands at `seq`.
    pub(super) fn begin(lane: Arc<Lane>, group: Arc<GroupView>, seq: u64, items: &[Item]) -> Self {
        let wanted = |item: &Item| Wanted {
            id: item.minted.naming.request_id,
            vote_salt: item.minted.vote_salt,
            demand: item.minted.request.demand,
        };
        let wanted: Vec<_> = items.iter().map(wanted).collect();
        let strongest = wanted.iter().map(|wanted| wanted.demand).max().unwrap_or(group.charter.assurance);
        let needed = ballots_needed(&group.charter, strongest);
        let collector = Collector::new(lane.market.trust.digest(), Arc::clone(&group), seq, wanted);
        let owners = lane.owners(&group);
        let roster: Vec<_> = group.charter.roster.iter().map(|seat| seat.key).collect();
        let able = |place: usize| owners.of(place).is_some() && group.current(place, seq + 1).is_some();
        let able: Vec<_> = (0..roster.len()).map(able).collect();
        let plan = lane.experience().plan(&roster, &able, needed, lane.limits.await_all_ballots);
        let task = Task::of(&group.charter).ok();
        let mut asking = Self {
            collector,
            deadline: items.iter().map(|item| item.deadline).max().unwrap_or_else(Instant::now),
            call: infer_request(&lane, &group.digest, items, task.is_some_and(Task::wants_outputs)),
            bytes: items.iter().map(|item| item.minted.input.data.len()).sum(),
            lane,
            owners,
            began: Instant::now(),
            asked: 0,
            needed,
            asks: JoinSet::new(),
            standing: vec![Asked::default(); roster.len()],
            outputs: vec![Vec::new(); items.len()],
            exact_echo: task.is_some_and(|task| task.gives == Gives::Echo { exact: true }),
            group,
            plan,
        };
        (0..asking.plan.first).for_each(|_| asking.ask_next());
        asking
    }

    /// Asks the next owner that was not asked yet.
    fn ask_next(&mut self) {
        if let Some(place) = self.plan.order.get(self.asked).copied() {
            self.asked += 1;
            self.ask(place, Duration::ZERO);
        }
    }

    /// Asks every owner that was not asked yet.
    pub(super) fn ask_rest(&mut self) {
        while self.asked < self.plan.order.len() {
            self.ask_next();
        }
    }

    /// Asks the rest if whoever was asked does not decide, or takes too long.
    pub(super) fn widen(&mut self, now: Instant) {
        let waits = self.standing.iter().any(|asked| asked.running);
        if self.asked < self.plan.order.len()
            && (!waits || now >= self.began + self.plan.hedge_after)
            && !self.collector.is_all_decided()
        {
            self.ask_rest();
        }
    }

    /// When those who were not asked yet are asked whatever happens.
    pub(super) fn hedge_at(&mut self) -> Option<Instant> {
        let is_open = self.asked < self.plan.order.len() && !self.collector.is_all_decided();
        is_open.then(|| self.began + self.plan.hedge_after)
    }

    /// Asks an owner, unless it is being asked.
    fn ask(&mut self, place: usize, delay: Duration) {
        let Some(owner) = self.owners.of(place) else {
            self.standing[place].problem = Some("this gateway knows no model node of it".into());
            return self.collector.give_up(place);
        };
        let asked = &mut self.standing[place];
        if asked.running || !self.collector.awaits(place) {
            return;
        }
        asked.running = true;
        asked.since.get_or_insert_with(Instant::now);
        let (owner, call, deadline) = (Arc::clone(owner), self.call.clone(), self.deadline);
        self.asks.spawn(async move {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            (place, owner.infer(call, deadline).await)
        });
    }

    fn ask_again(&mut self, place: usize) {
        let asked = &mut self.standing[place];
        asked.failures += 1;
        let delay = ASK_AGAIN_MIN.saturating_mul(1 << asked.failures.min(8).saturating_sub(1)).min(ASK_AGAIN_MAX);
        self.ask(place, delay);
    }

    /// The next answer; `None` while nobody is asked.
    pub(crate) async fn answer(&mut self) -> Option<Answered> {
        loop {
            if let Ok(answered) = self.asks.join_next().await? {
                return Some(answered);
            }
        }
    }

    /// Takes an owner's answer in, before or after the outcome; whoever gave no ballot that counts is replaced.
    pub(super) fn take(&mut self, answered: Answered, in_time: bool) {
        let place = answered.0;
        if self.note(answered, in_time) {
            return;
        }
        let decided = self.collector.is_all_decided();
        if !decided {
            self.ask_next();
        }
        if self.collector.awaits(place) && (!decided || self.lane.limits.await_all_ballots) {
            self.ask_again(place);
        }
    }

    /// Takes an owner's answer in; whether its ballot counts.
    pub(crate) fn note(&mut self, (place, answer): Answered, in_time: bool) -> bool {
        self.standing[place].running = false;
        let (counts, result, problem) = match answer {
            Ok(reply) => self.ballot(place, reply),
            Err(problem @ NodeProblem::Unavailable(_)) => (false, "unavailable", Some(problem.to_string())),
            Err(problem) => {
                tracing::warn!(owner = self.owner(place), group = self.lane.group, %problem, "an owner gave no ballot");
                self.collector.give_up(place);
                (false, "refused", Some(problem.to_string()))
            }
        };
        self.standing[place].problem = problem;
        if counts {
            let after = self.standing[place].since.map(|since| since.elapsed()).unwrap_or_default();
            self.lane.experience().answered(self.key(place), after);
            self.lane.metrics.answered(&self.lane.group, self.owner(place), after, in_time);
        } else {
            self.lane.experience().failed(self.key(place));
            self.lane.metrics.ballot(&self.lane.group, self.owner(place), result);
        }
        counts
    }

    fn ballot(&mut self, place: usize, reply: Reply) -> (bool, &'static str, Option<String>) {
        match self.collector.ballot(place, reply.ballot) {
            Ok(Taken::Counted) => {
                self.keep(reply.outputs);
                (true, "counted", None)
            }
            Ok(Taken::Held) => (false, "stale", Some("answered under a version that is not current".into())),
            Err(fault) => {
                for found in self.collector.equivocations() {
                    evidence::report(&self.lane, self.collector.wanted(), &found);
                }
                tracing::warn!(owner = self.owner(place), group = self.lane.group, %fault, "an owner is at fault");
                (false, "faulty", Some(fault.to_string()))
            }
        }
    }

    /// Keeps one copy of each output.
    fn keep(&mut self, outputs: Vec<Bytes>) {
        if !self.call.want_outputs || outputs.len() != self.outputs.len() {
            return;
        }
        for (known, output) in self.outputs.iter_mut().zip(outputs) {
            let digest = Digest::of(&output);
            if !output.is_empty() && known.iter().all(|(other, _)| *other != digest) {
                known.push((digest, output));
            }
        }
    }

    /// What the agreed digest digests, if it is at hand.
    pub(super) fn output(&self, item: usize, digest: &Digest, input: &v1::Tensor) -> Option<Bytes> {
        if self.exact_echo {
            return Some(&input.data).filter(|data| Digest::of(data) == *digest).cloned();
        }
        self.outputs[item].iter().find(|(known, _)| known == digest).map(|(_, output)| output.clone())
    }

    /// The ledger went on, under the same charter.
    pub(super) fn follow(&mut self, group: Arc<GroupView>, seq: u64) {
        self.group = Arc::clone(&group);
        for place in self.collector.follow(group, seq) {
            self.lane.experience().lasted(self.key(place), false);
            self.ask(place, Duration::ZERO);
        }
    }

    /// The first requests are settled: learns whether the ballots that were needed at least sufficed.
    pub(super) fn learn(&mut self) {
        let sufficed = self.collector.is_all_decided() && self.collector.counted().count() <= self.needed;
        let mut experience = self.lane.experience();
        experience.ended(sufficed);
        self.collector.counted().for_each(|(place, _)| experience.lasted(self.key(place), true));
    }

    /// Whether a ballot counts that may well be stale before the outcome: others are worth a moment.
    pub(super) fn is_doubtful(&self) -> bool {
        let experience = self.lane.experience();
        self.collector.counted().any(|(place, _)| experience.is_restless(&self.key(place)))
    }

    /// What keeps these owners from counting, in words.
    pub(super) fn problems(&self, missing: &[usize]) -> Vec<String> {
        let named = |(place, asked): (usize, &Asked)| {
            let slow = asked.running.then(|| "no answer yet".to_owned());
            let problem = asked.problem.clone().or(slow).filter(|_| missing.contains(&place))?;
            Some(format!("{}: {problem}", self.owner(place)))
        };
        self.standing.iter().enumerate().filter_map(named).collect()
    }

    /// The requests that are open, and thereby those that a new charter must decide.
    pub(super) fn is_open(&self, item: usize) -> bool {
        self.collector.open().any(|open| open == item)
    }

    /// Whether an owner is still being asked.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Nobody waits any more; owners that are still being asked are known to take this long at least.
    pub(crate) fn give_up_waiting(&mut self) {
        self.asks.abort_all();
        for (place, asked) in self.standing.iter().enumerate().filter(|(_, asked)| asked.running) {
            self.lane.metrics.ballot(&self.lane.group, self.owner(place), "never");
            if let Some(since) = asked.since {
                self.lane.experience().waits(self.key(place), since.elapsed());
            }
        }
    }

    /// Nobody else will be asked: the inputs are needed no more.
    pub(crate) fn forget_inputs(&mut self) {
        (self.asked, self.call) = (self.plan.order.len(), v1::InferRequest::default());
        for (place, asked) in self.standing.iter().enumerate().filter(|(_, asked)| asked.running) {
            if let Some(since) = asked.since {
                self.lane.experience().waits(self.key(place), since.elapsed());
            }
        }
    }

    fn owner(&self, place: usize) -> &str {
        self.group.charter.roster.get(place).map_or("?", |seat| seat.owner.as_str())
    }

    fn key(&self, place: usize) -> PublicKey {
        self.group.charter.roster[place].key
    }
}

fn infer_request(lane: &Lane, charter: &Digest, items: &[Item], want_outputs: bool) -> v1::InferRequest {
    let item = |item: &Item| v1::InferItem {
        request: item.minted.request.statement().into(),
        signature: item.minted.signature.map(|signature| signature.to_vec().into()).unwrap_or_default(),
        seed: item.minted.naming.seed.0.to_vec().into(),
        input: Some(item.minted.input.clone()),
    };
    v1::InferRequest {
        group: lane.group.clone(),
        charter: digest_bytes(charter),
        items: items.iter().map(item).collect(),
        want_outputs,
    }
}
