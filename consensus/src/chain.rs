//! The chain: finalised state, and executed blocks that are not final yet.
//!
//! The ordering engine proposes and verifies blocks on parents that may never become final. [`Chain`] executes them on
//! top of each other, forgets the branches that lose, and never changes what is final.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::Digest;

use crate::block::{BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, CheckedProposal, Proposal};
use crate::entry::{Checked, Invalid};
use crate::ids::{Answered, DecidedIds};
use crate::refusal::{BlockRefused, Place, Refused};
use crate::state::{Decisions, Executed, Execution, Market, State, would_apply};

/// The engine's name of a block.
pub type BlockId = [u8; 32];

struct Pending {
    parent: BlockId,
    /// `None` for a block without entries, which the engine makes to help another become final: it has no seq, no
    /// header and no attestation, and the state after it is that before it.
    executed: Option<Arc<Executed>>,
}

/// Finalised state plus executed, unfinalised blocks.
pub struct Chain {
    market: Arc<Market>,
    tip: BlockId,
    state: State,
    decided: DecidedIds,
    pending: BTreeMap<BlockId, Pending>,
    built: Option<Built>,
}

/// What a proposer executed when it built its last block.
struct Built {
    parent: BlockId,
    agreed_ms: u64,
    entries: Vec<Digest>,
    executed: Arc<Executed>,
}

impl Built {
    fn is_of(&self, parent: &BlockId, proposal: &CheckedProposal) -> bool {
        self.parent == *parent
            && self.agreed_ms == proposal.agreed_ms
            && self.entries.iter().copied().eq(proposal.entries.iter().map(|entry| entry.digest()))
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("seq", &self.state.seq)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// Decided ids as seen from one block: those of its unfinalised ancestors, then the final ones.
struct Seen<'a> {
    ancestors: Vec<&'a Executed>,
    decided: &'a DecidedIds,
}

impl Decisions for Seen<'_> {
    fn decided(&self, id: &Digest, expiry_ms: u64) -> Option<(Place, Answered)> {
        let pending = self.ancestors.iter().find_map(|executed| executed.decided.get(id));
        let pending = pending.map(|decided| (decided.place, decided.answered));
        let (place, answered) = pending.or_else(|| self.decided.get(id, expiry_ms))?;
        let late = self.ancestors.iter().filter_map(|executed| executed.late.get(id));
        Some((place, late.fold(answered, |all, late| all | late.answered)))
    }
}

impl Chain {
    /// A chain that begins at `genesis_block`, the engine's name of the block before the first.
    #[must_use]
    pub fn new(market: Arc<Market>, genesis_block: BlockId) -> Self {
        let state = State::new(&market);
        Self {
            market,
            tip: genesis_block,
            state,
            decided: DecidedIds::default(),
            pending: BTreeMap::new(),
            built: None,
        }
    }

    /// The finalised state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The market.
    #[must_use]
    pub const fn market(&self) -> &Arc<Market> {
        &self.market
    }

    /// The engine's name of the last final block.
    #[must_use]
    pub const fn tip(&self) -> BlockId {
        self.tip
    }

    /// Where the request with this id and expiry was decided, in a final block.
    #[must_use]
    pub fn decided(&self, id: &Digest, expiry_ms: u64) -> Option<Place> {
        self.decided.get(id, expiry_ms).map(|(place, _)| place)
    }

    /// Whether the state after this block is at hand.
    #[must_use]
    pub fn knows(&self, block: &BlockId) -> bool {
        *block == self.tip || self.pending.contains_key(block)
    }

    fn at(&self, block: &BlockId) -> Option<(&State, Seen<'_>)> {
        let mut ancestors = Vec::new();
        let mut current = *block;
        while current != self.tip {
            let pending = self.pending.get(&current)?;
            ancestors.extend(pending.executed.as_deref());
            current = pending.parent;
        }
        let state = ancestors.first().map_or(&self.state, |newest| &newest.state);
        Some((state, Seen { ancestors, decided: &self.decided }))
    }

