//! What an engine is told at its start, and the bounds that it keeps.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use commonware_codec::{Copying, DecodeExt as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_utils::TryCollect as _;
use commonware_utils::ordered::Set;

use crate::Error;

/// Payload bytes of one block at most, unless configured otherwise.
pub const BLOCK_SIZE_BYTES_MAX: usize = 1 << 20;
/// How long a view waits for its leader's block, unless configured otherwise.
pub const LEADER_TIMEOUT_MS: u64 = 1_000;
/// Bytes of one relayed message at most, unless configured otherwise.
pub const RELAY_SIZE_BYTES_MAX: usize = 256 << 10;
/// Relayed messages per second and peer at most, unless configured otherwise.
pub const RELAY_MESSAGES_PER_S_MAX: u32 = 500;
/// Threads that run the engine's tasks, unless configured otherwise.
pub const WORKER_THREADS: usize = 2;

/// The shortest leader timeout that leaves a leader time to speak.
const LEADER_TIMEOUT_MS_MIN: u64 = 50;
/// Block and message bounds beyond this are mistakes: every peer would have to buffer them.
const SIZE_BYTES_MAX: usize = 64 << 20;
/// Committees beyond this are mistakes: votes are counted in one certificate of n signatures.
const PEERS_MAX: usize = 128;
/// A namespace is hashed into every signature: keep it short.
const NAMESPACE_BYTES_MAX: usize = 128;

/// A coordinator as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its Ed25519 engine key.
    pub key: [u8; 32],
    /// Where it listens.
    pub address: SocketAddr,
}

/// Everything that an engine is told at its start.
///
/// All peers must be given the same namespace, genesis digest, peers (in any order of their own), block and
/// relay sizes. `block_size_bytes_max` must never shrink on a storage directory that holds blocks.
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
    /// A directory that is the engine's alone. It holds the vote journal: losing or restoring it is amnesia.
    pub storage_dir: PathBuf,
    /// Payload bytes of one block at most.
    pub block_size_bytes_max: usize,
    /// How long a view waits for its leader's block. An idle leader gives up its turn a little earlier.
    pub leader_timeout_ms: u64,
    /// Bytes of one relayed message at most.
    pub relay_size_bytes_max: usize,
    /// Relayed messages per second and peer at most, sent and received; memory follows it.
    pub relay_messages_per_s_max: u32,
    /// Threads that run the engine's tasks.
    pub worker_threads: usize,
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
            worker_threads: WORKER_THREADS,
        }
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("peers", &self.peers)
            .field("listen", &self.listen)
            .field("storage_dir", &self.storage_dir)
            .finish_non_exhaustive()
    }
}

/// The public half of an engine key, as it is listed in [`Peer::key`].
pub fn public_key(key_seed: &[u8; 32]) -> [u8; 32] {
    let key = private_key(key_seed).public_key();
    key.as_ref().try_into().expect("Ed25519 keys have 32 bytes")
}

fn private_key(seed: &[u8; 32]) -> PrivateKey {
    PrivateKey::decode(Copying(seed)).expect("any 32 bytes are an Ed25519 seed")
}

/// The committee, parsed: whoever holds one knows that its keys are valid and distinct.
#[derive(Clone)]
pub(crate) struct Committee {
    /// In committee order.
    pub(crate) keys: Vec<PublicKey>,
    /// In the library's own order, by key.
    pub(crate) sorted: Set<PublicKey>,
}

