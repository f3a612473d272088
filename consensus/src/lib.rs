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

pub use attestor::{AttestError, Attestor};
pub use block::{CheckedProposal, Proposal};
pub use chain::{BlockId, Chain};
pub use entry::{Activate, Checked, Entry, Invalid, Publish, Submission, SubmittedRequest};
pub use pool::{Pool, PoolFull};
pub use refusal::{BlockRefused, Place, Refused};
pub use registry::Registry;
pub use state::{EntryResult, Executed, Market, RequestResult, State};
pub use storage::{EngineTip, Storage, StoredBlock};
pub use tree::LeafTree;
