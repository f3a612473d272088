//! One ordering replica: engine, ledger, attestor and API wired together.
//!
//! ```text
//! gateway, model node ──gRPC──▶ api ──▶ core (chain, pool) ◀── replica ◀── ordering engine ◀──▶ peers
//!                                 ▲                               │ final block
//!                                 └──── attested outcome ◀── store (durable) ◀─┘
//! ```
//!
//! A signature leaves the process only after the block that it attests is durable.

mod api;
mod config;
mod core;
mod heard;
mod machine;
mod metrics;
mod pace;
mod reader;
mod relayed;
mod replica;
#[cfg(feature = "sim")]
pub mod sim;
mod store;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dropbear_certificates::{Digest, Genesis, PublicKey, SecretKey};
use dropbear_consensus::state::Market;
use dropbear_consensus::{Attestor, Chain, CheckedProposal, Entry, Storage as _};
use dropbear_engine::{EngineConfig, OrderedBlock, Ordering, Peer};
use dropbear_telemetry::serve_metrics;
use dropbear_wire::MESSAGE_BYTES_MAX;
use dropbear_wire::files::{FileError, read_genesis, read_key, read_seed};
use dropbear_wire::listen::{ListenError, loopback};
use dropbear_wire::v1::coordinator_server::CoordinatorServer;
use dropbear_wire::v1::ledger_server::LedgerServer;
use tonic::transport::server::TcpIncoming;
use zeroize::Zeroizing;

pub use config::{ConfigError, CoordinatorConfig};
pub use store::StoreError;

use crate::core::{Core, Fatal};
use crate::machine::Process;
use crate::metrics::{EngineCounts, Metrics};
use crate::replica::LedgerReplica;
use crate::store::Store;

