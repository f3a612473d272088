//! A running node: its tasks, its threads, and how they stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dropbear_models::{Manifest, ManifestError, OnnxOptions, Store, StoreError};
use dropbear_telemetry::serve_metrics;
use dropbear_wire::MESSAGE_BYTES_MAX;
use dropbear_wire::files::FileError;
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

use crate::clerk::Clerk;
use crate::config::{ConfigError, NodeConfig, Settings};
use crate::errand::Bootstrap;
use crate::fleet::Fleet;
use crate::journal::{Journal, JournalError, Votes};
use crate::library::{Given, Library, Running, Shelf};
use crate::metrics::Metrics;
use crate::model::{Model, ModelError, describe};
use crate::plan::Spares;
use crate::service::{Handler, Service};
use crate::serving::Serving;
use crate::siblings::keeper::Keeper;
use crate::siblings::seal::Seal;
use crate::siblings::serve::Siblings;
use crate::standing::Claim;
use crate::steward::{Source, Steward};

/// A stopping node waits at most this long for what it has begun.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// One gateway has at most this many calls open at once on one connection.
const CALLS_MAX: u32 = 256;
const JOURNAL_FILE: &str = "votes.redb";
/// The model store, in the data folder.
pub const STORE_FOLDER: &str = "models";

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The genesis or the key.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The model store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model.
    #[error("the model cannot be loaded: {0}")]
    Model(#[from] ModelError),
    /// The key is another owner's since the market was made.
    #[error("{0} is the key of owner `{1}`, not of `{2}`: check `owner` and `key`")]
    OthersKey(PathBuf, String, String),
    /// The data folder.
    #[error("cannot make the folder {0}: {1}")]
    DataDir(PathBuf, std::io::Error),
    /// The vote journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The node has a journal and is to use another.
    #[error(
        "{0} holds this node's own votes, which the journal named by `journal_of` does not know: stop the node until the \
         last request it voted on has expired, then move the file away"
    )]
    TwoJournals(PathBuf),
    /// The address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server failed.
    #[error("the server failed: {0}; restart the node")]
    Server(String),
}

/// A running node. Dropping it stops it without draining.
pub struct Node {
    address: SocketAddr,
    serving: Arc<Serving>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    stop: Option<oneshot::Sender<()>>,
    _tasks: JoinSet<()>,
}

/// What a node serves from.
struct Models {
    library: Arc<dyn Library>,
    bootstrap: Option<Bootstrap>,
    /// Where siblings get versions from, or where they come to from a sibling.
    store: Option<Store>,
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
        let models = move |running| {
            let store = Store::open(&config.data_dir.join(STORE_FOLDER))?;
            config.versions.iter().try_for_each(|path| store.add(path).map(drop))?;
            let bootstrap = config.manifest.as_deref().map(|path| {
                store.add(path)?;
                Manifest::load(path).map(|manifest| bootstrap(&manifest)).map_err(NodeError::from)
            });
            let shelf = Shelf {
                store: store.clone(),
                onnxruntime: config.onnxruntime,
                options: OnnxOptions { intra_threads: config.intra_threads },
                running,
            };
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
        let Opened { models, fleet, votes, seal } = opened;
        let claim = Claim {
            owner: settings.owner.clone(),
            keys: std::iter::once(settings.key).chain(settings.next_key).collect(),
            group: settings.group.clone(),
        };
        let view = Follower::start(settings.coordinators.clone(), 0).view();
        let serving = Arc::new(Serving { claim, view, fleet });
        let rules = settings.genesis.rules;
        let genesis = settings.genesis.digest();
        let service = Service {
            serving: Arc::clone(&serving),
            genesis,
            lifetime_ms_max: rules.request_lifetime_ms_max.saturating_add(rules.clock_skew_ms_max),
            votes: votes.clone(),
            metrics,
        };
        let clerk = Clerk {
            genesis,
            group: settings.group,
            coordinators: settings.coordinators,
            fan_out: settings.genesis.committee.faults() + 1,
        };
        let is_keeper = settings.journal_of.is_none();
        let source = settings.journal_of.zip(models.store.clone());
        let steward = Steward {
            serving: Arc::clone(&serving),
            library: models.library,
            spares: Spares(settings.spare_versions),
            memory_bytes_max: settings.memory_bytes_max,
            clerk: is_keeper.then_some(clerk),
            bootstrap: models.bootstrap,
            endpoints: settings.endpoints,
            source: source.map(|(keeper, store)| Source { keeper, seal: seal.clone(), store }),
        };
        tasks.spawn(steward.run());
        let siblings = match votes {
            Votes::Own(journal) => Some(Siblings { seal, journal, store: models.store }),
            Votes::Keeper(_) => None,
        };
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve_calls(listener, Arc::new(service), siblings, stopped));
        info!(%address, owner = serving.claim.owner, group = serving.claim.group, is_keeper, "the node listens");
        Ok(Self { address, serving, server, stop: Some(stop), _tasks: tasks })
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
        match tokio::time::timeout(DRAIN_TIMEOUT, &mut self.server).await {
            Ok(result) => server_result(result),
            Err(_) => {
                warn!("calls were still open after {DRAIN_TIMEOUT:?}; dropping them");
                self.server.abort();
                Ok(())
            }
        }
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

fn bootstrap(manifest: &Manifest) -> Bootstrap {
    let (licence, lineage) = (manifest.licence.clone(), manifest.lineage.clone());
    Bootstrap { card: describe(manifest), licence, lineage }
}

/// What takes files to open.
struct Opened {
    models: Models,
    fleet: Arc<Fleet>,
    votes: Votes,
    seal: Seal,
}

impl Opened {
    /// Loading a model and opening files block: both off the async threads.
    async fn open(
        settings: &Settings,
        models: impl FnOnce(Running) -> Result<Models, NodeError> + Send + 'static,
        metrics: Metrics,
    ) -> Result<Self, NodeError> {
        let (data_dir, journal_of) = (settings.data_dir.clone(), settings.journal_of);
        let running = Running {
            limits: settings.limits,
            threads: settings.threads,
            timeouts: settings.timeouts,
            metrics: metrics.clone(),
        };
        let genesis = settings.genesis.digest();
        let seal = Seal::new(&settings.key, &genesis);
        let keys: Vec<_> = std::iter::once(&settings.key).chain(&settings.next_key).map(|key| key.public()).collect();
        let keeper = journal_of.map(|address| Keeper::new(address, seal.clone()));
        let opening = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&data_dir).map_err(|error| NodeError::DataDir(data_dir.clone(), error))?;
            let journal = data_dir.join(JOURNAL_FILE);
            let votes = match keeper {
                Some(_) if journal.exists() => return Err(NodeError::TwoJournals(journal)),
                Some(keeper) => Votes::Keeper(Box::new(keeper)),
                None => Votes::Own(Journal::open(&journal, &keys, &genesis)?),
            };
            let models = models(running)?;
            let fleet = Fleet::new(Arc::clone(&models.library), metrics)?;
            if let Some(bootstrap) = &models.bootstrap {
                fleet.load_now(bootstrap.card.version)?;
            }
            Ok(Self { models, fleet, votes, seal })
        });
        opening.await.map_err(|error| NodeError::Server(error.to_string()))?
    }
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
    let router = Server::builder().max_concurrent_streams(CALLS_MAX).add_service(server).add_optional_service(siblings);
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
