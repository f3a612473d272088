//! Keeps the versions in memory that the ledger asks for, and says to the ledger what the node has to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dropbear_certificates::Digest;
use dropbear_models::Store;
use dropbear_wire::follow::LedgerView;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clerk::{Clerk, unix_ms};
use crate::errand::{self, Bootstrap, Knows};
use crate::library::Library;
use crate::memory::available_bytes;
use crate::plan::{Command, Orders, Slot, Spares, Stock, plan};
use crate::serving::Serving;
use crate::siblings::fetch::fetch;
use crate::siblings::seal::Seal;
use crate::standing::{NotReady, fits};

/// How often it looks at what nobody announces: files in the store, and free memory.
const TICK: Duration = Duration::from_secs(1);
/// The ledger view must show what a coordinator attested within this time.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Where a sibling's versions come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) keeper: SocketAddr,
    pub(crate) seal: Seal,
    pub(crate) store: Store,
}

/// What a steward works with.
pub(crate) struct Steward {
    pub(crate) serving: Arc<Serving>,
    pub(crate) library: Arc<dyn Library>,
    pub(crate) spares: Spares,
    /// All versions together may take so much; if not set, what the system has.
    pub(crate) memory_bytes_max: Option<u64>,
    /// None at a node that has siblings to speak for it.
    pub(crate) clerk: Option<Clerk>,
    pub(crate) bootstrap: Option<Bootstrap>,
    pub(crate) endpoints: Option<Vec<String>>,
    /// Where versions are fetched from that are not here.
    pub(crate) source: Option<Source>,
}

