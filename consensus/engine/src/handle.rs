//! Starting an engine, and what its owner then holds.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;

use crate::{EngineConfig, Replica};

/// A running engine, as its owner sees it.
pub trait Ordering: Send + Sync {
    /// Sends `message` to every peer: best effort, dropped beyond the configured size and rate.
    fn relay(&self, message: Bytes);

    /// Asks the engine to stop; returns at once. [`Handle::join`] waits for it.
    fn stop(&self);
}

/// A running engine. Dropping it asks the engine to stop without waiting.
#[derive(Debug)]
pub struct Handle {}

impl Handle {
    /// Waits until the engine ended. Blocks the thread: call it outside of async code.
    pub fn join(self) -> Result<(), Error> {
        Ok(())
    }
}

impl Ordering for Handle {
    fn relay(&self, _message: Bytes) {}

    fn stop(&self) {}
}

/// Why an engine did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("engine configuration: {0}")]
    Config(String),
    /// The listen address cannot be had.
    #[error("cannot listen on {address} (is another coordinator running there?): {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The storage directory cannot be used.
    #[error("cannot use storage directory {path}: {source}")]
    Storage {
        /// The directory asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine's thread ended without being asked to.
    #[error("the ordering engine ended: {0}")]
    Ended(String),
}

/// Starts an engine on its own threads, ordering for `replica`.
pub fn start(config: EngineConfig, replica: impl Replica) -> Result<Handle, Error> {
    drop((config, replica));
    Ok(Handle {})
}
