//! The ordering engine: commonware simplex behind our own narrow trait.

mod application;
mod block;
mod config;
mod delivery;
mod evidence;
mod handle;
mod replica;
#[cfg(feature = "sim")]
pub mod sim;
mod stack;
mod status;

pub use block::OrderedBlock;
pub use config::{
    BLOCK_SIZE_BYTES_MAX, EngineConfig, LEADER_TIMEOUT_MS, Peer, RELAY_MESSAGES_PER_S_MAX,
    RELAY_SIZE_BYTES_MAX, WORKER_THREADS, public_key,
};
pub use evidence::check_evidence;
pub use handle::{Error, Handle, Ordering, start};
pub use replica::{EngineFault, FaultKind, Replica};
pub use status::Status;
