//! The gateway's core, which every protocol shares: admission, groups, certificates by id.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dropbear_certificates::{Charter, Digest};
use dropbear_wire::convert::GroupView;
use dropbear_wire::follow::{Follower, LedgerView};
use dropbear_wire::registry::GroupState;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::ask::{Answered, Ask, Failure, Unanswered};
use crate::assemble;
use crate::config::{GatewayConfig, Limits};
use crate::coordinators::{Accounts, Coordinators, Reach, Settled};
use crate::directory::Directory;
use crate::governance;
use crate::lane::Item;
use crate::lanes::{Lanes, Makings};
use crate::market::Market;
use crate::metrics::Metrics;
use crate::mint::{Drawn, Minted, mint, times};
use crate::needed::ballots_needed;
use crate::picture::PictureRules;
use crate::pressure::Pressure;
use crate::schema::{self, Task};
use crate::settle::{self, Claim, Work};

/// A round answers at its deadline; the call waits this much longer for the answer to travel.
const ANSWER_GRACE: Duration = Duration::from_millis(500);
/// Owners' entries that are on their way to the ledger at once.
const ENTRIES_IN_FLIGHT_MAX: usize = 64;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Everything but listeners.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) market: Arc<Market>,
    pub(crate) limits: Arc<Limits>,
    coordinators: Arc<Coordinators>,
    reach: Reach,
    follower: Follower,
    directory: Arc<Directory>,
    lanes: Lanes,
    permits: Arc<Semaphore>,
    entry_permits: Semaphore,
    pressure: Mutex<Pressure>,
    draining: AtomicBool,
    metrics: Metrics,
}

impl Core {
    /// Starts follower and governance; must be called within a tokio runtime.
    pub(crate) fn start(config: &GatewayConfig, market: Market, metrics: Metrics) -> Self {
        let (market, limits) = (Arc::new(market), Arc::new(config.limits.clone()));
        let addresses: Vec<_> = config.coordinators.iter().map(|coordinator| coordinator.address).collect();
        let resubmit_after = Duration::from_millis(limits.resubmit_after_ms);
        let coordinators = Arc::new(Coordinators::new(Arc::clone(&market), &addresses, resubmit_after));
        let first = usize::from(market.public().as_bytes()[0]);
        let follower = Follower::start(addresses.clone(), first);
        tokio::spawn(governance::keep(Arc::clone(&market), addresses, follower.view()));
        let permits = Arc::new(Semaphore::new(limits.items_in_flight_max));
        let directory = Arc::new(Directory::new(config.groups.clone()));
        let makings = Makings {
            market: Arc::clone(&market),
            limits: Arc::clone(&limits),
            coordinators: Arc::clone(&coordinators),
            follower: follower.clone(),
            directory: Arc::clone(&directory),
            permits: Arc::clone(&permits),
            late_room: Arc::new(Semaphore::new(limits.late_bytes_max)),
            late_turns: Arc::new(Semaphore::new(limits.late_submissions_max)),
            reported: Arc::default(),
            metrics: metrics.clone(),
        };
        Self {
            reach: Reach::start(Arc::clone(&coordinators)),
            lanes: Lanes::new(makings),
            pressure: Mutex::default(),
            draining: AtomicBool::new(false),
            entry_permits: Semaphore::new(ENTRIES_IN_FLIGHT_MAX),
            market,
            limits,
            coordinators,
            follower,
            directory,
            permits,
            metrics,
        }
    }

    /// The charter of a group: the one in force in the next block or, until the ledger is followed, that of genesis.
    pub(crate) fn charter(&self, group: &str) -> Result<Arc<Charter>, Failure> {
        let view = self.follower.view();
        let view = view.borrow();
        if let Some(known) = view.groups.get(group) {
            return Ok(Arc::clone(&known.charter));
        }
        if let Some(begins) = view.registry.groups.get(group).and_then(|known| known.pending(view.seq)) {
            let seq = begins.from_seq;
            return Err(Failure::Unavailable(format!("the group's first charter takes effect at block {seq}")));
        }
        let charter = self.market.genesis().charters.iter().find(|charter| charter.group == group);
        let charter = charter.filter(|_| view.groups.is_empty());
        charter.cloned().map(Arc::new).ok_or_else(|| Failure::UnknownGroup(group.chars().take(64).collect()))
    }

    /// A place for an owner's entry on its way to the ledger.
    pub(crate) fn admit_entry(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.entry_permits.try_acquire().map_err(|_| Failure::Overloaded("entries in flight"))
    }

    /// Submits an entry that no lane made.
    pub(crate) async fn submit(&self, work: &Work) -> Result<Settled, Vec<String>> {
        self.coordinators.submit(work).await
    }

