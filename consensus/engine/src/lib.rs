//! The ordering engine: commonware simplex behind our own narrow trait.

mod block;
mod config;
mod handle;
mod replica;

pub use block::OrderedBlock;
pub use config::{
    BLOCK_SIZE_BYTES_MAX, EngineConfig, LEADER_TIMEOUT_MS, Peer, RELAY_MESSAGES_PER_S_MAX,
    RELAY_SIZE_BYTES_MAX,
};
pub use handle::{Error, Handle, Ordering, start};
pub use replica::{EngineFault, FaultKind, Replica};
