//! What one coordinator knows: chain, pool, and who waits for which entry. No IO; the lock around it is short.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dropbear_certificates::{Digest, ModelSet, SecretKey};
use dropbear_consensus::{
    AttestError, Attestor, BlockId, BlockRefused, Chain, Checked, CheckedProposal, EngineTip, EntryResult, Executed,
    LeafTree, Place, Pool, PoolFull, Proposal, Refused, StoredBlock,
};
use tokio::sync::oneshot;

use crate::pace::Pace;

/// Final blocks whose outcomes stay in memory for whoever asks a little late.
const RECENT_BLOCKS_MAX: usize = 256;
/// And the bytes that they may take.
const RECENT_BYTES_MAX: usize = 64 << 20;

/// A final block with everything that certificates need of it.
#[derive(Debug)]
pub(crate) struct AttestedBlock {
    pub(crate) stored: StoredBlock,
    pub(crate) tree: LeafTree,
    pub(crate) results: Vec<EntryResult>,
}

impl AttestedBlock {
    /// About what it takes in memory.
    fn size_bytes(&self) -> usize {
        // The tree holds two digests per leaf.
        self.stored.payload.len() + self.stored.leaves.iter().map(|leaf| leaf.len() + 64).sum::<usize>()
    }
}

/// What became of an entry.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It stands in this block, at this place among its entries.
    Applied(Arc<AttestedBlock>, usize),
    /// It does not apply to the final state.
    Refused(Refused),
}

/// A block that became final and is not durable yet.
pub(crate) enum Finalized {
    /// A block with entries.
    Entries {
        /// With its attested header.
        block: Box<AttestedBlock>,
        /// The request ids that it decides.
        decided: Vec<(Digest, Place)>,
        /// Its leaves that are governance entries.
        governance: Vec<u64>,
        /// The model sets that its records name.
        model_sets: Vec<(Digest, ModelSet)>,
        /// How long each of its entries waited in the pool, of those that did.
        waited: Vec<Duration>,
    },
    /// A block without entries.
    Nothing,
}

