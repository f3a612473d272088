//! A running node: its tasks, its threads, and how they stop.

mod error;
mod open;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dropbear_models::{Manifest, Store};
use dropbear_telemetry::serve_metrics;
use dropbear_wire::MESSAGE_BYTES_MAX;
use dropbear_wire::follow::Follower;
use dropbear_wire::listen::{self, ListenError};
use dropbear_wire::v1::model_node_server::ModelNodeServer;
use dropbear_wire::v1::siblings_server::SiblingsServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::{info, warn};

pub use error::NodeError;
use open::{Models, Opened};

use crate::clerk::Clerk;
use crate::config::{NodeConfig, Settings};
use crate::errand::Bootstrap;
use crate::fleet::Fleet;
use crate::journal::Votes;
use crate::library::{Given, Running, Shelf};
use crate::metrics::Metrics;
use crate::model::{Model, describe};
use crate::plan::Spares;
use crate::service::{Handler, Service};
use crate::serving::Serving;
use crate::siblings::serve::Siblings;
use crate::standing::Claim;
use crate::steward::{Source, Steward};

/// A stopping node waits at most this long for what it has begun.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// And then so long for its models to leave memory.
const UNLOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// One gateway has at most this many calls open at once on one connection.
const CALLS_MAX: u32 = 256;
/// A batch of pictures comes in few frames.
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// The model store, in the data folder.
pub const STORE_FOLDER: &str = "models";

/// A running node. Dropping it stops it without draining.
pub struct Node {
    address: SocketAddr,
    serving: Arc<Serving>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Loads the model, binds the address, follows the ledger, and makes the model's version current there if its owner
    /// never activated any.
    ///
    /// # Errors
    /// [`NodeError`] if anything that it needs is missing. Coordinators may be absent: the node is then not ready.
    pub async fn start<M: Model>(settings: Settings, model: M) -> Result<Self, NodeError> {
        Self::start_with(settings, model, Vec::new()).await
    }

    /// As [`Node::start`], with further versions that the ledger may ask for.
    ///
    /// # Errors
    /// As for [`Node::start`].
    pub async fn start_with<M: Model>(settings: Settings, model: M, others: Vec<M>) -> Result<Self, NodeError> {
        let undisclosed = || "undisclosed".to_owned();
        let bootstrap = Bootstrap { card: model.card().clone(), licence: undisclosed(), lineage: undisclosed() };
        let models = |running| {
            let given = Given::new(others.into_iter().chain([model]).collect(), running);
            Ok(Models { library: Arc::new(given), bootstrap: Some(bootstrap), store: None })
        };
        Self::run(settings, models).await
    }

    /// Starts the node that `config` describes: it serves what the ledger names and its model store has.
    ///
    /// # Errors
    /// As for [`Node::start`], or if a file cannot be used.
    pub async fn from_config(config: NodeConfig) -> Result<Self, NodeError> {
        let settings = config.settings()?;
        let sessions = config.sessions()?;
        let models = move |running| {
            let store = Store::open(&config.data_dir.join(STORE_FOLDER))?;
            config.versions.iter().try_for_each(|path| store.add(path).map(drop))?;
            let bootstrap = config.manifest.as_deref().map(|path| {
                store.add(path)?;
                Manifest::load(path).map(|manifest| bootstrap(&manifest)).map_err(NodeError::from)
            });
            let shelf = Shelf { store: store.clone(), onnxruntime: config.onnxruntime, sessions, running };
            Ok(Models { library: Arc::new(shelf), bootstrap: bootstrap.transpose()?, store: Some(store) })
        };
        Self::run(settings, models).await
    }

