//! Building one block: entries are offered in order, each applied whole or refused without a trace.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::ballot::ballots_root;
use dropbear_certificates::policy::Sealed;
use dropbear_certificates::{CharterEntry, Digest, GovernanceEntry, Header, ModelSet, Record, Signature, Vote};

use crate::accounts::{Sums, answered};
use crate::block::{BLOCK_LEAVES_MAX, BlockInfo, statement_leaf};
use crate::entry::{Checked, Commitments, Entry, Statement, Submission, SubmittedRequest};
use crate::ids::{Answered, Decided, DecidedHere, Late};
use crate::refusal::{Place, Refused};
use crate::registry::{Group, Moment, Registry};
use crate::state::judge::{Batch, InForce, Times, group_of};
use crate::state::{Decisions, EntryResult, Executed, Market, RequestResult, State};
use crate::tree::LeafTree;

/// No entry makes more leaves than this, apart from submissions: one, and a charter per group for a changed key.
const STATEMENT_LEAVES_MAX: usize = 2048;

/// Builds one block.
pub struct Execution<'a> {
    market: &'a Market,
    before: &'a dyn Decisions,
    pub(super) state: State,
    pub(super) agreed_ms: u64,
    pub(super) seq: u64,
    pub(super) leaves: Vec<Vec<u8>>,
    results: Vec<EntryResult>,
    decided: DecidedHere,
    pub(super) late: BTreeMap<Digest, Late>,
    governance: Vec<u64>,
    model_sets: BTreeMap<Digest, ModelSet>,
    /// By group: what is in force, and the model set's digest.
    in_force: BTreeMap<String, (Arc<InForce>, Digest)>,
    registry_changed: bool,
    accounts_changed: bool,
}

impl std::fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execution").field("seq", &self.seq).field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}

/// What all requests of one submission share.
struct Shared<'b> {
    batch: Batch<'b>,
    submission: &'b Submission,
    commitments: &'b Commitments,
    ballots: Digest,
    model_set: Digest,
}

impl<'a> Execution<'a> {
    /// Begins the block after `state`.
    #[must_use]
    pub fn new(market: &'a Market, state: &State, before: &'a dyn Decisions, agreed_ms: u64) -> Self {
        let mut state = state.clone();
        state.buckets.prune(agreed_ms);
        Self {
            market,
            before,
            seq: state.seq + 1,
            state,
            agreed_ms,
            // Leaf 0 is the block info, which is known only at the end.
            leaves: vec![Vec::new()],
            results: Vec::new(),
            decided: DecidedHere::default(),
            late: BTreeMap::new(),
            governance: Vec::new(),
            model_sets: BTreeMap::new(),
            in_force: BTreeMap::new(),
            registry_changed: false,
            accounts_changed: false,
        }
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
        let requests = match (entry.entry(), entry.entry().statement()) {
            (Entry::Submission(submission), _) => self.submission(submission, entry)?,
            (Entry::Late(late), _) => {
                self.late_ballots(late, entry)?;
                Vec::new()
            }
            (_, Some((statement, signature))) => {
                self.statement(entry.entry(), statement, signature)?;
                Vec::new()
            }
            (_, None) => return Err(Refused::Nothing),
        };
        let count = self.leaves.len() as u64 - first;
        self.results.push(EntryResult { entry: entry.digest(), requests, leaves: (first, count) });
        Ok(())
    }

