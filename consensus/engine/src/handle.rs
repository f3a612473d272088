//! Starting an engine over TCP, and what its owner then holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc as sync_mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use commonware_cryptography::ChaCha20Poly1305;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_p2p::authenticated::lookup;
use commonware_p2p::{Address, AddressableManager as _};
use commonware_runtime::{Clock, Quota, Runner as _, Spawner as _, Supervisor as _, tokio as runtime};
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::ordered::Map;
use futures::FutureExt as _;
use futures::future::{Either, select};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::config::{Setup, transport_namespace};
use crate::replica::DynReplica;
use crate::stack::{self, Channels};
use crate::status::Counters;
use crate::{EngineConfig, Replica, Status};

/// Relayed messages that wait to be sent at most; more are dropped.
const RELAY_QUEUE_MESSAGES_MAX: usize = 256;
/// How long the engine's parts have to put their work down.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a starting engine looks whether it is listening.
const LISTENING_POLL: Duration = Duration::from_millis(2);
/// Locked for as long as an engine uses a storage directory.
const LOCK_FILE: &str = ".engine-lock";

/// Clocks of two peers may differ by this much when they connect.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);
const HANDSHAKE_AGE_MAX: Duration = Duration::from_secs(10);
/// How soon a lost peer is called again.
const DIAL_INTERVAL: Duration = Duration::from_millis(250);
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// A peer that says nothing for this long, not even a ping, is called anew. TCP by itself tries an interrupted connection
/// again only after as long as it has been interrupted.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A call that is not answered is made anew: TCP repeats it after 1 s, 3 s, 7 s.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a peer that broke the protocol stays disconnected.
const BLOCK_DURATION: Duration = Duration::from_hours(1);
/// Handshakes that strangers can cost us.
const HANDSHAKES_MAX: u32 = 64;
const HANDSHAKES_PER_IP_S_MAX: u32 = 64;
const HANDSHAKES_PER_SUBNET_S_MAX: u32 = 128;
/// Messages that wait inside the transport between two of its parts at most.
const TRANSPORT_MAILBOX_MESSAGES_MAX: usize = 256;

/// A running engine, as its owner sees it.
pub trait Ordering: Send + Sync {
    /// Sends `message` to every peer: best effort, dropped beyond the configured size and rate.
    fn relay(&self, message: Bytes);

    /// What the engine tells about itself.
    fn status(&self) -> Status;

    /// Asks the engine to stop; returns at once. [`Handle::join`] waits for it.
    fn stop(&self);
}

/// Why an engine did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("engine configuration: {0}")]
    Config(String),
    /// The listen address cannot be had.
    #[error("cannot listen on {address}; is another coordinator running there? ({source})")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The storage directory cannot be used.
    #[error("cannot use the storage directory {path}; it must be writable and ours alone ({source})")]
    Storage {
        /// The directory asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine ended without being asked to.
    #[error(
        "the ordering engine ended: {0}; see that its disk has space and can be written, then restart it on the same directory"
    )]
    Ended(String),
}

/// A running engine. Dropping it asks the engine to stop, without waiting.
#[derive(Debug)]
pub struct Handle {
    outbox: mpsc::Sender<Bytes>,
    relay_size_bytes_max: usize,
    counters: Arc<Counters>,
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Handle {
    /// Waits until the engine ended: its state is then durable and its threads are gone.
    ///
    /// Blocks the thread, so async code calls it through its runtime's blocking pool.
    pub fn join(mut self) -> Result<(), Error> {
        let thread = self.thread.take().expect("a handle is joined once");
        thread.join().unwrap_or_else(|panic| Err(Error::Ended(panic_message(&*panic))))
    }

    /// Returns when the engine has ended, or is about to.
    pub async fn ended(&self) {
        // The other end lives in the engine's runtime and goes with it, however that ends.
        self.outbox.closed().await;
    }
}

impl Ordering for Handle {
    fn relay(&self, message: Bytes) {
        if message.len() > self.relay_size_bytes_max {
            error!(size = message.len(), max = self.relay_size_bytes_max, "message too large to relay: dropped");
            return;
        }
        // A full queue means that the network is slower than we are: best effort ends here.
        let _ = self.outbox.try_send(message);
    }

    fn status(&self) -> Status {
        self.counters.status()
    }

    fn stop(&self) {
        // A full channel holds an earlier request; a closed one means that the engine has ended.
        let _ = self.stop.try_send(());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts an engine on its own threads, ordering for `replica`. Returns when it is running, or why it cannot.
pub fn start(config: EngineConfig, replica: impl Replica) -> Result<Handle, Error> {
    start_dyn(config, Arc::new(replica))
}

fn start_dyn(config: EngineConfig, replica: Arc<dyn DynReplica>) -> Result<Handle, Error> {
    let setup = Setup::parse(&config)?;
    let lock = lock_storage(&config.storage_dir)?;
    // The library panics where an address is taken; ask before.
    TcpListener::bind(config.listen).map_err(|source| Error::Listen { address: config.listen, source })?;

    let (outbox, outbox_receiver) = mpsc::channel(RELAY_QUEUE_MESSAGES_MAX);
    let (stop, stop_receiver) = mpsc::channel(1);
    let (ready, ready_receiver) = sync_mpsc::channel();
    let counters = Arc::new(Counters::default());
    let relay_size_bytes_max = setup.relay_size_bytes_max;
    let engine = Engine {
        setup,
        config,
        replica,
        outbox: outbox_receiver,
        counters: counters.clone(),
        stop: stop_receiver,
        ready,
    };
    let thread = thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            let outcome = engine.run();
            drop(lock);
            outcome
        })
        .map_err(|error| Error::Ended(format!("no thread to be had: {error}")))?;
    let handle = Handle { outbox, relay_size_bytes_max, counters, stop, thread: Some(thread) };
    match ready_receiver.recv() {
        Ok(()) => Ok(handle),
        Err(sync_mpsc::RecvError) => {
            Err(handle.join().err().unwrap_or_else(|| Error::Ended("it stopped while starting".into())))
        }
    }
}

/// Everything that the engine's thread takes along.
struct Engine {
    setup: Setup,
    config: EngineConfig,
    replica: Arc<dyn DynReplica>,
    outbox: mpsc::Receiver<Bytes>,
    counters: Arc<Counters>,
    stop: mpsc::Receiver<()>,
    ready: sync_mpsc::Sender<()>,
}

impl Engine {
    /// Runs until asked to stop, or until a part ends.
    fn run(self) -> Result<(), Error> {
        let runtime = runtime::Config::new()
            .with_storage_directory(&self.config.storage_dir)
            .with_connect_timeout(DIAL_TIMEOUT)
            .with_read_write_timeout(SILENCE_MAX)
            .with_worker_threads(self.config.worker_threads);
        runtime::Runner::new(runtime).start(|context| self.run_in(context))
    }

