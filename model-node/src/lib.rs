//! One owner's worker: batches, infers, and signs ballots that it never contradicts.
//!
//! ```text
//! InferRequest ─admission─▶ batch ─journal─▶ new requests ─Pool─▶ votes ─journal─▶ Ballot
//! Coordinator.Follow ─follow─▶ LedgerView ─standing─▶ may our ballots count?
//! ```
//!
//! * A request's input is the one that the request commits to, or the batch is refused ([`admission`]).
//! * Inputs of concurrent batches share runs of the model ([`batcher`], [`pool`]).
//! * No ballot leaves before its votes are durable, and the first vote on a request stands ([`journal`]).
//! * Decisions are pure and take the time as an argument; clocks, sockets, threads and files are at the edges.
//!
//! A node is [`serve`]d from a [`NodeConfig`], or [`Node::start`]ed with any [`Model`].

pub mod admission;
pub mod batcher;
pub mod config;
mod follow;
pub mod journal;
mod metrics;
pub mod model;
pub mod node;
pub mod plan;
pub mod pool;
mod registrar;
mod service;
pub mod siblings;
pub mod standing;
#[cfg(test)]
mod testing;
pub mod zoo;

pub use config::{ConfigError, NodeConfig, Settings};
pub use metrics::Metrics;
pub use model::{Model, ModelCard, ModelError, Output, Unusable};
pub use node::{Node, NodeError, serve};
