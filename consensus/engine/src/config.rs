//! What an engine is told at its start, and the bounds that it keeps.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Payload bytes of one block at most, unless configured otherwise.
pub const BLOCK_SIZE_BYTES_MAX: usize = 1 << 20;
/// How long a view waits for its leader's block, unless configured otherwise.
pub const LEADER_TIMEOUT_MS: u64 = 1_000;
/// Bytes of one relayed message at most, unless configured otherwise.
pub const RELAY_SIZE_BYTES_MAX: usize = 64 << 10;
/// Relayed messages per second and peer at most, unless configured otherwise.
pub const RELAY_MESSAGES_PER_S_MAX: u32 = 200;

/// A coordinator as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its Ed25519 engine key.
    pub key: [u8; 32],
    /// Where it listens.
    pub address: SocketAddr,
}

/// Everything that an engine is told at its start.
#[derive(Clone)]
pub struct EngineConfig {
    /// Separates this committee's votes and handshakes from every other's; derived from genesis and epoch.
    pub namespace: Vec<u8>,
    /// The chain's root: replicas that differ in it never agree.
    pub genesis_digest: [u8; 32],
    /// The seed of our Ed25519 engine key, whose public half is among `peers`.
    pub key_seed: [u8; 32],
    /// The committee, ourselves included, in committee order: the order in which peers are numbered.
    pub peers: Vec<Peer>,
    /// Where we listen.
    pub listen: SocketAddr,
    /// A directory that is the engine's alone.
    pub storage_dir: PathBuf,
    /// Payload bytes of one block at most; the same on every peer.
    pub block_size_bytes_max: usize,
    /// How long a view waits for its leader's block.
    pub leader_timeout_ms: u64,
    /// Bytes of one relayed message at most; the same on every peer.
    pub relay_size_bytes_max: usize,
    /// Relayed messages per second and peer at most.
    pub relay_messages_per_s_max: u32,
}

impl EngineConfig {
    /// A configuration with the default bounds.
    pub fn new(
        namespace: Vec<u8>,
        genesis_digest: [u8; 32],
        key_seed: [u8; 32],
        peers: Vec<Peer>,
        listen: SocketAddr,
        storage_dir: PathBuf,
    ) -> Self {
        Self {
            namespace,
            genesis_digest,
            key_seed,
            peers,
            listen,
            storage_dir,
            block_size_bytes_max: BLOCK_SIZE_BYTES_MAX,
            leader_timeout_ms: LEADER_TIMEOUT_MS,
            relay_size_bytes_max: RELAY_SIZE_BYTES_MAX,
            relay_messages_per_s_max: RELAY_MESSAGES_PER_S_MAX,
        }
    }
}