    /// What the owners of a group did.
    pub(crate) async fn accounts(&self, group: &str) -> Result<Accounts, Failure> {
        self.state(group)?;
        let accounts = self.coordinators.accounts(group, Instant::now() + LOOKUP_TIMEOUT).await;
        accounts.map_err(|problems| {
            Failure::Unavailable(format!("no coordinator tells the accounts ({}); try again", problems.join("; ")))
        })
    }

    /// A group with all that waits in it, as the ledger has it.
    pub(crate) fn state(&self, group: &str) -> Result<Arc<GroupState>, Failure> {
        let view = self.follower.view();
        let state = view.borrow().registry.groups.get(group).cloned();
        state.ok_or_else(|| Failure::UnknownGroup(group.chars().take(64).collect()))
    }

    /// The ledger as it is followed.
    pub(crate) fn ledger(&self) -> LedgerView {
        self.follower.view().borrow().clone()
    }

    /// Returns once the ledger is followed up to `seq`, or when that takes too long.
    pub(crate) async fn has_followed(&self, seq: u64, within: Duration) {
        self.follower.reached(seq);
        let mut view = self.follower.view();
        // Whoever gives up waiting reads what there is.
        let _ = timeout(within, view.wait_for(|view| view.seq >= seq)).await;
    }

    /// The ledger as it goes on.
    pub(crate) fn follow(&self) -> tokio::sync::watch::Receiver<LedgerView> {
        self.follower.view()
    }

    /// A group as the ledger has it, with the seq at which it is so.
    pub(crate) fn group(&self, group: &str) -> Option<(Arc<GroupView>, u64)> {
        let view = self.follower.view();
        let view = view.borrow();
        let known = view.groups.get(group).filter(|known| self.market.believes(known))?;
        Some((Arc::clone(known), view.seq))
    }

    /// Whether a group can reach the assurance that its charter demands, as far as this gateway knows.
    pub(crate) fn is_group_ready(&self, group: &str) -> bool {
        let Some((view, seq)) = self.group(group) else { return false };
        let known = self.directory.owners(&view);
        let reachable = |place: &usize| known.of(*place).is_some() && view.current(*place, seq + 1).is_some();
        let able = (0..view.charter.roster.len()).filter(reachable).count();
        able >= ballots_needed(&view.charter, view.charter.assurance)
    }

    /// Whether the gateway can serve: nothing is wrong with it.
    pub(crate) fn is_ready(&self) -> bool {
        self.problem().is_none()
    }

