//! Executing blocks: a pure function from a state and entries to leaves, a header and the next state.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::ballot::ballots_root;
use dropbear_certificates::merkle::Frontier;
use dropbear_certificates::policy::{Agreement, Sealed};
use dropbear_certificates::{Ballot, Digest, Genesis, Header, Record};

use crate::block::{BLOCK_LEAVES_MAX, BlockInfo, activate_leaf, publish_leaf};
use crate::entry::{Checked, Entry, Submission, SubmittedRequest};
use crate::ids::{Buckets, Decided};
use crate::refusal::{Place, Refused};
use crate::registry::{Group, Registry};
use crate::tree::LeafTree;

/// What never changes while a config epoch lasts.
#[derive(Debug)]
pub struct Market {
    /// The genesis.
    pub genesis: Genesis,
    /// Its digest.
    pub digest: Digest,
    /// The committee's config digest.
    pub config: Digest,
}

impl Market {
    /// The market of this genesis.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self { digest: genesis.digest(), config: genesis.committee.digest(), genesis }
    }
}

/// The state after a block, but for the decided ids, which [`crate::chain`] keeps.
#[derive(Clone, Debug)]
pub struct State {
    /// Groups, versions, activations.
    pub registry: Arc<Registry>,
    registry_digest: Digest,
    buckets: Buckets,
    /// The ledger tree over all headers so far.
    pub ledger: Frontier,
    /// The last block's seq; 0 before the first.
    pub seq: u64,
    /// The last block's agreed time.
    pub agreed_ms: u64,
    /// Digest of the last header's bytes; the genesis digest before the first.
    pub parent: Digest,
}

/// Looks up where a request id was decided, before the block that is executing.
pub trait Decisions {
    /// The place of the id's outcome.
    fn decided(&self, id: &Digest) -> Option<Place>;
}

/// How one request of a submission fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestResult {
    /// Its outcome is recorded at this leaf.
    Recorded(u64),
    /// It is not recorded.
    Refused(Refused),
}

/// How one entry fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryResult {
    /// The entry.
    pub entry: Digest,
    /// For a submission, one result per request; for others none.
    pub requests: Vec<RequestResult>,
    /// First leaf of the entry, and how many it has.
    pub leaves: (u64, u64),
}

/// A block, executed.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The header that coordinators attest.
    pub header: Header,
    /// Every leaf of the record tree.
    pub leaves: Vec<Vec<u8>>,
    /// The record tree.
    pub tree: LeafTree,
    /// One result per entry.
    pub results: Vec<EntryResult>,
    /// Ids decided in the block.
    pub decided: BTreeMap<Digest, Decided>,
    /// The state after it.
    pub state: State,
}

impl State {
    /// The state before the first block.
    #[must_use]
    pub fn new(market: &Market) -> Self {
        let registry = Registry::new(&market.genesis);
        Self {
            registry_digest: registry.digest(),
            registry: Arc::new(registry),
            buckets: Buckets::default(),
            ledger: Frontier::default(),
            seq: 0,
            agreed_ms: market.genesis.created_ms,
            parent: market.digest,
        }
    }
}

/// Builds one block: entries are offered in order, each applied whole or refused without a trace.
pub struct Execution<'a> {
    market: &'a Market,
    before: &'a dyn Decisions,
    state: State,
    agreed_ms: u64,
    seq: u64,
    leaves: Vec<Vec<u8>>,
    results: Vec<EntryResult>,
    decided: BTreeMap<Digest, Decided>,
}

impl std::fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execution").field("seq", &self.seq).field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}

impl<'a> Execution<'a> {
    /// Begins the block after `state`.
    #[must_use]
    pub fn new(market: &'a Market, state: &State, before: &'a dyn Decisions, agreed_ms: u64) -> Self {
        let mut state = state.clone();
        state.buckets.prune(agreed_ms);
        let seq = state.seq + 1;
        // Leaf 0 is the block info, which is known only at the end.
        let leaves = vec![Vec::new()];
        Self { market, before, state, agreed_ms, seq, leaves, results: Vec::new(), decided: BTreeMap::new() }
    }