    async fn run_in(mut self, context: runtime::Context) -> Result<(), Error> {
        let (mut network, mut oracle) =
            lookup::Network::new(context.child("network"), network_config(&self.setup, &self.config));
        oracle.track(0, addresses(&self.setup, &self.config));
        let channels =
            Channels::new(stack::quotas(&self.setup).map(|(channel, quota)| network.register(channel, quota)));
        let engine = stack::start(
            context.child("engine"),
            self.setup,
            (oracle.clone(), oracle),
            channels,
            self.replica,
            self.outbox,
            self.counters,
        )
        .await;
        let network = network.start();
        listening(&context, self.config.listen).await;
        info!(listen = %self.config.listen, "ordering engine running");
        // The owner waits for this; if it is gone, its stop request is on the way.
        let _ = self.ready.send(());

        let ended =
            select(engine.boxed(), network.map(|_| "the network ended").boxed()).map(|either| either.factor_first().0);
        let stop = self.stop.recv().boxed();
        match select(ended, stop).await {
            Either::Left((reason, _)) => {
                error!(reason, "ordering engine ended");
                Err(Error::Ended(reason.into()))
            }
            Either::Right(_) => {
                if context.stop(0, Some(STOP_TIMEOUT)).await.is_err() {
                    // What was promised is durable anyway: the parts persist before they speak.
                    error!("parts of the ordering engine did not stop in time");
                }
                Ok(())
            }
        }
    }
}

/// Waits until our listener takes calls: only then does the next engine that wants the address find it taken.
/// The library does not tell, and a listener that fails ends the runtime, and this wait with it.
async fn listening(clock: &impl Clock, listen: SocketAddr) {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    while TcpStream::connect((ip, listen.port())).await.is_err() {
        clock.sleep(LISTENING_POLL).await;
    }
}

type Transport = Cups<Sake<PrivateKey>, ChaCha20Poly1305>;

fn network_config(setup: &Setup, config: &EngineConfig) -> lookup::Config<Transport> {
    let per_second = |count| Quota::per_second(nonzero(count));
    lookup::Config {
        handshake: Cups::new(
            Sake {
                signer: setup.me.clone(),
                synchrony_bound: CLOCK_SKEW_MAX,
                max_handshake_age: HANDSHAKE_AGE_MAX,
                version: sake::Version::V1,
            },
            cups::Version::V1,
        ),
        namespace: transport_namespace(&config.namespace),
        listen: config.listen,
        allow_private_ips: true,
        allow_dns: false,
        // Keys say who calls. Behind address translation a peer does not call from where it listens.
        bypass_ip_check: true,
        max_message_size: stack::message_size_bytes_max(setup),
        max_peers_per_set: nonzero_usize(setup.committee.keys.len()),
        mailbox_size: nonzero_usize(TRANSPORT_MAILBOX_MESSAGES_MAX),
        send_batch_size: nonzero_usize(8),
        handshake_timeout: Duration::from_secs(5),
        dial_timeout: DIAL_TIMEOUT,
        peer_connection_cooldown: DIAL_INTERVAL,
        max_concurrent_handshakes: nonzero(HANDSHAKES_MAX),
        allowed_handshake_rate_per_ip: per_second(HANDSHAKES_PER_IP_S_MAX),
        allowed_handshake_rate_per_subnet: per_second(HANDSHAKES_PER_SUBNET_S_MAX),
        ping_frequency: PING_INTERVAL,
        dial_frequency: DIAL_INTERVAL,
        // The committee never changes within an engine, and memory is a multiple of this.
        tracked_peer_sets: nonzero_usize(1),
        block_duration: BLOCK_DURATION,
    }
}

fn addresses(setup: &Setup, config: &EngineConfig) -> Map<PublicKey, Address> {
    let addresses = config.peers.iter().map(|peer| Address::from(peer.address));
    Map::from_iter_dedup(setup.committee.keys.iter().cloned().zip(addresses))
}

/// Takes the directory for ourselves, creating it if need be: the library would wait for another owner for
/// ever.
fn lock_storage(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Storage { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(failed)?;
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(failed(io::Error::new(io::ErrorKind::WouldBlock, "another engine is using it")))
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a part panicked".into())
}

fn nonzero(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("bounds are not zero")
}

fn nonzero_usize(value: usize) -> NonZeroUsize {
    NonZeroUsize::new(value).expect("bounds are not zero")
}
