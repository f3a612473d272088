//! The gateway: admits requests, fans them out, collects ballots and assembles certificates.
//!
//! ```text
//! HTTP ─▶ Ask ─mint▶ Minted ─Lane/Batcher▶ Round ─Collector▶ Claim ─settle▶ Answer ─▶ HTTP
//!                     fan out to model nodes ─┘ └─ ballots       └─ committee, quorum, certificate
//! ```
//!
//! Decisions are pure: batching, collecting, minting, quorums take time and randomness as arguments. A gateway holds
//! nothing that must survive it: what was decided is in the ledger, and any other gateway can fetch it.

mod ask;
mod assemble;
mod batch;
mod collect;
mod config;
mod coordinators;
mod core;
mod directory;
mod elements;
mod entries;
mod evidence;
mod experience;
mod finding;
mod gateway;
mod governance;
mod grpc;
mod http;
mod lane;
mod lanes;
mod late;
mod market;
mod metrics;
mod mint;
mod needed;
mod nodes;
mod options;
mod picture;
mod pressure;
mod quorum;
mod round;
mod schema;
mod settle;
mod show;
mod trusted;

pub use config::{ConfigError, CoordinatorAddress, GatewayConfig, Limits};
pub use gateway::{Gateway, GatewayError, serve};