    /// Leaves so far.
    #[must_use]
    pub fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// Applies an entry.
    ///
    /// # Errors
    /// [`Refused`] if nothing of it applies; the block is then as before.
    pub fn apply(&mut self, entry: &Checked) -> Result<(), Refused> {
        let first = self.leaves.len() as u64;
        let requests = match entry.entry() {
            Entry::Submission(submission) => self.submission(submission, entry.request_ids())?,
            Entry::Publish(publish, signature) => {
                self.change_registry(|registry, _| registry.publish(publish))?;
                self.leaves.push(publish_leaf(publish, signature, self.seq, first));
                Vec::new()
            }
            Entry::Activate(activate, signature) => {
                self.change_registry(|registry, seq| registry.activate(activate, seq))?;
                self.leaves.push(activate_leaf(activate, signature, self.seq, first));
                Vec::new()
            }
        };
        let count = self.leaves.len() as u64 - first;
        self.results.push(EntryResult { entry: entry.digest(), requests, leaves: (first, count) });
        Ok(())
    }

    fn change_registry(
        &mut self,
        change: impl FnOnce(&mut Registry, u64) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        if self.leaves.len() >= BLOCK_LEAVES_MAX {
            return Err(Refused::BlockFull);
        }
        let mut registry = (*self.state.registry).clone();
        change(&mut registry, self.seq)?;
        self.state.registry_digest = registry.digest();
        self.state.registry = Arc::new(registry);
        Ok(())
    }

    fn submission(&mut self, submission: &Submission, ids: &[Digest]) -> Result<Vec<RequestResult>, Refused> {
        let registry = Arc::clone(&self.state.registry);
        if !registry.is_gateway(&submission.gateway) {
            return Err(Refused::UnknownGateway);
        }
        let group = registry.group(&submission.group).ok_or(Refused::UnknownGroup)?;
        if group.charter_digest() != submission.charter {
            return Err(Refused::StaleCharter);
        }
        if self.leaves.len() + ids.len() > BLOCK_LEAVES_MAX {
            return Err(Refused::BlockFull);
        }
        let counted = self.counted_ballots(group, submission)?;
        let of_batch = Batch {
            group,
            stale: submission.ballots.len() - counted.len(),
            ballots: ballots_root(counted.iter().map(|(_, ballot)| *ballot)),
            model_set: group.model_set(self.seq).digest(),
            counted,
        };
        let mut results = Vec::with_capacity(ids.len());
        for (place, (submitted, id)) in submission.requests.iter().zip(ids).enumerate() {
            results.push(match self.request(&of_batch, submitted, id, place) {
                Ok(leaf) => RequestResult::Recorded(leaf),
                Err(refused) => RequestResult::Refused(refused),
            });
        }
        match results.as_slice() {
            results if results.iter().any(|result| matches!(result, RequestResult::Recorded(_))) => {}
            [RequestResult::Refused(only)] => return Err(*only),
            _ => return Err(Refused::Nothing),
        }
        Ok(results)
    }