    async fn run(
        settings: Settings,
        models: impl FnOnce(Running) -> Result<Models, NodeError> + Send + 'static,
    ) -> Result<Self, NodeError> {
        let listener = listen::loopback(settings.listen).await?;
        let address = listener.local_addr().map_err(|error| ListenError::Bind(settings.listen, error))?;
        let mut registry = dropbear_telemetry::registry();
        let metrics = Metrics::register(&mut registry);
        let mut tasks = JoinSet::new();
        if let Some(address) = settings.metrics_listen {
            let listener = listen::loopback(address).await?;
            // Ends with the node's other tasks.
            tasks.spawn(serve_metrics(listener, registry, std::future::pending()));
        }
        let opened = Opened::open(&settings, models, metrics.clone()).await?;
        let serving = Arc::new(Serving {
            claim: settings.claim(),
            view: Follower::start(settings.coordinators.clone(), 0).view(),
            fleet: Arc::clone(&opened.fleet),
        });
        let service = service(&settings, &opened, &serving, metrics);
        let siblings = siblings(&opened);
        let is_keeper = siblings.is_some();
        tasks.spawn(steward(settings, opened, &serving).run());
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve_calls(listener, service, siblings, stopped));
        let Claim { owner, group, .. } = &serving.claim;
        info!(%address, owner, group, is_keeper, "the node listens");
        Ok(Self { address, serving, server, stop: Some(stop), tasks })
    }

    /// Where the node listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the version in force can be served.
    pub async fn ready(&self) {
        self.serving.ready().await;
    }

    /// The versions that are in memory.
    #[must_use]
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.serving.fleet
    }

    /// Takes no more calls, finishes what was begun, for at most [`DRAIN_TIMEOUT`], and lets go of the journal.
    ///
    /// # Errors
    /// [`NodeError::Server`] if the server had failed.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        self.stop = None;
        let result = match tokio::time::timeout(DRAIN_TIMEOUT, &mut self.server).await {
            Ok(result) => server_result(result),
            Err(_) => {
                warn!("calls were still open after {DRAIN_TIMEOUT:?}; dropping them");
                self.server.abort();
                Ok(())
            }
        };
        // They would load again what is let go of.
        self.tasks.shutdown().await;
        if tokio::time::timeout(UNLOAD_TIMEOUT, self.serving.fleet.close()).await.is_err() {
            warn!("models were still loaded after {UNLOAD_TIMEOUT:?}; leaving them");
        }
        result
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn service(settings: &Settings, opened: &Opened, serving: &Arc<Serving>, metrics: Metrics) -> Arc<Service> {
    let rules = settings.genesis.rules;
    Arc::new(Service {
        serving: Arc::clone(serving),
        genesis: settings.genesis.digest(),
        lifetime_ms_max: rules.request_lifetime_ms_max.saturating_add(rules.clock_skew_ms_max),
        votes: opened.votes.clone(),
        metrics,
    })
}

/// What the node serves to its siblings, if it keeps their votes.
fn siblings(opened: &Opened) -> Option<Siblings> {
    match &opened.votes {
        Votes::Own(journal) => {
            let (seal, store) = (opened.seal.clone(), opened.models.store.clone());
            Some(Siblings { seal, journal: journal.clone(), store })
        }
        Votes::Keeper(_) => None,
    }
}

fn steward(settings: Settings, opened: Opened, serving: &Arc<Serving>) -> Steward {
    let clerk = Clerk {
        genesis: settings.genesis.digest(),
        group: settings.group,
        coordinators: settings.coordinators,
        fan_out: settings.genesis.committee.faults() + 1,
    };
    let Opened { models, seal, .. } = opened;
    let source = settings.journal_of.zip(models.store).map(|(keeper, store)| Source { keeper, seal, store });
    Steward {
        serving: Arc::clone(serving),
        library: models.library,
        spares: Spares(settings.spare_versions),
        memory_bytes_max: settings.memory_bytes_max,
        clerk: settings.journal_of.is_none().then_some(clerk),
        bootstrap: models.bootstrap,
        endpoints: settings.endpoints,
        source,
    }
}

fn bootstrap(manifest: &Manifest) -> Bootstrap {
    let (licence, lineage) = (manifest.licence.clone(), manifest.lineage.clone());
    Bootstrap { card: describe(manifest), licence, lineage }
}

type ServerResult = Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>;

fn server_result(result: ServerResult) -> Result<(), NodeError> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(NodeError::Server(error.to_string())),
        Err(error) => Err(NodeError::Server(error.to_string())),
    }
}

async fn serve_calls(
    listener: TcpListener,
    service: Arc<Service>,
    siblings: Option<Siblings>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), tonic::transport::Error> {
    let server = ModelNodeServer::new(Handler(service))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let siblings = siblings.map(|siblings| {
        SiblingsServer::new(siblings)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // Either half of the channel ending means: stop.
    let stopped = async { drop(stopped.await) };
    let router = Server::builder()
        .max_concurrent_streams(CALLS_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .add_service(server)
        .add_optional_service(siblings);
    router.serve_with_incoming_shutdown(incoming, stopped).await
}

/// Runs the node that `config` describes until `shutdown`, then drains it.
///
/// `ready` is told the bound address once the node serves the version that is current in the ledger.
///
/// # Errors
/// [`NodeError`] if it cannot start, or its server fails.
pub async fn serve(
    config: NodeConfig,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), NodeError> {
    let mut node = Node::from_config(config).await?;
    let mut shutdown = std::pin::pin!(shutdown);
    let (serving, address) = (Arc::clone(&node.serving), node.address);
    tokio::select! {
        () = serving.ready() => ready(address),
        () = &mut shutdown => return node.stop().await,
        result = &mut node.server => return Err(ended(result)),
    }
    drop(serving);
    tokio::select! {
        () = shutdown => node.stop().await,
        result = &mut node.server => Err(ended(result)),
    }
}

/// Why a server ended that nobody had stopped.
fn ended(result: ServerResult) -> NodeError {
    server_result(result).err().unwrap_or_else(|| NodeError::Server("it ended by itself".into()))
}
