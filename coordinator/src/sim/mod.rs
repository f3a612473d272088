//! Coordinators on a simulated machine: the same ledger, attestor and store, under the same engine, where one seed is one
//! run. What is left out is the gRPC around them.

mod disk;

use std::sync::Arc;

use bytes::Bytes;
use dropbear_certificates::{Digest, Header, SecretKey, Signature};
use dropbear_consensus::entry::entry_digest;
use dropbear_consensus::state::Market;
use dropbear_consensus::{Proposal, Refused, RequestResult, Storage as _, StoredBlock};
use dropbear_engine::sim::Machine as SimMachine;
use dropbear_engine::{Ordering, Replica};
use futures_util::future::{BoxFuture, Either, select};

pub use disk::Disk;

use crate::core::Outcome;
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::relayed::{Attestation, Relayed};
use crate::replica::{LedgerReplica, Untaken};
use crate::store::Store;
use crate::{CoordinatorError, resume};

/// Bytes of entries that wait at most.
const POOL_BYTES_MAX: usize = 4 << 20;
/// The longest that an entry waits for others.
const PATIENCE_MS_MAX: u64 = 500;

struct Simulated {
    machine: SimMachine,
    /// Unix time when simulated time began.
    epoch_ms: u64,
}

impl Machine for Simulated {
    fn now_ms(&self) -> u64 {
        self.epoch_ms + self.machine.now_ms()
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(self.machine.sleep_ms(ms))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.machine.spawn(task);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }
}

/// A final block, as this coordinator tells it to whoever asks.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The header.
    pub header: Header,
    /// This coordinator's signature over it; none if it only follows.
    pub signature: Option<Signature>,
    /// All leaves.
    pub leaves: Vec<Vec<u8>>,
    /// What became of the requests of the entry that was asked for.
    pub requests: Vec<RequestResult>,
}

/// What a coordinator answers to whoever submits an entry.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The entry stands in this block.
    Applied(Box<Attested>),
    /// It does not apply.
    Refused(Refused),
    /// It is no entry, or too many wait: the sender's fault.
    Invalid(String),
    /// It was not ordered in time.
    TimedOut,
}

/// One coordinator in one life: from a start to a crash.
#[derive(Clone)]
pub struct Coordinator(LedgerReplica);

impl Coordinator {
    /// Opens the ledger on `disk`, and replays it.
    ///
    /// # Errors
    /// As [`crate::serve`], where the ledger cannot be used.
    pub fn open(
        market: Arc<Market>,
        key: SecretKey,
        machine: SimMachine,
        disk: &Disk,
    ) -> Result<Self, CoordinatorError> {
        let store = Store::on(disk.open())?;
        let core = resume(&market, &store, POOL_BYTES_MAX, PATIENCE_MS_MAX)?;
        let metrics = Metrics::register(&mut dropbear_telemetry::registry());
        let machine = Arc::new(Simulated { machine, epoch_ms: market.genesis.created_ms });
        Ok(Self(LedgerReplica::new(market, key, core, store, metrics, machine)?))
    }

    /// What the engine orders for.
    pub fn replica(&self) -> impl Replica {
        self.0.clone()
    }

    /// The way to the peers.
    pub fn connect(&self, ordering: &Arc<dyn Ordering>) {
        self.0.set_ordering(Arc::downgrade(ordering));
    }

    /// Sends the peers a message of any kind, as a member that breaks the rules may.
    pub fn relay(&self, message: Bytes) {
        self.0.relay_bytes(message);
    }

    /// Its tasks end.
    pub fn stop(&self) {
        self.0.0.stopping.send_replace(true);
    }

    /// Submits an entry and waits for what becomes of it.
    pub async fn submit(&self, entry: Bytes, patience_ms: u64, timeout_ms: u64) -> Answer {
        match self.0.take(entry, patience_ms).await {
            Ok(digest) => self.watch(digest, timeout_ms).await,
            Err(Untaken::Refused(refused)) => Answer::Refused(refused),
            Err(Untaken::Invalid(invalid)) => Answer::Invalid(invalid.to_string()),
            Err(Untaken::Full(full)) => Answer::Invalid(full.to_string()),
        }
    }

    /// Waits for what becomes of an entry that was submitted elsewhere.
    pub async fn watch(&self, entry: Digest, timeout_ms: u64) -> Answer {
        let outcome = self.0.core().watch(entry);
        match select(outcome, self.0.0.machine.sleep_ms(timeout_ms)).await {
            Either::Left((Ok(Outcome::Applied(block, place)), _)) => Answer::Applied(Box::new(Attested {
                header: block.stored.header.clone(),
                signature: block.stored.attestation,
                leaves: block.stored.leaves.clone(),
                requests: block.results[place].requests.clone(),
            })),
            Either::Left((Ok(Outcome::Refused(refused)), _)) => Answer::Refused(refused),
            Either::Left((Err(_), _)) | Either::Right(_) => Answer::TimedOut,
        }
    }

    /// The durable block in which an entry stands, however long ago; nothing is said of its requests one by one.
    #[must_use]
    pub fn find(&self, entry: &Digest) -> Option<Attested> {
        let holds = |block: &StoredBlock| {
            let proposal = Proposal::from_bytes(&block.payload);
            proposal.is_ok_and(|proposal| proposal.entries.iter().any(|bytes| entry_digest(bytes) == *entry))
        };
        let store = &self.0.0.store;
        let blocks = (1..=self.last_seq()).rev().map_while(|seq| store.block(seq).ok().flatten());
        blocks.into_iter().find(holds).map(|block| Attested {
            header: block.header,
            signature: block.attestation,
            leaves: block.leaves,
            requests: Vec::new(),
        })
    }

    /// Every durable block, from seq 1.
    ///
    /// # Errors
    /// If the disk does not give them.
    pub fn ledger(&self) -> Result<Vec<StoredBlock>, CoordinatorError> {
        let store = &self.0.0.store;
        let blocks = (1..=store.last_seq()?).map(|seq| store.block(seq));
        Ok(blocks.map(|block| block.map(|block| block.expect("no seq is left out"))).collect::<Result<_, _>>()?)
    }

    /// The seq of the last durable block.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.0.0.progress.borrow().seq
    }

    /// Why it cannot go on, if it cannot.
    #[must_use]
    pub fn fatal(&self) -> Option<String> {
        self.0.0.fatal.borrow().clone()
    }

    /// What it says of other members.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.0.0.faults.lock().map(|faults| faults.clone()).unwrap_or_default()
    }

    /// Whether it is decided that it votes.
    #[must_use]
    pub fn votes(&self) -> bool {
        self.0.has_begun() && self.0.follows().is_none()
    }

    /// Why it follows without a vote, if it does.
    #[must_use]
    pub fn follows(&self) -> Option<String> {
        self.0.follows().map(str::to_owned)
    }

    /// The relayed message by which a member with this key attests a header.
    #[must_use]
    pub fn attestation(header: Header, key: &SecretKey) -> Bytes {
        Relayed::Attestation(Attestation { signature: header.attest(key), header }).to_bytes()
    }
}