    /// Applies an owner's entry or a report: one leaf for the statement, then one for each charter that it enacts.
    fn statement(&mut self, entry: &Entry, statement: &dyn Statement, signature: &Signature) -> Result<(), Refused> {
        if self.leaves.len() + STATEMENT_LEAVES_MAX > BLOCK_LEAVES_MAX {
            return Err(Refused::BlockFull);
        }
        let at = Moment {
            genesis: self.market.digest,
            epoch: self.market.genesis.committee.epoch,
            seq: self.seq,
            agreed_ms: self.agreed_ms,
            leaf_index: self.leaves.len() as u64,
        };
        let charters = Arc::make_mut(&mut self.state.registry).apply(entry, &at)?;
        self.registry_changed = true;
        self.leaves.push(statement_leaf(statement, signature, at.seq, at.leaf_index));
        charters.into_iter().for_each(|charter| self.govern(charter));
        if let Entry::Rekey(rekey, _) = entry {
            Arc::make_mut(&mut self.state.accounts).rename(&rekey.owner, rekey.new_key);
            self.accounts_changed = true;
        }
        Ok(())
    }

    fn govern(&mut self, charter: CharterEntry) {
        self.governance.push(self.leaves.len() as u64);
        self.leaves.push(GovernanceEntry::Charter(charter).to_bytes());
    }

    fn in_force(&mut self, group: &Group) -> Result<(Arc<InForce>, Digest), Refused> {
        if let Some((in_force, models)) = self.in_force.get(group.name()) {
            return Ok((Arc::clone(in_force), *models));
        }
        let in_force = Arc::new(InForce::of(group, self.seq)?);
        let digest = group.model_set(self.seq).digest();
        self.in_force.insert(group.name().to_owned(), (Arc::clone(&in_force), digest));
        Ok((in_force, digest))
    }

    fn submission(&mut self, submission: &Submission, entry: &Checked) -> Result<Vec<RequestResult>, Refused> {
        let ids = entry.request_ids();
        let registry = Arc::clone(&self.state.registry);
        let group = group_of(&registry, submission)?;
        let (in_force, model_set) = self.in_force(group)?;
        let batch = Batch::new(&in_force, submission, self.agreed_ms)?;
        if self.leaves.len() + ids.len() > BLOCK_LEAVES_MAX {
            return Err(Refused::BlockFull);
        }
        let ballots = ballots_root(batch.counted.iter().map(|(_, ballot)| *ballot));
        let shared = Shared { batch, submission, commitments: entry.commitments(), ballots, model_set };
        let mut sums = Sums::new(in_force.charter.roster.len());
        let mut results = Vec::with_capacity(ids.len());
        for (place, (submitted, id)) in submission.requests.iter().zip(ids).enumerate() {
            results.push(match self.request(&shared, submitted, id, place, &mut sums) {
                Ok(leaf) => RequestResult::Recorded(leaf),
                Err(refused) => RequestResult::Refused(refused),
            });
        }
        match results.as_slice() {
            results if results.iter().any(|result| matches!(result, RequestResult::Recorded(_))) => {}
            [RequestResult::Refused(only)] => return Err(*only),
            _ => return Err(Refused::Nothing),
        }
        self.model_sets.entry(model_set).or_insert_with(|| group.model_set(self.seq));
        drop(registry);
        self.account(&in_force.charter, &sums);
        Ok(results)
    }

    pub(super) fn account(&mut self, charter: &dropbear_certificates::Charter, sums: &Sums) {
        let keys = self.state.registry.keys();
        Arc::make_mut(&mut self.state.accounts).add(charter, sums, |key| keys.successor(key).unwrap_or(*key));
        self.accounts_changed = true;
    }

    /// Where this id was decided, and whose ballots came until now.
    pub(super) fn find(&self, id: &Digest, expiry_ms: u64) -> Option<(Place, Answered)> {
        let here = self.decided.get(id).map(|decided| (decided.place, decided.answered));
        let (place, answered) = here.or_else(|| self.before.decided(id, expiry_ms))?;
        Some((place, answered | self.late.get(id).map_or(0, |late| late.answered)))
    }