/// Running calls have this long to end when the coordinator stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a coordinator did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// A file that it starts from.
    #[error(transparent)]
    File(#[from] FileError),
    /// The genesis does not know this coordinator.
    #[error("{0}")]
    Identity(String),
    /// The address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored ledger contradicts itself, or going on would.
    #[error("{0}")]
    Ledger(String),
    /// The ordering engine.
    #[error(transparent)]
    Engine(#[from] dropbear_engine::Error),
    /// The API server.
    #[error("the API server failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

impl From<Fatal> for CoordinatorError {
    fn from(fatal: Fatal) -> Self {
        Self::Ledger(fatal.to_string())
    }
}

fn identity_error(problem: &str, name: &str) -> CoordinatorError {
    CoordinatorError::Identity(format!("{problem} for `{name}`: check `name`, the key files and genesis.json"))
}

/// Runs a coordinator until `shutdown` resolves; then it stops taking entries and ends with everything durable.
///
/// `ready` is told the bound API address once the coordinator serves.
///
/// # Errors
/// [`CoordinatorError`] if it cannot start, or must stop because going on could contradict its ledger.
pub async fn serve(
    config: CoordinatorConfig,
    shutdown: impl Future<Output = ()> + Send,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), CoordinatorError> {
    let Identity { genesis, attestation, engine_seed, member } = Identity::read(&config)?;
    let listener = loopback(config.listen).await?;
    let address = listener.local_addr().map_err(|error| ListenError::Bind(config.listen, error))?;

    let market = Arc::new(Market::new(genesis));
    let store = Store::open(&config.data_dir)?;
    let core = resume(&market, &store, config.pool_bytes_max, config.patience_ms_max)?;
    let mut registry = dropbear_telemetry::registry();
    let metrics = Metrics::register(&mut registry);
    let metrics_listener = match config.metrics_listen {
        Some(address) => Some(loopback(address).await?),
        None => None,
    };
    let replica =
        LedgerReplica::new(Arc::clone(&market), attestation, core, store, metrics, Arc::new(Process::current()))?;
    let engine = start_engine(&config, &market, *engine_seed, member, replica.clone()).await?;
    let engine = Arc::new(engine);
    let ordering: Weak<dyn Ordering> = Arc::downgrade(&(Arc::clone(&engine) as _));
    replica.set_ordering(Weak::clone(&ordering));
    registry.register_collector(Box::new(EngineCounts(Weak::clone(&ordering))));
    if let Some(listener) = metrics_listener {
        tokio::spawn(serve_metrics(listener, registry, replica.stopped()));
    }

    let reader = reader::Reader { replica: replica.clone(), member };
    let ledger = LedgerServer::new(reader.clone()).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let api = api::Api { reader, engine: ordering };
    let service = CoordinatorServer::new(api)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut fatal = replica.0.fatal.subscribe();
    ready(address);
    tracing::info!(name = config.name, %address, genesis = %market.digest, "coordinator ready");
    let stop = async {
        tokio::select! {
            () = shutdown => {}
            // A fatal error was reported where it happened.
            _ = fatal.wait_for(Option::is_some) => {}
            () = engine.ended() => tracing::error!("the ordering engine ended by itself"),
        }
        replica.0.stopping.send_replace(true);
    };
    // The server's own setting is for listeners that it makes itself.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .add_service(service)
        .add_service(ledger)
        .serve_with_incoming_shutdown(incoming, stop);
    let mut stopped = std::pin::pin!(replica.stopped());
    let served = tokio::select! {
        served = server => served,
        // Calls that do not end in time are cut off.
        () = async { (&mut stopped).await; tokio::time::sleep(DRAIN_TIMEOUT).await } => Ok(()),
    };
    replica.0.stopping.send_replace(true);
    let ended = stop_engine(engine).await;
    let fatal = replica.0.fatal.borrow().clone();
    release(replica).await;
    if let Some(reason) = fatal {
        return Err(CoordinatorError::Ledger(reason));
    }
    served?;
    ended
}

/// Waits until nobody holds the ledger's file any more, so that whoever starts next can open it.
async fn release(replica: LedgerReplica) {
    let mut held = replica.0.released.subscribe();
    drop(replica);
    let released = async { while held.changed().await.is_ok() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, released).await.is_err() {
        tracing::warn!("a call that does not end still holds the ledger");
    }
}

/// Who this coordinator is, by its files and by genesis.
struct Identity {
    genesis: Genesis,
    attestation: SecretKey,
    engine_seed: Zeroizing<[u8; 32]>,
    /// Its place in the committee.
    member: usize,
}

impl Identity {
    fn read(config: &CoordinatorConfig) -> Result<Self, CoordinatorError> {
        let (genesis, _) = read_genesis(&config.genesis)?;
        let attestation = read_key(&config.attestation_key)?;
        let engine_seed = read_seed(&config.engine_key)?;
        let members = &genesis.committee.members;
        let member = members.iter().position(|member| member.name == config.name);
        let member = member.ok_or_else(|| identity_error("genesis has no member", &config.name))?;
        let engine = PublicKey::from_bytes(&dropbear_engine::public_key(&engine_seed));
        if members[member].attestation != attestation.public() || Ok(members[member].engine) != engine {
            return Err(identity_error("the key files are not the ones that genesis names", &config.name));
        }
        if config.engine_addresses.len() != members.len() {
            return Err(identity_error("`engine_addresses` needs one address per member", &config.name));
        }
        Ok(Self { genesis, attestation, engine_seed, member })
    }
}

async fn stop_engine(engine: Arc<dropbear_engine::Handle>) -> Result<(), CoordinatorError> {
    engine.stop();
    // A call that is still running holds the engine; it was told to stop and ends with the process.
    let Ok(engine) = Arc::try_unwrap(engine) else { return Ok(()) };
    match tokio::task::spawn_blocking(move || engine.join()).await {
        Ok(result) => Ok(result?),
        Err(join) => std::panic::resume_unwind(join.into_panic()),
    }
}

/// Replays the stored ledger; every header must come out as it was signed.
fn resume(
    market: &Arc<Market>,
    store: &Store,
    pool_bytes_max: usize,
    patience_ms_max: u64,
) -> Result<Core, CoordinatorError> {
    let chain = Chain::new(Arc::clone(market), OrderedBlock::genesis(market.digest.0).digest);
    let mut core = Core::new(chain, pool_bytes_max, patience_ms_max, Attestor::default());
    for seq in 1..=store.last_seq()? {
        let stored = store.block(seq)?.ok_or(Fatal::Replay(seq))?;
        let proposal = CheckedProposal::from_payload(&stored.payload, |bytes| {
            Ok(Arc::new(Entry::from_bytes(bytes)?.checked_before()))
        });
        core.replay(&stored, &proposal.map_err(Fatal::from)?)?;
    }
    if let Some(tip) = store.tip()? {
        core.resume_at(tip);
    }
    Ok(core)
}

async fn start_engine(
    config: &CoordinatorConfig,
    market: &Market,
    seed: [u8; 32],
    member: usize,
    replica: LedgerReplica,
) -> Result<dropbear_engine::Handle, CoordinatorError> {
    let peer = |(member, address): (&dropbear_certificates::genesis::Member, &SocketAddr)| Peer {
        key: *member.engine.as_bytes(),
        address: *address,
    };
    let peers = market.genesis.committee.members.iter().zip(&config.engine_addresses).map(peer).collect();
    // Any address will do: engines authenticate each other by genesis' keys, and encrypt what they say.
    let listen = config.engine_addresses[member];
    let namespace = Digest::tagged("dropbear/engine-namespace/v1", &[market.digest.as_bytes()]).0.to_vec();
    let storage = config.data_dir.join("engine");
    let mut engine = EngineConfig::new(namespace, market.digest.0, seed, peers, listen, storage);
    engine.leader_timeout_ms = config.leader_timeout_ms;
    engine.block_size_bytes_max = dropbear_consensus::block::BLOCK_BYTES_MAX;
    let started = tokio::task::spawn_blocking(move || dropbear_engine::start(engine, replica)).await;
    match started {
        Ok(result) => Ok(result?),
        Err(join) => std::panic::resume_unwind(join.into_panic()),
    }
}
