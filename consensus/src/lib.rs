//! The ledger's rules: entries, blocks, the registry, the attestor and the store behind a trait.
//!
//! Everything here is a pure function of its arguments: no clock, socket, file, thread or randomness. `coordinator`
//! gives it time and disks; `consensus/engine` decides the order in which it sees blocks.
//!
//! ```text
//! Entry ─check▶ Checked ─Pool─▶ Proposal ─Chain::execute▶ Executed ─Chain::finalize▶ StoredBlock ─Attestor▶ attestation
//! ```
//!
//! * An entry is checked once (signatures, hashes), then executed as often as the engine needs.
//! * An honest replica votes only for blocks in which every entry applies ([`chain::Chain::execute`]).
//! * Every applied entry has a leaf; leaf 0 tells the state after the block; headers form the ledger tree.
//! * One terminal outcome per request id ([`ids`]); only ballots of current versions count ([`registry`]).
//! * Owners change their models and their groups by entries that they sign ([`entry`]); a changed charter is a governance
//!   leaf, by which trust in the genesis reaches it.
//! * What every owner did is counted alike for everybody ([`accounts`]).

pub mod accounts;
pub mod attestor;
pub mod block;
pub mod chain;
pub mod entry;
pub mod ids;
pub mod pool;
pub mod refusal;
pub mod registry;
pub mod state;
pub mod storage;
pub mod tree;

pub use accounts::{Account, Accounts};
pub use attestor::{AttestError, Attestor};
pub use block::{CheckedProposal, Proposal};
pub use chain::{BlockId, Chain};
pub use entry::{
    Activate, Approve, Checked, Endpoints, Entry, Evidence, Invalid, Leave, Propose, Publish, Register, Rekey,
    SignedVote, Statement, Submission, SubmittedRequest, Withdraw,
};
pub use pool::{Pool, PoolFull};
pub use refusal::{BlockRefused, Place, Refused};
pub use registry::Registry;
pub use state::{EntryResult, Executed, Market, RequestResult, State};
pub use storage::{Appended, EngineTip, Storage, StoredBlock};
pub use tree::LeafTree;