    fn request(
        &mut self,
        shared: &Shared<'_>,
        submitted: &SubmittedRequest,
        id: &Digest,
        place: usize,
        sums: &mut Sums,
    ) -> Result<u64, Refused> {
        let lifetime_ms_max = self.market.genesis.rules.request_lifetime_ms_max;
        let times = Times { agreed_ms: self.agreed_ms, lifetime_ms_max };
        let decided = self.find(id, submitted.request.expiry_ms).map(|(place, _)| place);
        let agreement = shared.batch.judge(submitted, place, decided, times)?;
        let (policy, demand) = (shared.batch.in_force.charter.policy, submitted.request.demand);
        // Whatever is judged has a terminal outcome.
        let salt = &submitted.vote_salt;
        let commit = |vote: &Vote| shared.commitments.of(shared.submission, place, vote, salt);
        let sealed = agreement.seal_committed(policy, demand, salt, commit).ok_or(Refused::Nothing)?;
        sums.decided(policy, &agreement, sealed.outcome, shared.batch.stale);
        let leaf_index = self.leaves.len() as u64;
        let record = self.record(shared, submitted, *id, sealed, leaf_index);
        self.leaves.push(record.to_bytes());
        let place = Place { seq: self.seq, leaf_index };
        let expiry_ms = submitted.request.expiry_ms;
        let decided = Decided { id: *id, expiry_ms, place, answered: answered(&agreement.groups) };
        self.state.buckets.push(&decided);
        self.decided.push(decided);
        Ok(leaf_index)
    }

    fn record(
        &self,
        shared: &Shared<'_>,
        submitted: &SubmittedRequest,
        id: Digest,
        sealed: Sealed,
        leaf_index: u64,
    ) -> Record {
        let (charter, request) = (&shared.batch.in_force.charter, &submitted.request);
        Record {
            genesis: self.market.digest,
            epoch: self.market.genesis.committee.epoch,
            config: self.market.config,
            group: charter.group.clone(),
            charter: shared.batch.in_force.digest,
            model_set: shared.model_set,
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
            ballots: shared.ballots,
            seq: self.seq,
            leaf_index,
            agreed_ms: self.agreed_ms,
        }
    }

    /// Digest of the state after the block but for headers.
    fn seal(&mut self) -> Digest {
        if std::mem::take(&mut self.registry_changed) {
            let registry: &mut Registry = Arc::make_mut(&mut self.state.registry);
            registry.seal();
            self.state.registry_digest = registry.digest();
        }
        if std::mem::take(&mut self.accounts_changed) {
            self.state.accounts_digest = Arc::make_mut(&mut self.state.accounts).seal();
        }
        let (registry, buckets) = (self.state.registry_digest, self.state.buckets.digest());
        let parts: [&[u8]; 3] = [registry.as_bytes(), buckets.as_bytes(), self.state.accounts_digest.as_bytes()];
        Digest::tagged("dropbear/state/v1", &parts)
    }

    /// Ends the block.
    #[must_use]
    pub fn finish(mut self) -> Executed {
        let info = BlockInfo {
            seq: self.seq,
            parent: self.state.parent,
            agreed_ms: self.agreed_ms,
            entries: self.results.len() as u64,
            state: self.seal(),
        };
        self.leaves[0] = info.to_bytes();
        let tree = LeafTree::new(&self.leaves);
        let governance_seq = if self.governance.is_empty() { self.state.governance_seq } else { self.seq };
        let header = Header {
            genesis: self.market.digest,
            epoch: self.market.genesis.committee.epoch,
            config: self.market.config,
            seq: self.seq,
            tree_size: self.leaves.len() as u64,
            ledger_root: self.state.ledger.root(),
            governance_seq,
            agreed_ms: self.agreed_ms,
            record_root: tree.root(),
        };
        let mut state = self.state;
        state.seq = self.seq;
        state.agreed_ms = self.agreed_ms;
        state.parent = Digest::of(&header.to_bytes());
        state.governance_seq = governance_seq;
        state.ledger.push(header.leaf());
        Executed {
            header,
            leaves: self.leaves,
            tree,
            results: self.results,
            decided: self.decided,
            late: self.late,
            governance: self.governance,
            model_sets: self.model_sets,
            state,
        }
    }
}
