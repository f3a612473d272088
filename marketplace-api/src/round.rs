//! A round: one request batch from fan-out to answers. IO around the [`Collector`], which decides.

use std::sync::Arc;

use dropbear_certificates::Ballot;
use dropbear_consensus::{Entry, Submission, SubmittedRequest};
use dropbear_wire::convert::digest_bytes;
use dropbear_wire::follow::LedgerView;
use dropbear_wire::v1;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use crate::ask::{Answer, Failure};
use crate::collect::{Collector, Due, Taken, Wanted};
use crate::finding::Standing;
use crate::lane::{Item, Lane};
use crate::metrics;
use crate::nodes::NodeProblem;
use crate::pressure::patience;
use crate::settle::{self, Claim, Settlement, Work};

/// An owner that failed is asked again after this long, doubling.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(50);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(1);

/// Runs one round to its end: every item is answered.
pub(crate) async fn run(lane: Arc<Lane>, mut items: Vec<Item>) {
    let mut view = lane.view();
    let begun = {
        let view = view.borrow_and_update();
        lane.group_view(&view).map(|group| (group, view.seq))
    };
    let Some((group, seq)) = begun else {
        let failure = Failure::Unavailable("the gateway does not follow the ledger yet; try again in a second".into());
        items.iter_mut().for_each(|item| item.fail(failure.clone()));
        return;
    };
    let begun = Instant::now();
    items.iter().for_each(|item| lane.metrics.stages.took(metrics::QUEUE, begun - item.admitted));
    let wanted = items.iter().map(|item| Wanted {
        id: item.minted.naming.request_id,
        vote_salt: item.minted.vote_salt,
        demand: item.minted.request.demand,
    });
    let collector = Collector::new(lane.market.trust.digest(), Arc::clone(&group), seq, wanted.collect());
    let owners = group.charter.roster.len();
    let round = Round {
        call: infer_request(&lane, &group.digest, &items),
        deadline: items.iter().map(|item| item.deadline).max().unwrap_or_else(Instant::now),
        lane,
        begun,
        view,
        items,
        collector,
        asks: JoinSet::new(),
        owners: vec![Asked::default(); owners],
        settling: JoinSet::new(),
        unattested: Vec::new(),
        submitted: false,
    };
    round.run().await;
}

fn infer_request(lane: &Lane, charter: &dropbear_certificates::Digest, items: &[Item]) -> v1::InferRequest {
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
        want_outputs: false,
    }
}

/// How asking one owner goes.
#[derive(Clone, Debug, Default)]
struct Asked {
    running: bool,
    /// When it was asked first.
    since: Option<Instant>,
    failures: u32,
    problem: Option<String>,
}

struct Round {
    lane: Arc<Lane>,
    begun: Instant,
    view: watch::Receiver<LedgerView>,
    items: Vec<Item>,
    call: v1::InferRequest,
    deadline: Instant,
    collector: Collector,
    asks: JoinSet<(usize, Result<Ballot, NodeProblem>)>,
    owners: Vec<Asked>,
    /// At most one submission at a time.
    settling: JoinSet<Vec<Settlement>>,
    unattested: Vec<String>,
    /// Whether the decided requests were submitted and nothing was heard yet.
    submitted: bool,
}

