//! The coordinator as the ordering engine sees it: proposes, judges and stores blocks.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use dropbear_certificates::{Digest, SecretKey};
use dropbear_consensus::state::Market;
use dropbear_consensus::{
    Appended, BlockRefused, Checked, EngineTip, Invalid, PoolFull, Refused, Registry, Storage as _,
};
use dropbear_engine::{EngineFault, Memory, OrderedBlock, Ordering, Role};
use futures_util::future::select;
use tokio::sync::{Notify, mpsc, watch};

use crate::core::{AttestedBlock, Core, Fatal, Finalized, parse};
use crate::heard::Heard;
use crate::machine::{Machine, block};
use crate::metrics::{self, Metrics};
use crate::relayed::{Attestation, Relayed, Unusable};
use crate::store::{Store, StoreError};

/// Relayed messages that wait to be checked; more are dropped, their gateways submit to others too.
const RELAYED_WAITING_MAX: usize = 1024;
/// Attestations of older blocks are not told to the peers: a coordinator that catches up has many.
const NEWS_MS_MAX: u64 = 10_000;

/// Different faults of members that are remembered at most.
const FAULTS_MAX: usize = 64;

/// The ledger's progress, for followers.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) seq: u64,
    pub(crate) agreed_ms: u64,
    pub(crate) registry: Arc<Registry>,
}

pub(crate) struct Shared {
    pub(crate) market: Arc<Market>,
    key: SecretKey,
    core: Mutex<Core>,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    /// Something changed that a waiting proposer should look at.
    wake: Notify,
    pub(crate) machine: Arc<dyn Machine>,
    relayed: mpsc::Sender<(usize, Bytes)>,
    heard: Mutex<Heard>,
    /// Decided by the engine once it has asked the peers.
    role: OnceLock<Role>,
    /// Not held: the engine holds the replica.
    ordering: OnceLock<Weak<dyn Ordering>>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) fatal: watch::Sender<Option<String>>,
    pub(crate) faults: Mutex<Vec<String>>,
    /// Turns true when the service should end what it does for others.
    pub(crate) stopping: watch::Sender<bool>,
    /// Goes last, when nobody holds the ledger's file any more.
    pub(crate) released: watch::Sender<()>,
}

/// Why an entry was not taken in.
#[derive(Debug)]
pub(crate) enum Untaken {
    Invalid(Invalid),
    Refused(Refused),
    Full(PoolFull),
}

impl Untaken {
    /// As metrics count it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Refused(_) => "refused",
            Self::Full(_) => "pool-full",
        }
    }
}

/// What the engine holds; clones share it.
#[derive(Clone)]
pub(crate) struct LedgerReplica(pub(crate) Arc<Shared>);

impl LedgerReplica {
    /// Builds the shared state and starts checking relayed messages.
    pub(crate) fn new(
        market: Arc<Market>,
        key: SecretKey,
        core: Core,
        store: Store,
        metrics: Metrics,
        machine: Arc<dyn Machine>,
    ) -> Result<Self, StoreError> {
        let (relayed, inbox) = mpsc::channel(RELAYED_WAITING_MAX);
        let state = core.chain().state();
        metrics.seq(state.seq);
        let progress = Progress { seq: state.seq, agreed_ms: state.agreed_ms, registry: Arc::clone(&state.registry) };
        let heard = heard(&market, &store)?;
        let shared = Shared {
            market,
            key,
            core: Mutex::new(core),
            store,
            metrics,
            wake: Notify::new(),
            machine,
            relayed,
            heard: Mutex::new(heard),
            role: OnceLock::new(),
            ordering: OnceLock::new(),
            progress: watch::Sender::new(progress),
            fatal: watch::Sender::new(None),
            faults: Mutex::new(Vec::new()),
            stopping: watch::Sender::new(false),
            released: watch::Sender::new(()),
        };
        let replica = Self(Arc::new(shared));
        replica.0.machine.spawn(Box::pin(replica.clone().check_relayed(inbox)));
        Ok(replica)
    }

    /// The running engine, to relay through.
    pub(crate) fn set_ordering(&self, ordering: Weak<dyn Ordering>) {
        // The first engine is the only one.
        let _ = self.0.ordering.set(ordering);
    }

    pub(crate) fn relay(&self, message: &Relayed) {
        self.relay_bytes(message.to_bytes());
    }