    /// The ballots that count here, by roster place: of current versions and not expired. Others are dropped alone.
    fn counted_ballots<'b>(
        &self,
        group: &Group,
        submission: &'b Submission,
    ) -> Result<Vec<(usize, &'b Ballot)>, Refused> {
        let mut counted = Vec::with_capacity(submission.ballots.len());
        for ballot in &submission.ballots {
            let place = group.charter().place(&ballot.statement.owner).ok_or(Refused::NotOnRoster)?;
            let current = group.current(place, self.seq);
            let is_current = current.is_some_and(|version| version.digest == ballot.statement.version);
            if is_current && ballot.statement.expiry_ms >= self.agreed_ms {
                counted.push((place, ballot));
            }
        }
        counted.sort_unstable_by_key(|(place, _)| *place);
        Ok(counted)
    }

    fn request(
        &mut self,
        batch: &Batch<'_>,
        submitted: &SubmittedRequest,
        id: &Digest,
        place: usize,
    ) -> Result<u64, Refused> {
        let request = &submitted.request;
        let here = self.decided.get(id).map(|decided| decided.place);
        if let Some(decided) = here.or_else(|| self.before.decided(id)) {
            return Err(Refused::AlreadyDecided(decided));
        }
        if request.expiry_ms < self.agreed_ms {
            return Err(Refused::Expired);
        }
        if request.expiry_ms > self.agreed_ms + self.market.genesis.rules.request_lifetime_ms_max {
            return Err(Refused::ExpiryTooFar);
        }
        let policy = batch.group.charter().policy;
        if request.demand > policy.strongest() {
            return Err(Refused::DemandTooStrong);
        }
        let agreement = batch.agreement(place);
        let Some(sealed) = agreement.seal(policy, request.demand, &submitted.vote_salt) else {
            let missing = batch.group.charter().roster.len() - agreement.groups.counts().iter().sum::<usize>();
            return Err(Refused::Insufficient { counted: batch.counted.len(), stale: batch.stale, missing });
        };
        let leaf_index = self.leaves.len() as u64;
        let record = self.record(batch, submitted, *id, sealed, leaf_index);
        self.leaves.push(record.to_bytes());
        let place = Place { seq: self.seq, leaf_index };
        let decided = Decided { id: *id, expiry_ms: request.expiry_ms, place };
        self.state.buckets.push(&decided);
        self.decided.insert(*id, decided);
        Ok(leaf_index)
    }

    fn record(
        &self,
        batch: &Batch<'_>,
        submitted: &SubmittedRequest,
        id: Digest,
        sealed: Sealed,
        leaf_index: u64,
    ) -> Record {
        let (charter, request) = (batch.group.charter(), &submitted.request);
        Record {
            genesis: self.market.digest,
            epoch: self.market.genesis.committee.epoch,
            config: self.market.config,
            group: charter.group.clone(),
            charter: batch.group.charter_digest(),
            model_set: batch.model_set,
            request: id,
            commitment: request.commitment,
            expiry_ms: request.expiry_ms,
            origin: request.origin,
            policy: charter.policy,
            owners: charter.roster.len(),
            faults: charter.fault_bound(),
            demand: request.demand,
            votes: sealed.votes,
            support: sealed.support,
            outcome: sealed.outcome,
            result: sealed.result,
            assurance: sealed.assurance,
            ballots: batch.ballots,
            seq: self.seq,
            leaf_index,
            agreed_ms: self.agreed_ms,
        }
    }

    /// Ends the block.
    #[must_use]
    pub fn finish(mut self) -> Executed {
        let state_digest = Digest::tagged(
            "dropbear/state/v1",
            &[self.state.registry_digest.as_bytes(), self.state.buckets.digest().as_bytes()],
        );
        let info = BlockInfo {
            seq: self.seq,
            parent: self.state.parent,
            agreed_ms: self.agreed_ms,
            entries: self.results.len() as u64,
            state: state_digest,
        };
        self.leaves[0] = info.to_bytes();
        let tree = LeafTree::new(&self.leaves);
        let header = Header {
            genesis: self.market.digest,
            epoch: self.market.genesis.committee.epoch,
            config: self.market.config,
            seq: self.seq,
            tree_size: self.leaves.len() as u64,
            ledger_root: self.state.ledger.root(),
            governance_seq: 0,
            agreed_ms: self.agreed_ms,
            record_root: tree.root(),
        };
        let mut state = self.state;
        state.seq = self.seq;
        state.agreed_ms = self.agreed_ms;
        state.parent = Digest::of(&header.to_bytes());
        state.ledger.push(header.leaf());
        Executed { header, leaves: self.leaves, tree, results: self.results, decided: self.decided, state }
    }
}

/// What all requests of one submission share.
struct Batch<'a> {
    group: &'a Group,
    counted: Vec<(usize, &'a Ballot)>,
    stale: usize,
    ballots: Digest,
    model_set: Digest,
}

impl Batch<'_> {
    /// What the policy makes of the request at `place` in the batch.
    fn agreement(&self, place: usize) -> Agreement {
        let charter = self.group.charter();
        let mut votes = vec![None; charter.roster.len()];
        for (owner, ballot) in &self.counted {
            votes[*owner] = ballot.answers.get(place).map(|answer| answer.vote.clone());
        }
        charter.combine(&votes)
    }
}