impl Committee {
    pub(crate) fn parse(keys: &[[u8; 32]]) -> Result<Self, Error> {
        if keys.is_empty() || keys.len() > PEERS_MAX {
            return Err(config(format!("a committee has 1 to {PEERS_MAX} peers, not {}", keys.len())));
        }
        let keys = keys
            .iter()
            .enumerate()
            .map(|(index, key)| {
                PublicKey::decode(Copying(key)).map_err(|_| config(format!("peer {index}'s key is no Ed25519 key")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let sorted = keys.iter().cloned().try_collect().map_err(|_| config("two peers have the same key".into()))?;
        Ok(Self { keys, sorted })
    }

    /// A peer's place in committee order.
    pub(crate) fn index(&self, key: &PublicKey) -> Option<usize> {
        self.keys.iter().position(|candidate| candidate == key)
    }
}

/// The durations that one leader timeout determines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When a leader that finds its parent not yet final helps it with an empty block.
    pub(crate) settle: Duration,
    /// When an idle leader gives up its turn.
    pub(crate) turn: Duration,
    /// When the others give up a leader.
    pub(crate) leader: Duration,
    /// When a view that has a proposal is given up.
    pub(crate) certification: Duration,
    /// How often a stuck view repeats its vote to leave.
    pub(crate) retry: Duration,
    /// How long a peer must be silent to be passed over as leader.
    pub(crate) inactive: Duration,
}

impl Timing {
    pub(crate) fn new(leader_timeout_ms: u64) -> Self {
        let leader = Duration::from_millis(leader_timeout_ms);
        Self {
            settle: leader / 4,
            // The margin covers the spread of the peers' entries into a view.
            turn: leader * 9 / 10,
            leader,
            certification: leader * 3 / 2,
            retry: leader,
            inactive: leader * 3,
        }
    }
}

/// A configuration, parsed.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) committee: Committee,
    pub(crate) me: PrivateKey,
    pub(crate) scheme: Scheme,
    /// What votes are signed under.
    pub(crate) scheme_namespace: Vec<u8>,
    pub(crate) genesis_digest: [u8; 32],
    pub(crate) block_size_bytes_max: usize,
    pub(crate) relay_size_bytes_max: usize,
    pub(crate) relay_messages_per_s_max: u32,
    pub(crate) timing: Timing,
    /// Tells replicas that share one storage apart; empty where each has its own.
    pub(crate) partition_prefix: String,
}

impl Setup {
    pub(crate) fn parse(given: &EngineConfig) -> Result<Self, Error> {
        if given.namespace.is_empty() || given.namespace.len() > NAMESPACE_BYTES_MAX {
            return Err(config(format!("a namespace has 1 to {NAMESPACE_BYTES_MAX} bytes")));
        }
        for (name, size) in
            [("block_size_bytes_max", given.block_size_bytes_max), ("relay_size_bytes_max", given.relay_size_bytes_max)]
        {
            if size == 0 || size > SIZE_BYTES_MAX {
                return Err(config(format!("{name} is 1 to {SIZE_BYTES_MAX}, not {size}")));
            }
        }
        if given.leader_timeout_ms < LEADER_TIMEOUT_MS_MIN {
            return Err(config(format!("leader_timeout_ms is at least {LEADER_TIMEOUT_MS_MIN}")));
        }
        if given.relay_messages_per_s_max == 0 || given.worker_threads == 0 {
            return Err(config("relay_messages_per_s_max and worker_threads are at least 1".into()));
        }
        if given.listen.port() == 0 {
            return Err(config("listen needs a port that the peers know, not 0".into()));
        }
        let keys: Vec<_> = given.peers.iter().map(|peer| peer.key).collect();
        let committee = Committee::parse(&keys)?;
        let me = private_key(&given.key_seed);
        let scheme_namespace = votes_namespace(&given.namespace);
        let scheme = Scheme::signer(&scheme_namespace, committee.sorted.clone(), me.clone())
            .ok_or_else(|| config("our engine key is not among the peers' keys".into()))?;
        Ok(Self {
            committee,
            me,
            scheme,
            scheme_namespace,
            genesis_digest: given.genesis_digest,
            block_size_bytes_max: given.block_size_bytes_max,
            relay_size_bytes_max: given.relay_size_bytes_max,
            relay_messages_per_s_max: given.relay_messages_per_s_max,
            timing: Timing::new(given.leader_timeout_ms),
            partition_prefix: String::new(),
        })
    }
}

impl Setup {
    /// Where the library keeps our votes.
    pub(crate) fn votes_partition(&self) -> String {
        format!("{}votes", self.partition_prefix)
    }

    /// Where it keeps what a follower sees.
    pub(crate) fn follower_partition(&self) -> String {
        format!("{}follower", self.partition_prefix)
    }

    /// Verifies as we do, and signs nothing.
    pub(crate) fn follower(&self) -> Scheme {
        let (namespace, committee) = (self.scheme_namespace.as_slice(), self.committee.sorted.clone());
        Scheme::member(namespace, committee, &self.me.public_key()).expect("our key is in the committee")
    }
}

/// What votes are signed under: never what handshakes are signed under, as both use one key.
pub(crate) fn votes_namespace(namespace: &[u8]) -> Vec<u8> {
    [namespace, b"/votes"].concat()
}

/// What handshakes are signed under.
pub(crate) fn transport_namespace(namespace: &[u8]) -> Vec<u8> {
    [namespace, b"/transport"].concat()
}

fn config(what: String) -> Error {
    Error::Config(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> EngineConfig {
        let address = "127.0.0.1:1".parse().unwrap();
        let peers = (0..4).map(|index| Peer { key: public_key(&[index; 32]), address }).collect();
        EngineConfig::new(b"test".to_vec(), [0; 32], [1; 32], peers, address, "x".into())
    }

    #[test]
    fn each_mistake_is_refused() {
        assert!(Setup::parse(&valid()).is_ok());
        let refused = |change: fn(&mut EngineConfig)| {
            let mut config = valid();
            change(&mut config);
            matches!(Setup::parse(&config), Err(Error::Config(_)))
        };
        assert!(refused(|config| config.namespace.clear()));
        assert!(refused(|config| config.peers.clear()));
        assert!(refused(|config| config.peers[2] = config.peers[3].clone()));
        assert!(refused(|config| config.peers[0].key = [2; 32]));
        assert!(refused(|config| config.key_seed = [9; 32]));
        assert!(refused(|config| config.block_size_bytes_max = 0));
        assert!(refused(|config| config.relay_size_bytes_max = usize::MAX));
        assert!(refused(|config| config.relay_messages_per_s_max = 0));
        assert!(refused(|config| config.leader_timeout_ms = 1));
        assert!(refused(|config| config.worker_threads = 0));
        assert!(refused(|config| config.listen.set_port(0)));
    }

    #[test]
    fn committee_order_is_the_callers() {
        let keys: Vec<_> = [3, 1, 2].map(|seed| public_key(&[seed; 32])).to_vec();
        let committee = Committee::parse(&keys).unwrap();
        for (index, key) in committee.keys.iter().enumerate() {
            assert_eq!(key.as_ref(), keys[index]);
            assert_eq!(committee.index(key), Some(index));
        }
    }
}