    pub(crate) fn relay_bytes(&self, message: Bytes) {
        if let Some(ordering) = self.0.ordering.get().and_then(Weak::upgrade) {
            ordering.relay(message);
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.machine.now_ms()
    }

    /// Why this coordinator does not vote, if it is decided that it does not.
    pub(crate) fn follows(&self) -> Option<&str> {
        match self.0.role.get() {
            Some(Role::Follower(reason)) => Some(reason),
            Some(Role::Voter) | None => None,
        }
    }

    /// Whether it is decided what this coordinator may do.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.role.get().is_some()
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic while the lock was held is a bug that has been reported; the state is replaced whole or not at all.
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks an entry's signatures on the blocking pool.
    pub(crate) async fn check(&self, bytes: Bytes) -> Result<Arc<Checked>, Invalid> {
        let (genesis, begun) = (self.0.market.digest, Instant::now());
        let check = move || dropbear_consensus::chain::check_entry(&bytes, &genesis).map(Arc::new);
        let checked = block(&*self.0.machine, check).await;
        self.0.metrics.stages.took(metrics::CHECK, begun.elapsed());
        checked
    }

    /// Takes an entry in, passes it on to the peers, and gives its digest.
    pub(crate) async fn take(&self, bytes: Bytes, patience_ms: u64) -> Result<Digest, Untaken> {
        let waits = self.core().waits(&bytes);
        if let Some(entry) = waits {
            return Ok(self.known(entry, patience_ms));
        }
        let pushed = match self.check(bytes.clone()).await {
            // It came from a peer meanwhile, which relays it, or it was decided a moment ago.
            Ok(checked) if self.core().is_known(&checked.digest()) => {
                return Ok(self.known(checked.digest(), patience_ms));
            }
            Ok(checked) => {
                let entry = checked.digest();
                let pushed = self.core().push(checked, patience_ms, self.now_ms());
                pushed.map_err(Untaken::Full).and_then(|applies| applies.map_err(Untaken::Refused)).map(|()| entry)
            }
            Err(invalid) => Err(Untaken::Invalid(invalid)),
        };
        match pushed {
            Ok(entry) => {
                self.0.metrics.entry("taken");
                self.relay(&Relayed::Entry { patience_ms, entry: bytes });
                self.wake();
                Ok(entry)
            }
            Err(untaken) => {
                self.0.metrics.entry(untaken.name());
                Err(untaken)
            }
        }
    }

    /// An entry that is here already waits no longer than its sender has patience.
    fn known(&self, entry: Digest, patience_ms: u64) -> Digest {
        self.core().hasten(&entry, patience_ms, self.now_ms());
        self.wake();
        entry
    }

    pub(crate) fn wake(&self) {
        self.0.wake.notify_waiters();
    }

    /// Resolves when the service stops.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.0.stopping.subscribe();
        // If the sender is gone, the service is too.
        async move { drop(stopping.wait_for(|stopping| *stopping).await) }
    }

    async fn check_relayed(self, mut inbox: mpsc::Receiver<(usize, Bytes)>) {
        let mut stopped = std::pin::pin!(self.stopped());
        loop {
            let (from, message) = tokio::select! {
                biased;
                () = &mut stopped => return,
                Some(message) = inbox.recv() => message,
            };
            let sender = self.0.market.genesis.committee.members[from].attestation;
            match Relayed::parse(message, &sender) {
                Ok(Relayed::Entry { patience_ms, entry }) => self.relayed_entry(patience_ms, entry).await,
                Ok(Relayed::Attestation(attestation)) => self.hear(from, attestation),
                Err(Unusable::Malformed) => tracing::warn!(from, "a peer relayed something malformed"),
                Err(Unusable::UnknownKind(kind)) => {
                    tracing::debug!(from, kind, "a newer peer relays what this version does not know");
                }
            }
        }
    }

    async fn relayed_entry(&self, patience_ms: u64, entry: Bytes) {
        let waits = self.core().waits(&entry);
        if let Some(digest) = waits {
            self.core().hasten(&digest, patience_ms, self.now_ms());
            self.wake();
            return;
        }
        match self.check(entry).await {
            Ok(checked) => {
                let digest = checked.digest();
                match self.core().push(checked, patience_ms, self.now_ms()) {
                    Ok(Ok(())) => self.wake(),
                    Ok(Err(refused)) => tracing::debug!(entry = %digest, %refused, "relayed entry does not apply"),
                    Err(full) => tracing::debug!(entry = %digest, %full, "relayed entry dropped"),
                }
            }
            Err(invalid) => tracing::warn!(%invalid, "a peer relayed an invalid entry"),
        }
    }