/// Why a final block cannot be processed; the coordinator must stop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fatal {
    #[error("the committee finalised a block that this coordinator finds invalid: {0}")]
    Block(#[from] BlockRefused),
    #[error("{0}")]
    Attest(#[from] AttestError),
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
    #[error("block {0} of the ledger does not replay to its stored header")]
    Replay(u64),
}

pub(crate) struct Core {
    chain: Chain,
    /// Height of the engine's last final block.
    height: u64,
    pool: Pool,
    pace: Pace,
    attestor: Attestor,
    waiting: BTreeMap<Digest, Vec<oneshot::Sender<Outcome>>>,
    recent: VecDeque<Arc<AttestedBlock>>,
    recent_bytes: usize,
    recent_entries: BTreeMap<Digest, (Arc<AttestedBlock>, usize)>,
}

/// Gives the checked form of an entry's bytes: the pool's if it waits there, else checked now.
pub(crate) fn parse(
    payload: &[u8],
    genesis: &Digest,
    mut waiting: impl FnMut(&[u8]) -> Option<Arc<Checked>>,
) -> Result<CheckedProposal, BlockRefused> {
    CheckedProposal::from_payload(payload, |bytes| match waiting(bytes) {
        Some(entry) => Ok(entry),
        None => dropbear_consensus::chain::check_entry(bytes, genesis).map(Arc::new),
    })
}

impl Core {
    pub(crate) fn new(chain: Chain, pool_bytes_max: usize, patience_ms_max: u64, attestor: Attestor) -> Self {
        Self {
            chain,
            height: 0,
            pool: Pool::new(pool_bytes_max),
            pace: Pace::new(patience_ms_max),
            attestor,
            waiting: BTreeMap::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_entries: BTreeMap::new(),
        }
    }

    /// The seq of the last header that this coordinator attested; 0 if it attested none.
    pub(crate) fn attested_seq(&self) -> u64 {
        self.attestor.last_seq()
    }

    pub(crate) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Height of the engine's last final block.
    pub(crate) const fn height(&self) -> u64 {
        self.height
    }

    /// Takes up the engine's chain where the store left it.
    pub(crate) fn resume_at(&mut self, tip: EngineTip) {
        self.height = tip.height;
        self.chain.resume_at(tip.block);
    }

    pub(crate) fn pool_len(&self) -> usize {
        self.pool.len()
    }

    /// The entry with these bytes if it waits, for a block that contains it.
    pub(crate) fn waiting_entry(&self, bytes: &[u8]) -> Option<Arc<Checked>> {
        self.pool.find(bytes).cloned()
    }

    /// Whether an entry waits or was decided a moment ago.
    pub(crate) fn is_known(&self, entry: &Digest) -> bool {
        self.pool.get(entry).is_some() || self.recent_entries.contains_key(entry)
    }

    /// The name of the entry with these bytes, if it waits: found without hashing them.
    pub(crate) fn waits(&self, bytes: &[u8]) -> Option<Digest> {
        self.pool.find(bytes).map(|entry| entry.digest())
    }

    /// Adds an entry that may wait so long for others; says at once if it does not apply to the final state.
    pub(crate) fn push(
        &mut self,
        entry: Arc<Checked>,
        patience_ms: u64,
        now_ms: u64,
    ) -> Result<Result<(), Refused>, PoolFull> {
        let digest = entry.digest();
        if self.is_known(&digest) {
            return Ok(Ok(()));
        }
        if let Err(refused) = self.chain.would_apply(&entry, now_ms) {
            return Ok(Err(refused));
        }
        self.pool.push(entry)?;
        self.pace.arrived(digest, patience_ms, now_ms);
        Ok(Ok(()))
    }

    /// An entry that waits already should wait no longer than this.
    pub(crate) fn hasten(&mut self, entry: &Digest, patience_ms: u64, now_ms: u64) {
        if self.pool.get(entry).is_some() {
            self.pace.arrived(*entry, patience_ms, now_ms);
        }
    }

    /// Takes an entry out; gives how long it waited, in milliseconds.
    fn gone(&mut self, entry: &Digest, now_ms: u64) -> Option<u64> {
        self.pool.remove(entry);
        self.pace.gone(entry, now_ms)
    }

    /// Tells what becomes of an entry, now or later.
    pub(crate) fn watch(&mut self, entry: Digest) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        match self.recent_entries.get(&entry) {
            Some((block, place)) => drop(sender.send(Outcome::Applied(Arc::clone(block), *place))),
            None => {
                let waiting = self.waiting.entry(entry).or_default();
                waiting.retain(|sender| !sender.is_closed());
                waiting.push(sender);
            }
        }
        receiver
    }

    /// How long the next proposal has to wait; `None` if nothing waits for one.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        self.pace.wait_ms(now_ms)
    }

    /// Builds a block on `parent` from the pool.
    pub(crate) fn build(&mut self, parent: &BlockId, now_ms: u64) -> Option<Proposal> {
        let (proposal, refused) = self.chain.build(parent, now_ms, self.pool.iter().map(|entry| &**entry));
        // On the final tip the verdict stands; no block may follow that would bring another.
        if *parent == self.chain.tip() {
            self.settle(refused.into_iter().map(|(entry, _)| entry), now_ms);
        }
        proposal
    }

    pub(crate) fn execute(
        &mut self,
        parent: BlockId,
        block: BlockId,
        proposal: &CheckedProposal,
        now_ms: Option<u64>,
    ) -> Result<Arc<Executed>, BlockRefused> {
        self.chain.execute(parent, block, proposal, now_ms)
    }

    pub(crate) fn pass(&mut self, parent: BlockId, block: BlockId) -> Result<(), BlockRefused> {
        self.chain.pass(parent, block)
    }

    /// Makes a block final and attests its header, where there is a key. The signature must not leave before the block
    /// is durable.
    pub(crate) fn finalize(
        &mut self,
        tip: EngineTip,
        payload: &Bytes,
        key: Option<&SecretKey>,
        now_ms: u64,
    ) -> Result<Finalized, Fatal> {
        let executed = self.chain.finalize(tip.block)?;
        self.height = tip.height;
        let Some(executed) = executed else { return Ok(Finalized::Nothing) };
        let attestation = match key {
            Some(key) => {
                self.attestor.permit(&executed.header)?;
                Some(executed.header.attest(key))
            }
            None => None,
        };
        let mut waited = Vec::new();
        for result in &executed.results {
            waited.extend(self.gone(&result.entry, now_ms).map(Duration::from_millis));
        }
        // Nobody else holds a block that is final.
        let executed = Arc::unwrap_or_clone(executed);
        let decided = executed.decided.iter().map(|decided| (decided.id, decided.place)).collect();
        let (governance, model_sets) = (executed.governance, executed.model_sets.into_iter().collect());
        let stored = StoredBlock {
            block: tip.block,
            payload: payload.to_vec(),
            header: executed.header,
            leaves: executed.leaves,
            attestation,
        };
        let block = Box::new(AttestedBlock { stored, tree: executed.tree, results: executed.results });
        Ok(Finalized::Entries { block, decided, governance, model_sets, waited })
    }

    /// Puts a block from this coordinator's own ledger back in its place.
    pub(crate) fn replay(&mut self, stored: &StoredBlock, proposal: &CheckedProposal) -> Result<(), Fatal> {
        let executed = self.chain.execute(self.chain.tip(), stored.block, proposal, None)?;
        if executed.header != stored.header || executed.leaves != stored.leaves {
            return Err(Fatal::Replay(stored.header.seq));
        }
        self.chain.finalize(stored.block)?;
        if stored.attestation.is_some() {
            self.attestor.permit(&stored.header)?;
        }
        Ok(())
    }

    /// A block is durable: tells everybody who waits.
    pub(crate) fn durable(&mut self, block: AttestedBlock, now_ms: u64) -> Arc<AttestedBlock> {
        let block = Arc::new(block);
        for (place, result) in block.results.iter().enumerate() {
            self.recent_entries.insert(result.entry, (Arc::clone(&block), place));
            self.tell(&result.entry, &Outcome::Applied(Arc::clone(&block), place));
        }
        self.recent_bytes += block.size_bytes();
        self.recent.push_back(Arc::clone(&block));
        while self.recent.len() > RECENT_BLOCKS_MAX || self.recent_bytes > RECENT_BYTES_MAX && self.recent.len() > 1 {
            let Some(old) = self.recent.pop_front() else { break };
            self.recent_bytes -= old.size_bytes();
            for result in &old.results {
                self.recent_entries.remove(&result.entry);
            }
        }
        let waiting: Vec<_> = self.pool.iter().map(|entry| entry.digest()).collect();
        self.settle(waiting.into_iter(), now_ms);
        self.waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        block
    }

    /// Entries that do not apply to the final state will not apply later: their senders must act.
    fn settle(&mut self, entries: impl Iterator<Item = Digest>, now_ms: u64) {
        for entry in entries {
            let Some(waiting) = self.pool.get(&entry) else { continue };
            if let Err(refused) = self.chain.would_apply(waiting, now_ms) {
                self.gone(&entry, now_ms);
                self.tell(&entry, &Outcome::Refused(refused));
            }
        }
    }

    fn tell(&mut self, entry: &Digest, outcome: &Outcome) {
        for sender in self.waiting.remove(entry).into_iter().flatten() {
            // Whoever stopped waiting needs no answer.
            let _ = sender.send(outcome.clone());
        }
    }

    /// A recent block, from memory.
    pub(crate) fn recent(&self, seq: u64) -> Option<Arc<AttestedBlock>> {
        self.recent.iter().rev().find(|block| block.stored.header.seq == seq).cloned()
    }
}
