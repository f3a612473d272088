//! Executing blocks: a pure function from a state and entries to leaves, a header and the next state.

mod execution;
mod judge;
mod late;
mod preview;

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::merkle::Frontier;
use dropbear_certificates::{Digest, Genesis, Header, ModelSet};

use crate::accounts::Accounts;
use crate::ids::{Answered, Buckets, DecidedHere, Late};
use crate::refusal::{Place, Refused};
use crate::registry::Registry;
use crate::tree::LeafTree;

pub use execution::Execution;
pub use preview::would_apply;

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
    /// What every owner did.
    pub accounts: Arc<Accounts>,
    accounts_digest: Digest,
    buckets: Buckets,
    /// The ledger tree over all headers so far.
    pub ledger: Frontier,
    /// The last block's seq; 0 before the first.
    pub seq: u64,
    /// The last block's agreed time.
    pub agreed_ms: u64,
    /// Digest of the last header's bytes; the genesis digest before the first.
    pub parent: Digest,
    /// Seq of the last block with a governance entry; 0 if there was none.
    pub governance_seq: u64,
}

/// Looks up where a request id was decided, before the block that is executing.
pub trait Decisions {
    /// The place of the outcome of the request with this id and expiry, and whose ballots came until now.
    fn decided(&self, id: &Digest, expiry_ms: u64) -> Option<(Place, Answered)>;
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
    pub decided: DecidedHere,
    /// Late ballots of the block, by request id.
    pub late: BTreeMap<Digest, Late>,
    /// Leaves that are governance entries.
    pub governance: Vec<u64>,
    /// The model sets that the block's records name, by digest.
    pub model_sets: BTreeMap<Digest, ModelSet>,
    /// The state after it.
    pub state: State,
}

impl State {
    /// The state before the first block.
    #[must_use]
    pub fn new(market: &Market) -> Self {
        let registry = Registry::new(&market.genesis);
        let mut accounts = Accounts::default();
        Self {
            registry_digest: registry.digest(),
            registry: Arc::new(registry),
            accounts_digest: accounts.seal(),
            accounts: Arc::new(accounts),
            buckets: Buckets::default(),
            ledger: Frontier::default(),
            seq: 0,
            agreed_ms: market.genesis.created_ms,
            parent: market.digest,
            governance_seq: 0,
        }
    }
}
