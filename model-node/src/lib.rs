//! One owner's worker: batches, infers, and signs ballots that it never contradicts.
//!
//! ```text
//! InferRequest ─admission─▶ batch ─journal─▶ new requests ─Pool─▶ votes ─journal─▶ Ballot
//! Coordinator.Follow ──▶ LedgerView ─standing─▶ may our ballots count, and with which version?
//!                               ├─orders, plan─▶ Fleet: load, serve, unload
//!                               └─errand─▶ Clerk: register, publish, activate, withdraw
//! ```
//!
//! * A request's input is the one that the request commits to, or the batch is refused ([`admission`]).
//! * Inputs of concurrent batches share runs of the model ([`batcher`], [`pool`]).
//! * No ballot leaves before its votes are durable, and the first vote on a request stands ([`journal`]), whichever of
//!   the owner's nodes gave it ([`siblings`]).
//! * The ledger says which version is served; the node has it in memory by then ([`plan`], [`fleet`]).
//! * Decisions are pure and take the time as an argument; clocks, sockets, threads and files are at the edges.
//!
//! A node is [`serve`]d from a [`NodeConfig`], or [`Node::start`]ed with any [`Model`].

pub mod admission;
pub mod batcher;
mod clerk;
pub mod config;
pub mod errand;
pub mod fleet;
pub mod journal;
pub mod library;
pub mod memory;
mod metrics;
pub mod model;
pub mod node;
pub mod plan;
pub mod pool;
pub mod probe;
mod service;
mod serving;
pub mod siblings;
pub mod standing;
mod steward;
#[cfg(test)]
mod testing;
pub mod zoo;

pub use config::{ConfigError, NodeConfig, Settings};
pub use metrics::Metrics;
pub use model::{Model, ModelCard, ModelError, Output, Unusable};
pub use node::{Node, NodeError, serve};