    /// Why the gateway cannot serve: it does not follow the ledger, reaches no quorum, has no group that is ready, or is
    /// stopping.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the gateway is stopping".into());
        }
        if !self.follower.view().borrow().connected {
            return Some("no coordinator tells how the ledger stands".into());
        }
        let (reached, needed) = (self.reach.count(), self.market.committee().quorum());
        if reached < needed {
            let of = self.market.committee().members.len();
            return Some(format!("{reached} of {of} coordinators answer, certificates need {needed}"));
        }
        if !self.ledger().groups.keys().any(|group| self.is_group_ready(group)) {
            return Some("no group has enough owners with a model in force".into());
        }
        None
    }

    /// Returns once the gateway is ready.
    pub(crate) async fn ready(&self) {
        let (mut view, mut reach, mut trusted) =
            (self.follower.view(), self.reach.changes(), self.market.trust_changes());
        while !self.is_ready() {
            let gone = tokio::select! {
                changed = view.changed() => changed.is_err(),
                changed = reach.changed() => changed.is_err(),
                changed = trusted.changed() => changed.is_err(),
            };
            if gone {
                return;
            }
        }
    }

    /// From now on the gateway is not ready: it finishes what it has.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers a call: one answer per item, in order.
    ///
    /// # Errors
    /// [`Failure`] if the call as a whole cannot be answered.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Vec<Answered>, Failure> {
        let (minted, timeout) = self.mint(&ask)?;
        if ask.options.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= now_ms()) {
            return Ok(self.first_answers(&ask, minted).await);
        }
        let in_flight = self.limits.items_in_flight_max - self.permits.available_permits();
        let (group, certified) = (ask.group, !ask.options.uncertified);
        if !self.pressure().admits(in_flight, minted.len(), timeout) {
            self.metrics.turned_away(&group, certified, minted.len());
            return Err(Failure::Overloaded("requests that it can answer in time"));
        }
        let (asked, before) = (Instant::now(), in_flight);
        let deadline = Instant::now() + timeout;
        let mut namings = Vec::with_capacity(minted.len());
        let (mut items, mut replies) = (Vec::with_capacity(minted.len()), Vec::with_capacity(minted.len()));
        for minted in minted {
            let permit = Arc::clone(&self.permits).try_acquire_owned();
            let permit = permit.map_err(|_| Failure::Overloaded("requests in flight"))?;
            let (reply, answer) = oneshot::channel();
            namings.push(minted.naming);
            tracing::debug!(request_id = %minted.naming.request_id, "admitted");
            let minted = Arc::new(minted);
            items.push(Item { minted, admitted: asked, deadline, reply: Some(reply), permit: Some(permit) });
            replies.push(answer);
        }
        let counted = InFlight::new(&self.metrics, items.len());
        self.lanes.enqueue(&group, certified, items)?;
        let mut answers = Vec::with_capacity(replies.len());
        for (reply, naming) in replies.into_iter().zip(namings) {
            let lost = || Err(Box::new(Unanswered { naming, failure: Failure::Internal("an answer was lost") }));
            let answered = timeout_at(deadline + ANSWER_GRACE, reply).await;
            let answered = answered.map_or_else(|_| lost(), |answer| answer.unwrap_or_else(|_| lost()));
            self.metrics.ended(&group, certified, &answered, asked.elapsed());
            answers.push(answered);
        }
        drop(counted);
        if answers.iter().all(Result::is_ok) {
            self.pressure().answered(before + answers.len(), asked.elapsed());
        }
        Ok(answers)
    }

    fn pressure(&self) -> MutexGuard<'_, Pressure> {
        self.pressure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mint(&self, ask: &Ask) -> Result<(Vec<Minted>, Duration), Failure> {
        let charter = self.charter(&ask.group)?;
        let task = Task::of(&charter)?;
        let pictures = PictureRules {
            side_max: self.limits.image_side_max,
            pixels_max: self.limits.image_pixels_max,
            call_pixels_max: self.limits.call_pixels_max,
        };
        let inputs = schema::items(task, &ask.input, self.limits.items_in_flight_max, pictures)?;
        let rules = &self.market.genesis().rules;
        let now_ms = now_ms();
        let longest = Duration::from_millis(self.limits.request_timeout_ms_max);
        let times = times(&ask.options, rules, self.limits.request_timeout(), longest, now_ms);
        if times.expiry_ms > now_ms + rules.request_lifetime_ms_max {
            let lifetime_ms = rules.request_lifetime_ms_max;
            return Err(Failure::BadInput(format!("`expiry_ms` lies more than {lifetime_ms} ms ahead")));
        }
        let (demand, strongest) = (ask.options.demand.unwrap_or(charter.assurance), charter.policy.strongest());
        if demand > strongest {
            let policy = charter.policy.name();
            return Err(Failure::BadInput(format!("under `{policy}` no more than `{strongest}` can be promised")));
        }
        let drawn = draw()?;
        let minted = mint(&self.market, &ask.group, demand, &ask.options, times.expiry_ms, inputs, &drawn)?;
        Ok((minted, times.timeout))
    }

    /// Requests that have expired can only be looked up: they may have been decided before.
    async fn first_answers(&self, ask: &Ask, minted: Vec<Minted>) -> Vec<Answered> {
        let mut answers = Vec::with_capacity(minted.len());
        for minted in minted {
            let naming = minted.naming;
            let answer = self.first_answer(ask, minted).await;
            answers.push(answer.map_err(|failure| Box::new(Unanswered { naming, failure })));
        }
        answers
    }

    async fn first_answer(&self, ask: &Ask, minted: Minted) -> Result<crate::ask::Answer, Failure> {
        if ask.options.uncertified {
            return Err(expired());
        }
        let id = minted.naming.request_id;
        let found = self.coordinators.lookup(&id, Instant::now() + LOOKUP_TIMEOUT).await;
        let found = found.map_err(Failure::Unattested)?.ok_or_else(expired)?;
        let claim = Claim { item: 0, minted: Arc::new(minted), known: Vec::new() };
        settle::answer_of(&self.market, &claim, found.quorum, found.proven, found.models).await
    }

    /// A decided request's certificate, as anybody may have it; `None` if the request is not decided.
    pub(crate) async fn certificate(&self, id: &Digest) -> Result<Option<Bytes>, Failure> {
        let found = self.coordinators.lookup(id, Instant::now() + LOOKUP_TIMEOUT).await;
        let Some(found) = found.map_err(Failure::Unattested)? else { return Ok(None) };
        let certificate = assemble::public_certificate(&self.market, &found.quorum, found.proven, found.models)?;
        Ok(Some(certificate))
    }
}

/// Counts requests in flight until they are answered or their caller has left.
struct InFlight<'a>(&'a Metrics, i64);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a Metrics, requests: usize) -> Self {
        let requests = i64::try_from(requests).unwrap_or(i64::MAX);
        metrics.in_flight.inc_by(requests);
        Self(metrics, requests)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec_by(self.1);
    }
}

fn expired() -> Failure {
    Failure::Refused("expired".into(), "the request has expired and was never decided; ask under a new nonce".into())
}

fn draw() -> Result<Drawn, Failure> {
    let mut drawn = Drawn { nonce: [0; 16], seed: [0; 32] };
    let filled = getrandom::fill(&mut drawn.nonce).and_then(|()| getrandom::fill(&mut drawn.seed));
    filled.map_err(|_| Failure::Internal("the operating system gives no randomness"))?;
    Ok(drawn)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