/// What is under way.
#[derive(Default)]
struct Doing {
    /// The submission of an entry; at most one.
    submission: JoinSet<Option<u64>>,
    /// The view must reach this seq before the next entry, or this time must come.
    wait: Option<(u64, Instant)>,
    backoff: Duration,
    serial: u64,
    /// The fetching of a version; at most one.
    fetching: JoinSet<()>,
    fetch_not_before: Option<Instant>,
    /// Which missing version is next.
    fetches: usize,
    /// What the operator was told.
    told: BTreeSet<(&'static str, Digest)>,
    sizes: Sizes,
}

/// What versions take in memory, remembered: files are not read in every block.
#[derive(Default)]
struct Sizes {
    known: BTreeMap<Digest, u64>,
    /// Versions whose files were not here, and when.
    missed: BTreeMap<Digest, Instant>,
}

impl Sizes {
    /// The sizes of those of `named` whose files are here; what is not named is forgotten.
    fn of(&mut self, named: BTreeSet<Digest>, library: &dyn Library) -> BTreeMap<Digest, u64> {
        self.known.retain(|version, _| named.contains(version));
        self.missed.retain(|version, since| named.contains(version) && since.elapsed() < TICK);
        for version in named {
            if self.known.contains_key(&version) || self.missed.contains_key(&version) {
                continue;
            }
            match library.size(&version) {
                Some(bytes) => drop(self.known.insert(version, bytes)),
                None => drop(self.missed.insert(version, Instant::now())),
            }
        }
        self.known.clone()
    }
}

impl Steward {
    /// Runs until the node ends.
    pub(crate) async fn run(mut self) {
        let (mut view, mut changes) = (self.serving.view.clone(), self.serving.fleet.changes());
        let mut doing = Doing { backoff: BACKOFF_MIN, ..Doing::default() };
        loop {
            changes.mark_unchanged();
            let now = view.borrow_and_update().clone();
            let failed = self.obey(&now, &mut doing);
            self.speak(&now, &failed, &mut doing);
            let pause = doing.pause();
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
                block = submitted(&mut doing.submission) => self.heard(block, &mut doing),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Loads and unloads; gives the versions that do not load.
    fn obey(&self, view: &LedgerView, doing: &mut Doing) -> Vec<(Digest, String)> {
        if self.serving.claim.state(view) == Err(NotReady::NotFollowing) {
            return Vec::new();
        }
        let orders = self.orders(view);
        let stock = self.stock(&orders, view, &mut doing.sizes);
        let mut failed = Vec::new();
        let mut missing: Vec<Digest> =
            orders.wanted(self.spares).into_iter().filter(|version| !stock.at_hand.contains_key(version)).collect();
        missing.retain(|version| !stock.slots.contains_key(version));
        self.serving.fleet.miss(missing.iter().copied().collect());
        for command in plan(&orders, &stock, self.spares) {
            match command {
                Command::Load(version) => self.serving.fleet.load(version),
                Command::Unload(version) => self.serving.fleet.unload(&version),
                Command::Withdraw(version, reason) => failed.push((version, reason)),
                Command::NoRoom(version, bytes) if doing.told.insert(("room", version)) => {
                    let max = stock.memory_bytes_max;
                    warn!(version = %version.short(), bytes, max, "NO ROOM for a version beside the one in force");
                }
                Command::Missing(version) if doing.told.insert(("files", version)) => {
                    error!(version = %version.short(), "a version is activated, but its FILES ARE NOT HERE");
                }
                Command::NoRoom(..) | Command::Missing(_) => {}
            }
        }
        self.fetch(&missing, doing);
        failed
    }

    /// The ledger's orders; before its owner's first activation, those that the node is about to give itself.
    fn orders(&self, view: &LedgerView) -> Orders {
        let (claim, next) = (&self.serving.claim, view.seq.saturating_add(1));
        let holding = claim.state(view).ok().and_then(|state| claim.holding(state, next));
        let begins = holding.is_none_or(|holding| holding.activations.is_empty());
        let mut orders = claim.orders(view);
        orders.pending.extend(self.bootstrap.as_ref().filter(|_| begins).map(|bootstrap| bootstrap.card.version));
        orders
    }

    fn stock(&self, orders: &Orders, view: &LedgerView, sizes: &mut Sizes) -> Stock {
        let (wanted, mut slots) = (orders.wanted(self.spares), self.serving.fleet.slots());
        let at_hand = sizes.of(wanted.iter().chain(slots.keys()).copied().collect(), &*self.library);
        for (version, slot) in &mut slots {
            if let Some(problem) = self.misfit(version, view) {
                *slot = Slot::Failed(problem);
            }
        }
        let leaving_bytes = self.serving.fleet.leaving_bytes();
        let is_complete = wanted.iter().all(|version| slots.contains_key(version));
        let taken = slots.keys().filter_map(|version| at_hand.get(version)).sum::<u64>() + leaving_bytes;
        let available = || if is_complete { None } else { available_bytes() };
        let from_system = || available().map_or(u64::MAX, |available| available.saturating_add(taken));
        let memory_bytes_max = self.memory_bytes_max.unwrap_or_else(from_system);
        Stock { slots, at_hand, leaving_bytes, memory_bytes_max }
    }

    /// Why a loaded version that the ledger knows is none for the group.
    fn misfit(&self, version: &Digest, view: &LedgerView) -> Option<String> {
        let claim = &self.serving.claim;
        let (state, next) = (claim.state(view).ok()?, view.seq.saturating_add(1));
        let (_, charter) = claim.named(state, next).ok()?;
        let lease = self.serving.fleet.lease(version)?;
        fits(charter, lease.card()).err().map(|problem| problem.to_string())
    }

    /// Fetches missing versions from the keeper, one at a time, in turn.
    fn fetch(&self, missing: &[Digest], doing: &mut Doing) {
        let Some(Source { keeper, seal, store }) = self.source.clone() else { return };
        while doing.fetching.try_join_next().is_some() {}
        if !doing.fetching.is_empty() || doing.fetch_not_before.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let Some(version) = missing.iter().copied().cycle().nth(doing.fetches) else { return };
        doing.fetches = (doing.fetches + 1) % missing.len();
        doing.fetch_not_before = Some(Instant::now() + TICK);
        doing.fetching.spawn(async move {
            match fetch(keeper, &seal, &version, &store, unix_ms()).await {
                Ok(()) => info!(version = %version.short(), %keeper, "fetched a version from a sibling"),
                Err(error) => warn!(version = %version.short(), %error, "a version cannot be fetched"),
            }
        });
    }

    /// Says the next thing to the ledger, if there is any and nothing else is being said.
    fn speak(&self, view: &LedgerView, failed: &[(Digest, String)], doing: &mut Doing) {
        let Some(clerk) = &self.clerk else { return };
        if !doing.submission.is_empty() || doing.waits(view) {
            return;
        }
        doing.wait = None;
        let (bootstrap, claim) = (self.bootstrap.as_ref(), &self.serving.claim);
        let knows = Knows { bootstrap, failed, endpoints: self.endpoints.as_deref() };
        let Some(errand) = errand::next(claim, view, knows) else { return };
        let next = view.seq.saturating_add(1);
        let named = claim.state(view).and_then(|state| Ok((state, claim.named(state, next)?)));
        let Ok((state, (key, _))) = named else { return };
        // Ascends even if the clock does not.
        let last = state.holdings.get(&key.public()).map_or(0, |holding| holding.serial).max(doing.serial);
        doing.serial = unix_ms().max(last.saturating_add(1));
        info!(?errand, serial = doing.serial, "telling the ledger");
        let Some(entry) = clerk.entry(errand, bootstrap, key, doing.serial) else { return };
        doing.submission.spawn(clerk.clone().submit(entry));
    }

    fn heard(&mut self, block: Option<u64>, doing: &mut Doing) {
        doing.wait = match block {
            Some(seq) => {
                doing.backoff = BACKOFF_MIN;
                Some((seq, Instant::now() + CATCH_UP_TIMEOUT))
            }
            None => {
                let wait = doing.backoff;
                doing.backoff = (wait * 2).min(BACKOFF_MAX);
                Some((u64::MAX, Instant::now() + wait))
            }
        };
        if let Some(clerk) = &mut self.clerk
            && !clerk.coordinators.is_empty()
        {
            clerk.coordinators.rotate_left(1);
        }
    }
}

impl Doing {
    fn waits(&self, view: &LedgerView) -> bool {
        self.wait.is_some_and(|(seq, until)| view.seq < seq && Instant::now() < until)
    }

    /// How long until what is waited for may be over.
    fn pause(&self) -> Duration {
        let until = self.wait.map(|(_, until)| until.saturating_duration_since(Instant::now()));
        until.map_or(TICK, |until| until.clamp(BACKOFF_MIN, TICK))
    }
}

/// What became of the submission that is under way.
async fn submitted(submission: &mut JoinSet<Option<u64>>) -> Option<u64> {
    match submission.join_next().await {
        // A submission that panicked was none.
        Some(ended) => ended.unwrap_or(None),
        None => std::future::pending().await,
    }
}