    /// A member attested a header. Honest ones attest what everybody does.
    fn hear(&self, from: usize, attestation: Attestation) {
        let seq = attestation.header.seq;
        let ours = self.core().recent(seq);
        let differs = ours.is_some_and(|ours| ours.stored.header != attestation.header);
        let contradicted = self.heard().hear(from, attestation).is_some();
        if differs || contradicted {
            tracing::error!(member = from, seq, "a member attested another header");
            self.blame(format!("member {from} attested another header at seq {seq}"));
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blame(&self, fault: String) {
        let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() < FAULTS_MAX && !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    /// Executes blocks that the engine has and we have not, oldest first.
    fn catch_up(&self, ancestors: &[OrderedBlock]) -> Result<(), BlockRefused> {
        ancestors.iter().try_for_each(|block| self.execute(block, None))
    }

    fn execute(&self, block: &OrderedBlock, now_ms: Option<u64>) -> Result<(), BlockRefused> {
        if block.payload.is_empty() {
            return self.core().pass(block.parent, block.digest);
        }
        let proposal = parse(&block.payload, &self.0.market.digest, |entry| self.core().waiting_entry(entry))?;
        self.core().execute(block.parent, block.digest, &proposal, now_ms).map(drop)
    }

    fn finalize(&self, block: &OrderedBlock, tip: EngineTip) -> Result<Option<Finalized>, Fatal> {
        if block.height <= self.core().height() {
            return Ok(None);
        }
        if !self.core().chain().knows(&block.digest) {
            self.execute(block, None)?;
        }
        let key = self.follows().is_none().then_some(&self.0.key);
        self.core().finalize(tip, &block.payload, key, self.now_ms()).map(Some)
    }

    async fn store(&self, ordered: &OrderedBlock) -> Result<(), Fatal> {
        let tip = EngineTip { height: ordered.height, block: ordered.digest };
        let Some(finalized) = self.finalize(ordered, tip)? else { return Ok(()) };
        let (mut store, metrics) = (self.0.store.clone(), self.0.metrics.clone());
        let heard = self.heard().take_unsaved();
        let write = move || match finalized {
            Finalized::Entries { block, decided, governance, model_sets, waited } => {
                waited.into_iter().for_each(|waited| metrics.stages.took(metrics::ORDER, waited));
                let begun = Instant::now();
                store.append(&Appended {
                    block: &block.stored,
                    height: tip.height,
                    decided: &decided,
                    governance: &governance,
                    model_sets: &model_sets,
                    heard: &heard,
                })?;
                metrics.stages.took(metrics::STORE, begun.elapsed());
                metrics.block(&block);
                Ok::<_, StoreError>(Some(block))
            }
            Finalized::Nothing => store.pass(tip).map(|()| None),
        };
        let attested = block(&*self.0.machine, write).await?;
        self.0.metrics.pool(self.core().pool_len());
        if let Some(attested) = attested {
            self.tell(*attested);
        }
        self.wake();
        Ok(())
    }

    fn tell(&self, attested: AttestedBlock) {
        let stored = &attested.stored;
        let attestation = stored.attestation.filter(|_| stored.header.agreed_ms + NEWS_MS_MAX > self.now_ms());
        if let Some(signature) = attestation {
            self.relay(&Relayed::Attestation(Attestation { header: stored.header.clone(), signature }));
        }
        let progress = {
            let mut core = self.core();
            let block = core.durable(attested, self.now_ms());
            let header = &block.stored.header;
            Progress {
                seq: header.seq,
                agreed_ms: header.agreed_ms,
                registry: Arc::clone(&core.chain().state().registry),
            }
        };
        self.0.progress.send_replace(progress);
    }

    /// Stops the coordinator: going on could contradict the ledger.
    fn fail(&self, fatal: &Fatal) {
        tracing::error!(%fatal, "the coordinator cannot go on");
        self.0.fatal.send_replace(Some(fatal.to_string()));
    }
}

/// What was heard and made durable before this start.
fn heard(market: &Market, store: &Store) -> Result<Heard, StoreError> {
    let members = &market.genesis.committee.members;
    let mut newest = vec![None; members.len()];
    for (member, bytes) in store.heard()? {
        let member = member as usize;
        if let Some(known) = members.get(member) {
            newest[member] = Attestation::parse(&bytes, &known.attestation);
        }
    }
    Ok(Heard::new(newest))
}

impl dropbear_engine::Replica for LedgerReplica {
    fn memory(&self) -> Memory {
        match self.0.store.follows() {
            Ok(None) if self.core().chain().state().seq == 0 => Memory::Fresh,
            Ok(None) => Memory::Kept,
            Ok(Some(_)) => Memory::Lost,
            Err(error) => {
                self.fail(&error.into());
                Memory::Lost
            }
        }
    }

    fn testify(&self, peer: usize) -> Bytes {
        self.heard().of(peer).map_or_else(Bytes::new, Attestation::to_bytes)
    }

    fn has_forgotten(&self, testimony: Bytes) -> bool {
        let Some(shown) = Attestation::parse(&testimony, &self.0.key.public()) else { return false };
        let seq = shown.header.seq;
        if seq > self.core().attested_seq() {
            return true;
        }
        match self.0.store.block(seq) {
            Ok(block) => block.is_none_or(|block| block.header != shown.header),
            Err(error) => {
                self.fail(&error.into());
                true
            }
        }
    }

    async fn begin(&self, role: Role) {
        if let Role::Follower(reason) = &role {
            let (store, reason) = (self.0.store.clone(), reason.clone());
            let write = move || match store.follows()? {
                Some(_) => Ok(()),
                None => store.set_follows(&reason),
            };
            if let Err(error) = block(&*self.0.machine, write).await {
                let fatal = Fatal::from(error);
                self.fail(&fatal);
                return std::future::pending().await;
            }
        }
        // The engine decides once.
        let _ = self.0.role.set(role);
        self.wake();
    }

    fn height(&self) -> u64 {
        self.core().height()
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.core().chain().knows(digest)
    }

    async fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> Option<Bytes> {
        if let Err(refused) = self.catch_up(&ancestors) {
            tracing::warn!(parent = %Digest(parent), %refused, "cannot extend a block that this coordinator refuses");
            return None;
        }
        loop {
            let woken = self.0.wake.notified();
            let mut woken = std::pin::pin!(woken);
            woken.as_mut().enable();
            let wait_ms = self.core().wait_ms(self.now_ms());
            match wait_ms {
                Some(0) => {
                    let proposal = self.core().build(&parent, self.now_ms());
                    if let Some(proposal) = proposal {
                        return Some(proposal.to_bytes().into());
                    }
                    // Nothing that waits applies here.
                    woken.await;
                }
                Some(wait_ms) => {
                    select(woken, self.0.machine.sleep_ms(wait_ms)).await;
                }
                None => woken.await,
            }
        }
    }

    async fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> bool {
        if let Err(refused) = self.catch_up(&ancestors) {
            tracing::warn!(block = %Digest(block.digest), %refused, "no vote: an ancestor is refused");
            return false;
        }
        loop {
            match self.execute(&block, Some(self.now_ms())) {
                Ok(()) => return true,
                // The verdict may depend on the chain alone: a block ahead of time waits until its time has come.
                Err(BlockRefused::TimeAhead) => self.0.machine.sleep_ms(50).await,
                Err(refused) => {
                    tracing::warn!(block = %Digest(block.digest), %refused, "no vote");
                    return false;
                }
            }
        }
    }

    fn finalized(&self, block: OrderedBlock) -> impl Future<Output = ()> + Send {
        let replica = self.clone();
        async move {
            if let Err(fatal) = replica.store(&block).await {
                replica.fail(&fatal);
                // Never acknowledged: the engine delivers it again after a restart.
                std::future::pending::<()>().await;
            }
        }
    }

    fn relayed(&self, from: usize, message: Bytes) {
        if self.0.relayed.try_send((from, message)).is_err() {
            tracing::debug!(from, "relayed message dropped: too many wait to be checked");
        }
    }

    fn fault(&self, fault: EngineFault) {
        tracing::error!(culprit = fault.culprit, kind = ?fault.kind, view = fault.view, "a member contradicted itself");
        self.blame(format!("member {} contradicted itself ({:?})", fault.culprit, fault.kind));
    }
}