    /// Builds a block on `parent` from as many candidates as fit; `None` if the parent is not known or none applies.
    ///
    /// Candidates that do not apply are named in either case.
    #[must_use]
    pub fn build<'a>(
        &mut self,
        parent: &BlockId,
        now_ms: u64,
        candidates: impl Iterator<Item = &'a Checked>,
    ) -> (Option<Proposal>, Vec<(Digest, Refused)>) {
        let mut refused = Vec::new();
        let Some((state, seen)) = self.at(parent) else { return (None, refused) };
        let agreed_ms = now_ms.max(state.agreed_ms);
        let mut execution = Execution::new(&self.market, state, &seen, agreed_ms);
        let (mut entries, mut digests, mut bytes) = (Vec::new(), Vec::new(), 64);
        // A gateway's entry that is refused leaves no trace here; of owners' entries nobody needs to prove it.
        let mut clean = true;
        for candidate in candidates {
            bytes += candidate.bytes().len() + 9;
            if bytes > BLOCK_BYTES_MAX || entries.len() == BLOCK_ENTRIES_MAX {
                break;
            }
            match execution.apply(candidate) {
                Ok(()) => {
                    entries.push(candidate.bytes().to_vec());
                    digests.push(candidate.digest());
                }
                Err(Refused::BlockFull) => break,
                Err(reason) => {
                    clean &= candidate.entry().statement().is_none();
                    refused.push((candidate.digest(), reason));
                }
            }
        }
        if entries.is_empty() {
            return (None, refused);
        }
        self.built = clean.then(|| {
            let executed = Arc::new(execution.finish());
            Built { parent: *parent, agreed_ms, entries: digests, executed }
        });
        (Some(Proposal { agreed_ms, entries }), refused)
    }

    /// Executes a block on its parent and keeps the result until it is final or abandoned.
    ///
    /// With a `now_ms`, agreed time is held against this replica's clock, as a voter must; a final block is not.
    ///
    /// # Errors
    /// [`BlockRefused`] says why an honest replica does not vote for the block.
    pub fn execute(
        &mut self,
        parent: BlockId,
        block: BlockId,
        proposal: &CheckedProposal,
        now_ms: Option<u64>,
    ) -> Result<Arc<Executed>, BlockRefused> {
        if let Some(known) = self.pending.get(&block).and_then(|known| known.executed.as_ref()) {
            return Ok(Arc::clone(known));
        }
        let built = self.built.take_if(|built| built.is_of(&parent, proposal));
        let (state, seen) = self.at(&parent).ok_or(BlockRefused::UnknownParent(Digest(parent)))?;
        if proposal.agreed_ms < state.agreed_ms {
            return Err(BlockRefused::TimeBackwards);
        }
        let skew_ms = self.market.genesis.rules.clock_skew_ms_max;
        if now_ms.is_some_and(|now_ms| proposal.agreed_ms > now_ms + skew_ms) {
            return Err(BlockRefused::TimeAhead);
        }
        // A proposer has executed its own block already.
        let executed = match built {
            Some(built) => built.executed,
            None => {
                let mut execution = Execution::new(&self.market, state, &seen, proposal.agreed_ms);
                for (place, entry) in proposal.entries.iter().enumerate() {
                    execution.apply(entry).map_err(|reason| BlockRefused::Refused(place, reason))?;
                }
                Arc::new(execution.finish())
            }
        };
        self.pending.insert(block, Pending { parent, executed: Some(Arc::clone(&executed)) });
        Ok(executed)
    }

    /// Takes a block without entries on its parent.
    ///
    /// # Errors
    /// [`BlockRefused::UnknownParent`] if the parent is not known.
    pub fn pass(&mut self, parent: BlockId, block: BlockId) -> Result<(), BlockRefused> {
        if !self.knows(&parent) {
            return Err(BlockRefused::UnknownParent(Digest(parent)));
        }
        self.pending.entry(block).or_insert(Pending { parent, executed: None });
        Ok(())
    }

    /// Moves the tip to a final block without entries above it, of which this replica kept only the name.
    pub fn resume_at(&mut self, tip: BlockId) {
        self.tip = tip;
    }

    /// Whether an entry would apply right after the final tip.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn would_apply(&self, entry: &Checked, now_ms: u64) -> Result<(), Refused> {
        let seen = Seen { ancestors: Vec::new(), decided: &self.decided };
        let agreed_ms = now_ms.max(self.state.agreed_ms);
        would_apply(&self.market, &self.state, &seen, agreed_ms, entry)
    }

    /// Makes an executed child of the tip final, and forgets every branch that does not descend from it. Gives nothing
    /// for a block without entries.
    ///
    /// # Errors
    /// [`BlockRefused::UnknownParent`] if the block is not an executed child of the tip.
    pub fn finalize(&mut self, block: BlockId) -> Result<Option<Arc<Executed>>, BlockRefused> {
        let child = self.pending.get(&block).filter(|pending| pending.parent == self.tip);
        let executed = child.ok_or(BlockRefused::UnknownParent(Digest(block)))?.executed.clone();
        self.pending.remove(&block);
        if let Some(executed) = &executed {
            self.decided.prune(executed.state.agreed_ms);
            for decided in executed.decided.iter() {
                self.decided.push(decided);
            }
            for late in executed.late.values() {
                self.decided.push_late(late);
            }
            self.state = executed.state.clone();
        }
        self.tip = block;
        self.forget_abandoned();
        Ok(executed)
    }

    fn forget_abandoned(&mut self) {
        let descends = |start: &BlockId| {
            let mut current = *start;
            while let Some(pending) = self.pending.get(&current) {
                current = pending.parent;
            }
            current == self.tip
        };
        let abandoned: Vec<_> = self.pending.keys().copied().filter(|block| !descends(block)).collect();
        for block in abandoned {
            self.pending.remove(&block);
        }
    }
}

/// Parses and checks an entry that no cache knows.
///
/// # Errors
/// [`Invalid`], the sender's fault.
pub fn check_entry(bytes: &[u8], genesis: &Digest) -> Result<Checked, Invalid> {
    Checked::from_bytes(bytes.to_vec(), genesis)
}
