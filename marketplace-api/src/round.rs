//! A round: one request batch from fan-out to answers. IO around the [`Collector`](crate::collect::Collector), which
//! decides.

use std::sync::Arc;

use dropbear_certificates::Vote;
use dropbear_wire::convert::GroupView;
use dropbear_wire::follow::LedgerView;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use crate::ask::{Answer, Failure};
use crate::collect::Due;
use crate::finding::Standing;
use crate::lane::{Item, Lane, Slot};
use crate::late::{self, Leftover};
use crate::metrics;
use crate::settle::Settlement;
use crate::trusted::Trusted;

mod asking;
mod settling;

pub(crate) use asking::Asking;

/// Runs one round to its end: every item is answered.
pub(crate) async fn run(lane: Arc<Lane>, mut items: Vec<Item>, slot: Slot) {
    let (mut view, trusted) = (lane.view(), lane.market.trust_changes());
    let first_deadline = items.iter().map(|item| item.deadline).min().unwrap_or_else(Instant::now);
    let Some((group, seq)) = lane.standing(&mut view, first_deadline).await else {
        let failure = Failure::Unavailable("the gateway does not follow the ledger yet; try again in a second".into());
        items.iter_mut().for_each(|item| item.fail(failure.clone()));
        return;
    };
    let begun = Instant::now();
    items.iter().for_each(|item| lane.metrics.stages.took(metrics::QUEUE, begun - item.admitted));
    let asking = Asking::begin(Arc::clone(&lane), group, seq, &items);
    let (settling, unattested) = (JoinSet::new(), Vec::new());
    let round =
        Round { lane, begun, view, trusted, items, asking, settling, unattested, submitted: None, slot: Some(slot) };
    round.run().await;
}

struct Round {
    lane: Arc<Lane>,
    begun: Instant,
    view: watch::Receiver<LedgerView>,
    trusted: watch::Receiver<Arc<Trusted>>,
    items: Vec<Item>,
    asking: Asking,
    /// At most one submission at a time.
    settling: JoinSet<Vec<Settlement>>,
    unattested: Vec<String>,
    /// Whose ballots were submitted last, by place, unless the ledger wanted more.
    submitted: Option<Vec<usize>>,
    /// Held until the first submission: while the committee orders, owners work on other batches.
    slot: Option<Slot>,
}

impl Round {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.let_go(now);
            self.asking.widen(now);
            let due = self.due(now);
            if due == Due::Now {
                self.settle();
                self.slot = None;
                continue;
            }
            let next_deadline = self.asking.collector.open().map(|item| self.items[item].deadline).min();
            let Some(mut wake) = next_deadline else { break };
            if let Due::At(at) = due {
                wake = wake.min(Instant::from_std(at));
            }
            if let Some(at) = self.asking.hedge_at() {
                wake = wake.min(at);
            }
            tokio::select! {
                Some(answer) = self.asking.answer() => self.asking.take(answer, self.submitted.is_none()),
                Ok(()) = self.view.changed() => self.follow(),
                Ok(()) = self.trusted.changed() => self.follow(),
                Some(settled) = self.settling.join_next() => self.settled(settled.unwrap_or_default()),
                () = sleep_until(wake) => {}
            }
        }
        self.leave();
    }

    /// Everybody has their answer; owners that were asked may still give theirs.
    fn leave(self) {
        let requests = self.items.iter().map(settling::submitted).collect();
        late::await_ballots(self.lane, Leftover { asking: self.asking, requests, counted: self.submitted });
    }

    fn due(&mut self, now: Instant) -> Due {
        if !self.settling.is_empty() {
            return Due::OnChange;
        }
        let limits = &self.lane.limits;
        let patience = Duration::from_millis(limits.straggler_wait_ms);
        let all = limits.await_all_ballots || self.asking.is_doubtful();
        self.asking.collector.due(now.into_std(), patience, all)
    }

    /// The ledger went on, or a charter was proven.
    fn follow(&mut self) {
        let (group, seq) = {
            let view = self.view.borrow_and_update();
            (self.lane.group_view(&view), view.seq)
        };
        match group {
            Some(group) if group.digest == self.asking.collector.charter() => self.asking.follow(group, seq),
            // What was submitted is decided under the charter of its place in the order; the rest begins anew.
            Some(group) if self.settling.is_empty() => self.begin_anew(group, seq),
            _ => {}
        }
    }

    /// Asks again under a new charter for whatever is open: request ids do not name the charter, ballots do.
    fn begin_anew(&mut self, group: Arc<GroupView>, seq: u64) {
        if self.asking.collector.open().next().is_none() {
            return;
        }
        tracing::info!(group = self.lane.group, charter = %group.digest, "a round goes on under a new charter");
        let mut places = 0..;
        let asking = &self.asking;
        self.items.retain(|_| places.next().is_some_and(|place| asking.is_open(place)));
        self.submitted = None;
        self.asking = Asking::begin(Arc::clone(&self.lane), group, seq, &self.items);
    }

    /// Lets go of requests whose deadline has come or whose client has left.
    fn let_go(&mut self, now: Instant) {
        for item in self.asking.collector.open().collect::<Vec<_>>() {
            if self.items[item].deadline <= now {
                let failure = self.out_of_time(item);
                self.items[item].fail(failure);
            }
            if self.items[item].is_abandoned() {
                self.asking.collector.close(item);
            }
        }
    }

    fn out_of_time(&mut self, item: usize) -> Failure {
        let finding = self.asking.collector.finding(item).clone();
        if finding.standing != Standing::Insufficient && self.submitted.is_some() {
            return Failure::Unattested(self.unattested.clone());
        }
        let problems = self.asking.problems(&finding.missing);
        Failure::Insufficient(Box::new(finding), problems)
    }

    fn answer(&mut self, item: usize, answered: Result<Answer, Failure>) {
        match answered {
            Ok(mut answer) => {
                if let Some(Vote::Output(digest)) = answer.finding.result() {
                    answer.output = self.asking.output(item, digest, &self.items[item].minted.input);
                }
                self.items[item].answer(Ok(answer));
            }
            Err(failure) => self.items[item].fail(failure),
        }
        self.asking.collector.close(item);
    }
}
