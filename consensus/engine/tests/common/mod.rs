//! A replica that orders counters: the smallest one that keeps every promise of the trait.

#![allow(dead_code, unreachable_pub, reason = "a module of several test crates, each of which uses its own part")]

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use dropbear_engine::{EngineFault, Memory, OrderedBlock, Replica, Role};
use tokio::sync::Notify;

/// Counters in one block at most.
const BLOCK_ENTRIES_MAX: usize = 100;

/// What is known of one replica.
#[derive(Default)]
pub struct State {
    /// Waiting to be ordered.
    pool: BTreeSet<u64>,
    /// The counters ordered up to each known block.
    known: HashMap<[u8; 32], Arc<BTreeSet<u64>>>,
    /// Delivered blocks, without genesis and without repetitions.
    pub chain: Vec<OrderedBlock>,
    /// Deliveries of blocks that had been delivered before.
    pub redelivered: usize,
    pub relayed: Vec<(usize, Bytes)>,
    pub faults: Vec<EngineFault>,
    /// Turns down every proposal, as if it broke the rules.
    pub refuses: bool,
}

/// Clones share their state, which outlives engines: it plays the durable store too.
#[derive(Clone)]
pub struct Toy {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Toy {
    pub fn new(genesis_digest: [u8; 32]) -> Self {
        let state = State {
            known: [(OrderedBlock::genesis(genesis_digest).digest, Arc::default())].into(),
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.notify_waiters();
        result
    }

    pub fn submit(&self, entries: impl IntoIterator<Item = u64>) {
        self.change(|state| state.pool.extend(entries));
    }

    /// Waits until `condition` gives something.
    pub async fn until<T>(&self, mut condition: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(result) = condition(&self.state()) {
                return result;
            }
            changed.await;
        }
    }

    /// Waits until all of `entries` are ordered.
    pub async fn ordered(&self, entries: impl IntoIterator<Item = u64>) {
        let entries: BTreeSet<u64> = entries.into_iter().collect();
        self.until(|state| {
            let tip = state.known.get(&state.chain.last()?.digest)?;
            entries.is_subset(tip).then_some(())
        })
        .await;
    }

    pub fn height(&self) -> u64 {
        self.state().chain.last().map_or(0, |block| block.height)
    }

    pub fn digests(&self) -> Vec<[u8; 32]> {
        self.state().chain.iter().map(|block| block.digest).collect()
    }
}

impl State {
    /// The state after `block`, if the block follows the rules.
    fn apply(&mut self, block: &OrderedBlock) -> bool {
        let Some(before) = self.known.get(&block.parent) else {
            return false;
        };
        let entries = decode(&block.payload);
        let fresh = entries.iter().all(|entry| !before.contains(entry));
        if !entries.is_sorted_by(|a, b| a < b) || !fresh {
            return false;
        }
        let after = before.iter().copied().chain(entries).collect();
        self.known.insert(block.digest, Arc::new(after));
        true
    }

    fn replay(&mut self, blocks: &[OrderedBlock]) {
        for block in blocks {
            assert!(self.apply(block), "a certified ancestor follows the rules");
        }
    }

    /// What to order on top of `parent`.
    fn payload(&self, parent: &[u8; 32]) -> Option<Bytes> {
        let ordered = self.known.get(parent).expect("the parent was replayed");
        let entries: Vec<_> =
            self.pool.difference(ordered).take(BLOCK_ENTRIES_MAX).flat_map(|entry| entry.to_be_bytes()).collect();
        (!entries.is_empty()).then(|| entries.into())
    }
}

fn decode(payload: &[u8]) -> Vec<u64> {
    let (entries, rest) = payload.as_chunks();
    assert!(rest.is_empty());
    entries.iter().copied().map(u64::from_be_bytes).collect()
}

impl Replica for Toy {
    fn memory(&self) -> Memory {
        Memory::Fresh
    }

    fn testify(&self, _: usize) -> Bytes {
        Bytes::new()
    }

    fn has_forgotten(&self, _: Bytes) -> bool {
        false
    }

    async fn begin(&self, _: Role) {}

    fn height(&self) -> u64 {
        Self::height(self)
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.state().known.contains_key(digest)
    }

    async fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> Option<Bytes> {
        self.change(|state| state.replay(&ancestors));
        Some(self.until(|state| state.payload(&parent)).await)
    }

    async fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> bool {
        self.change(|state| {
            state.replay(&ancestors);
            !state.refuses && state.apply(&block)
        })
    }

    async fn finalized(&self, block: OrderedBlock) {
        self.change(|state| {
            let height = state.chain.last().map_or(0, |block| block.height);
            if block.height <= height {
                let index = usize::try_from(block.height - 1).unwrap();
                assert_eq!(state.chain[index], block, "a final block never changes");
                state.redelivered += 1;
                return;
            }
            assert_eq!(block.height, height + 1, "final blocks come in order");
            assert!(state.apply(&block), "a final block follows the rules");
            for entry in decode(&block.payload) {
                state.pool.remove(&entry);
            }
            state.chain.push(block);
        });
    }

    fn relayed(&self, from: usize, message: Bytes) {
        self.change(|state| state.relayed.push((from, message)));
    }

    fn fault(&self, fault: EngineFault) {
        self.change(|state| state.faults.push(fault));
    }
}