impl Round {
    async fn run(mut self) {
        for place in 0..self.owners.len() {
            self.ask(place, Duration::ZERO);
        }
        loop {
            let now = Instant::now();
            self.let_go(now);
            let due = self.due(now);
            if due == Due::Now {
                self.settle();
                continue;
            }
            let next_deadline = self.collector.open().map(|item| self.items[item].deadline).min();
            let Some(mut wake) = next_deadline else { return };
            if let Due::At(at) = due {
                wake = wake.min(Instant::from_std(at));
            }
            tokio::select! {
                Some(Ok((place, answer))) = self.asks.join_next() => self.take(place, answer),
                Ok(()) = self.view.changed() => self.follow(),
                Some(settled) = self.settling.join_next() => self.settled(settled.unwrap_or_default()),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn due(&mut self, now: Instant) -> Due {
        if !self.settling.is_empty() {
            return Due::OnChange;
        }
        let limits = &self.lane.limits;
        let patience = Duration::from_millis(limits.straggler_wait_ms);
        self.collector.due(now.into_std(), patience, limits.await_all_ballots)
    }

    /// Asks an owner, unless it is being asked.
    fn ask(&mut self, place: usize, delay: Duration) {
        if self.lane.owners[place].is_none() {
            self.owners[place].problem = Some("this gateway knows no model node of it".into());
            self.collector.give_up(place);
        }
        if self.owners[place].running || !self.collector.awaits(place) {
            return;
        }
        self.owners[place].running = true;
        self.owners[place].since.get_or_insert_with(Instant::now);
        let (lane, call, deadline) = (Arc::clone(&self.lane), self.call.clone(), self.deadline);
        self.asks.spawn(async move {
            sleep(delay).await;
            let answer = match &lane.owners[place] {
                Some(owner) => owner.infer(call, deadline).await,
                None => Err(NodeProblem::Unavailable("no model node is configured".into())),
            };
            (place, answer)
        });
    }

    fn ask_again(&mut self, place: usize) {
        let asked = &mut self.owners[place];
        asked.failures += 1;
        let delay = ASK_AGAIN_MIN.saturating_mul(1 << asked.failures.min(8).saturating_sub(1)).min(ASK_AGAIN_MAX);
        self.ask(place, delay);
    }

    /// Takes an owner's answer in.
    fn take(&mut self, place: usize, answer: Result<Ballot, NodeProblem>) {
        self.owners[place].running = false;
        let problem = match answer {
            Ok(ballot) => match self.collector.ballot(place, ballot) {
                Ok(Taken::Counted) => {
                    self.owners[place].problem = None;
                    let after = self.owners[place].since.map(|since| since.elapsed()).unwrap_or_default();
                    return self.lane.metrics.counted(&self.lane.group, self.owner(place), after);
                }
                Ok(Taken::Held) => {
                    self.note(place, "stale");
                    self.owners[place].problem = Some("answered under a version that is not current".into());
                    return self.ask_again(place);
                }
                Err(fault) => {
                    self.note(place, "faulty");
                    tracing::warn!(owner = self.owner(place), group = self.lane.group, %fault, "an owner is at fault");
                    fault.to_string()
                }
            },
            Err(problem @ NodeProblem::Unavailable(_)) => {
                self.note(place, "unavailable");
                self.owners[place].problem = Some(problem.to_string());
                return self.ask_again(place);
            }
            Err(problem) => {
                self.note(place, "refused");
                tracing::warn!(owner = self.owner(place), group = self.lane.group, %problem, "an owner gave no ballot");
                problem.to_string()
            }
        };
        self.owners[place].problem = Some(problem);
        self.collector.give_up(place);
    }

    fn note(&self, place: usize, result: &'static str) {
        self.lane.metrics.ballot(&self.lane.group, self.owner(place), result);
    }

    fn owner(&self, place: usize) -> &str {
        let roster = self.lane.charter().map(|charter| charter.roster.as_slice());
        roster.and_then(|roster| roster.get(place)).map_or("?", |seat| seat.owner.as_str())
    }

    /// The ledger went on.
    fn follow(&mut self) {
        let (group, seq) = {
            let view = self.view.borrow_and_update();
            (self.lane.group_view(&view), view.seq)
        };
        match group {
            Some(group) if group.digest == self.collector.charter() => {
                for place in self.collector.follow(group, seq) {
                    self.ask(place, Duration::ZERO);
                }
            }
            // No view at the moment, or a new charter: what was collected stands until the ledger refuses it.
            _ => {}
        }
    }

    /// Lets go of requests whose deadline has come or whose client has left.
    fn let_go(&mut self, now: Instant) {
        for item in self.collector.open().collect::<Vec<_>>() {
            if self.items[item].deadline <= now {
                let failure = self.out_of_time(item);
                self.items[item].fail(failure);
            }
            if self.items[item].is_abandoned() {
                self.collector.close(item);
            }
        }
    }

    fn out_of_time(&self, item: usize) -> Failure {
        let finding = self.collector.finding(item);
        if finding.standing != Standing::Insufficient && self.submitted {
            return Failure::Unattested(self.unattested.clone());
        }
        let named = |(place, asked): (usize, &Asked)| {
            let slow = asked.running.then(|| "no answer yet".to_owned());
            let problem = asked.problem.clone().or(slow).filter(|_| finding.missing.contains(&place))?;
            Some(format!("{}: {problem}", self.owner(place)))
        };
        let problems = self.owners.iter().enumerate().filter_map(named).collect();
        Failure::Insufficient(Box::new(finding), problems)
    }

    fn answer(&mut self, item: usize, answered: Result<Answer, Failure>) {
        match answered {
            Ok(answer) => self.items[item].answer(Ok(answer)),
            Err(failure) => self.items[item].fail(failure),
        }
        self.collector.close(item);
    }

    /// Settles the open requests that are decided: directly, or through the ledger.
    fn settle(&mut self) {
        self.lane.metrics.stages.took(metrics::COLLECT, self.begun.elapsed());
        let mut claims = Vec::new();
        for item in self.collector.open().collect::<Vec<_>>() {
            let finding = self.collector.finding(item);
            if finding.standing == Standing::Insufficient {
                continue;
            }
            if finding.is_unreadable() {
                self.answer(item, Err(Failure::Unreadable(Box::new(finding))));
            } else if self.lane.certified {
                let known = finding.votes.iter().map(|(vote, _)| vote.clone()).collect();
                claims.push(Claim { item, minted: Arc::clone(&self.items[item].minted), known });
            } else {
                let naming = self.items[item].minted.naming;
                self.answer(item, Ok(Answer { naming, finding, certificate: None }));
            }
        }
        if self.lane.certified {
            if claims.is_empty() {
                self.collector.exhausted();
            } else {
                self.submit(claims);
            }
        }
    }

    fn submit(&mut self, claims: Vec<Claim>) {
        let submitted = |item: &Item| SubmittedRequest {
            request: item.minted.request.clone(),
            signature: item.minted.signature,
            vote_salt: item.minted.vote_salt,
        };
        let submission = Submission::sign(
            self.lane.market.trust.digest(),
            &self.lane.market.key,
            self.lane.group.clone(),
            self.collector.charter(),
            self.items.iter().map(submitted).collect(),
            self.collector.counted().cloned().collect(),
        );
        let entry = Entry::Submission(Box::new(submission)).to_bytes();
        let ids = self.items.iter().map(|item| item.minted.naming.request_id).collect();
        self.submitted = true;
        self.collector.exhausted();
        let oldest = self.items.iter().map(|item| item.admitted.elapsed()).max().unwrap_or_default();
        let patience = patience(oldest, self.lane.in_flight().saturating_sub(self.items.len()));
        let work = Work { entry, ids, patience, deadline: self.deadline };
        self.settling.spawn(settle::run(Arc::clone(&self.lane), work, claims));
    }

    /// Takes what became of a submission.
    fn settled(&mut self, settlements: Vec<Settlement>) {
        for settlement in settlements {
            match settlement {
                Settlement::Answered(item, answered) => self.answer(item, *answered),
                Settlement::Insufficient => self.submitted = false,
                Settlement::Nothing(problems) => self.unattested = problems,
            }
        }
    }
}
