//! The coordinator as the ordering engine sees it: proposes, judges and stores blocks.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dropbear_certificates::{Digest, SecretKey};
use dropbear_consensus::state::Market;
use dropbear_consensus::{Appended, BlockRefused, Checked, EngineTip, Registry, Storage as _};
use dropbear_engine::{EngineFault, OrderedBlock};
use futures_util::future::select;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

use crate::core::{AttestedBlock, Core, Fatal, Finalized, parse};
use crate::metrics::{self, Metrics};
use crate::relayed::Relayed;
use crate::store::{Store, StoreError};

/// Relayed entries that wait to be checked; more are dropped, their gateways submit to others too.
const RELAYED_WAITING_MAX: usize = 1024;

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
    runtime: Handle,
    relayed: mpsc::Sender<Bytes>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) fatal: watch::Sender<Option<String>>,
    pub(crate) faults: Mutex<Vec<String>>,
    /// Turns true when the service should end what it does for others.
    pub(crate) stopping: watch::Sender<bool>,
    /// Goes last, when nobody holds the ledger's file any more.
    pub(crate) released: watch::Sender<()>,
}

/// What the engine holds; clones share it.
#[derive(Clone)]
pub(crate) struct LedgerReplica(pub(crate) Arc<Shared>);

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl LedgerReplica {
    /// Builds the shared state and starts checking relayed entries on the caller's runtime.
    pub(crate) fn new(market: Arc<Market>, key: SecretKey, core: Core, store: Store, metrics: Metrics) -> Self {
        let (relayed, inbox) = mpsc::channel(RELAYED_WAITING_MAX);
        let state = core.chain().state();
        metrics.seq(state.seq);
        let progress = Progress { seq: state.seq, agreed_ms: state.agreed_ms, registry: Arc::clone(&state.registry) };
        let shared = Shared {
            market,
            key,
            core: Mutex::new(core),
            store,
            metrics,
            wake: Notify::new(),
            runtime: Handle::current(),
            relayed,
            progress: watch::Sender::new(progress),
            fatal: watch::Sender::new(None),
            faults: Mutex::new(Vec::new()),
            stopping: watch::Sender::new(false),
            released: watch::Sender::new(()),
        };
        let replica = Self(Arc::new(shared));
        tokio::spawn(replica.clone().check_relayed(inbox));
        replica
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic while the lock was held is a bug that has been reported; the state is replaced whole or not at all.
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks an entry's signatures on the blocking pool.
    pub(crate) async fn check(&self, bytes: Bytes) -> Result<Arc<Checked>, dropbear_consensus::Invalid> {
        let (genesis, begun) = (self.0.market.digest, Instant::now());
        let checked = self
            .0
            .runtime
            .spawn_blocking(move || dropbear_consensus::chain::check_entry(&bytes, &genesis).map(Arc::new));
        let checked = checked.await;
        self.0.metrics.stages.took(metrics::CHECK, begun.elapsed());
        match checked {
            Ok(result) => result,
            Err(join) => std::panic::resume_unwind(join.into_panic()),
        }
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

    async fn check_relayed(self, mut inbox: mpsc::Receiver<Bytes>) {
        let mut stopped = std::pin::pin!(self.stopped());
        loop {
            let message = tokio::select! {
                Some(message) = inbox.recv() => message,
                () = &mut stopped => return,
            };
            let Some(Relayed { patience_ms, entry }) = Relayed::parse(message) else {
                tracing::warn!("a peer relayed something that is no entry");
                continue;
            };
            let digest = dropbear_consensus::entry::entry_digest(&entry);
            if self.core().is_known(&digest) {
                self.core().hasten(&digest, patience_ms, now_ms());
                self.wake();
                continue;
            }
            match self.check(entry).await {
                Ok(entry) => match self.core().push(entry, patience_ms, now_ms()) {
                    Ok(Ok(())) => self.wake(),
                    Ok(Err(refused)) => tracing::debug!(entry = %digest, %refused, "relayed entry does not apply"),
                    Err(full) => tracing::debug!(entry = %digest, %full, "relayed entry dropped"),
                },
                Err(invalid) => tracing::warn!(entry = %digest, %invalid, "a peer relayed an invalid entry"),
            }
        }
    }

    /// The engine polls this from its own runtime; the timer lives in ours.
    fn sleep_ms(&self, ms: u64) -> tokio::time::Sleep {
        let _ours = self.0.runtime.enter();
        tokio::time::sleep(Duration::from_millis(ms))
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
        self.core().finalize(tip, &block.payload, &self.0.key, now_ms()).map(Some)
    }

    async fn store(&self, block: &OrderedBlock) -> Result<(), Fatal> {
        let tip = EngineTip { height: block.height, block: block.digest };
        let Some(finalized) = self.finalize(block, tip)? else { return Ok(()) };
        let (mut store, metrics) = (self.0.store.clone(), self.0.metrics.clone());
        let written = self.0.runtime.spawn_blocking(move || match finalized {
            Finalized::Entries { block, decided, governance, model_sets, waited } => {
                waited.into_iter().for_each(|waited| metrics.stages.took(metrics::ORDER, waited));
                let begun = Instant::now();
                let (decided, governance, model_sets) = (&*decided, &*governance, &*model_sets);
                store.append(&Appended {
                    block: &block.stored,
                    height: tip.height,
                    decided,
                    governance,
                    model_sets,
                })?;
                metrics.stages.took(metrics::STORE, begun.elapsed());
                metrics.block(&block);
                Ok::<_, StoreError>(Some(block))
            }
            Finalized::Nothing => store.pass(tip).map(|()| None),
        });
        let attested = match written.await {
            Ok(result) => result?,
            Err(join) => std::panic::resume_unwind(join.into_panic()),
        };
        self.0.metrics.pool(self.core().pool_len());
        if let Some(attested) = attested {
            self.tell(*attested);
        }
        self.wake();
        Ok(())
    }

    fn tell(&self, attested: AttestedBlock) {
        let progress = {
            let mut core = self.core();
            let block = core.durable(attested, now_ms());
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

impl dropbear_engine::Replica for LedgerReplica {
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
            let wait_ms = self.core().wait_ms(now_ms());
            match wait_ms {
                Some(0) => {
                    let proposal = self.core().build(&parent, now_ms());
                    if let Some(proposal) = proposal {
                        return Some(proposal.to_bytes().into());
                    }
                    // Nothing that waits applies here.
                    woken.await;
                }
                Some(wait_ms) => {
                    select(woken, std::pin::pin!(self.sleep_ms(wait_ms))).await;
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
            match self.execute(&block, Some(now_ms())) {
                Ok(()) => return true,
                // The verdict may depend on the chain alone: a block ahead of time waits until its time has come.
                Err(BlockRefused::TimeAhead) => self.sleep_ms(50).await,
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
        if self.0.relayed.try_send(message).is_err() {
            tracing::debug!(from, "relayed entry dropped: too many wait to be checked");
        }
    }

    fn fault(&self, fault: EngineFault) {
        tracing::error!(culprit = fault.culprit, kind = ?fault.kind, view = fault.view, "a member contradicted itself");
        let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(format!("member {} contradicted itself ({:?})", fault.culprit, fault.kind));
    }
}
