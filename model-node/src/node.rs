//! A running node: its tasks, its threads, and how they stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dropbear_models::{Manifest, ManifestError, OnnxOptions, Runtime, RuntimeError, Task};
use dropbear_telemetry::serve_metrics;
use dropbear_wire::MESSAGE_BYTES_MAX;
use dropbear_wire::files::FileError;
use dropbear_wire::listen::{self, ListenError};
use dropbear_wire::v1::model_node_server::ModelNodeServer;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::{info, warn};

use crate::config::{ConfigError, NodeConfig, Settings};
use crate::follow::follow;
use crate::journal::{Journal, JournalError};
use crate::metrics::Metrics;
use crate::model::classification::ImageClassifier;
use crate::model::identity::Identity;
use crate::model::{Model, ModelError};
use crate::pool::Pool;
use crate::registrar::Registrar;
use crate::service::{Handler, Service};
use crate::standing::{Claim, LedgerView};

/// A stopping node waits at most this long for what it has begun.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// One gateway has at most this many calls open at once on one connection.
const CALLS_MAX: u32 = 256;
const JOURNAL_FILE: &str = "votes.redb";

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
    /// The ONNX Runtime library.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model needs a library that the configuration does not name.
    #[error("the model runs on ONNX Runtime: set `onnxruntime` to the path of libonnxruntime")]
    NoRuntime,
    /// The two versions do different things.
    #[error("{0} does not classify images, as `manifest` does: leave `previous_manifest` out")]
    OtherTask(PathBuf),
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
    /// The address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server failed.
    #[error("the server failed: {0}; restart the node")]
    Server(String),
}

/// A running node. Dropping it stops it without draining.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    claim: Claim,
    view: watch::Receiver<LedgerView>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    stop: Option<oneshot::Sender<()>>,
    _tasks: JoinSet<()>,
}

impl Node {
    /// Loads the model, binds the address, follows the ledger, and makes the model's version current there.
    ///
    /// # Errors
    /// [`NodeError`] if anything that it needs is missing. Coordinators may be absent: the node is then not ready.
    pub async fn start<M: Model>(settings: Settings, model: M) -> Result<Self, NodeError> {
        Self::start_updating(settings, None, model).await
    }

    /// As [`Node::start`], but serves the `previous` version, too, as long as it is the one in force. So an update loses
    /// no request: ballots name the old version up to the last block before the new one comes into force.
    ///
    /// # Errors
    /// As for [`Node::start`].
    pub async fn start_updating<M: Model>(
        settings: Settings,
        previous: Option<M>,
        model: M,
    ) -> Result<Self, NodeError> {
        let models: Vec<M> = previous.into_iter().chain([model]).collect();
        let listener = listen::loopback(settings.listen).await?;
        let address = listener.local_addr().map_err(|error| ListenError::Bind(settings.listen, error))?;
        let claim = Claim {
            owner: settings.owner.clone(),
            key: settings.key.public(),
            group: settings.group.clone(),
            cards: models.iter().map(|model| model.card().clone()).collect(),
        };
        let (updates, view) = watch::channel(LedgerView::default());
        let mut registry = dropbear_telemetry::registry();
        let metrics = Metrics::register(&mut registry);
        let metrics_listener = match settings.metrics_listen {
            Some(address) => Some(listen::loopback(address).await?),
            None => None,
        };
        let service = service(&settings, claim.clone(), view.clone(), models, metrics).await?;
        let registrar = Registrar {
            claim: claim.clone(),
            genesis: service.genesis,
            key: Arc::clone(&settings.key),
            fan_out: settings.genesis.committee.faults() + 1,
            coordinators: settings.coordinators.clone(),
        };
        let mut tasks = JoinSet::new();
        if let Some(listener) = metrics_listener {
            // Ends with the node's other tasks.
            tasks.spawn(serve_metrics(listener, registry, std::future::pending()));
        }
        tasks.spawn(follow(settings.coordinators, settings.group, updates));
        tasks.spawn(registrar.run(view.clone()));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve_calls(listener, service, stopped));
        info!(%address, owner = claim.owner, group = claim.group, version = %claim.newest().version, "the node listens");
        Ok(Self { address, claim, view, server, stop: Some(stop), _tasks: tasks })
    }

    /// Starts the node that `config` describes, with the model that its manifest describes.
    ///
    /// # Errors
    /// As for [`Node::start`], or if a file cannot be used.
    pub async fn from_config(config: NodeConfig) -> Result<Self, NodeError> {
        let settings = config.settings()?;
        let manifest = Manifest::load(&config.manifest)?;
        match &manifest.task {
            Task::Identity => {
                let previous = config.previous_manifest.as_deref().map(Manifest::load).transpose()?;
                Self::start_updating(settings, previous.as_ref().map(Identity::new), Identity::new(&manifest)).await
            }
            Task::ImageClassification(_) => {
                let previous = config.previous_manifest.as_deref().map(|path| classifier(&config, path)).transpose()?;
                let model = classifier(&config, &config.manifest)?;
                Self::start_updating(settings, previous, model).await
            }
        }
    }

    /// Where the node listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a loaded version is in force in the ledger.
    pub async fn ready(&self) {
        in_force(self.view.clone(), &self.claim).await;
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

fn classifier(config: &NodeConfig, path: &Path) -> Result<ImageClassifier, NodeError> {
    let manifest = Manifest::load(path)?;
    let Task::ImageClassification(task) = manifest.task.clone() else {
        return Err(NodeError::OtherTask(path.into()));
    };
    let runtime = Runtime::load(config.onnxruntime.as_deref().ok_or(NodeError::NoRuntime)?)?;
    let options = OnnxOptions { intra_threads: config.intra_threads };
    Ok(ImageClassifier::new(path, &manifest, task, runtime, options))
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
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

/// Loading a model and opening a file block: both off the async threads.
async fn service<M: Model>(
    settings: &Settings,
    claim: Claim,
    view: watch::Receiver<LedgerView>,
    models: Vec<M>,
    metrics: Metrics,
) -> Result<Arc<Service<M>>, NodeError> {
    let (data_dir, limits, threads) = (settings.data_dir.clone(), settings.limits, settings.threads);
    let (key, genesis) = (Arc::clone(&settings.key), settings.genesis.digest());
    let rules = settings.genesis.rules;
    let lifetime_ms_max = rules.request_lifetime_ms_max.saturating_add(rules.clock_skew_ms_max);
    let opening = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&data_dir).map_err(|error| NodeError::DataDir(data_dir.clone(), error))?;
        let journal = Journal::open(&data_dir.join(JOURNAL_FILE), &claim.key, &genesis)?;
        let start = |model| Pool::start(model, limits, threads, metrics.clone());
        let pools: Vec<_> = models.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Arc::new(Service { claim, genesis, lifetime_ms_max, key, view, journal, metrics, pools }))
    });
    opening.await.map_err(|error| NodeError::Server(error.to_string()))?
}

async fn serve_calls<M: Model>(
    listener: TcpListener,
    service: Arc<Service<M>>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), tonic::transport::Error> {
    let server = ModelNodeServer::new(Handler(service))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // Either half of the channel ending means: stop.
    let stopped = async { drop(stopped.await) };
    let router = Server::builder().max_concurrent_streams(CALLS_MAX).add_service(server);
    router.serve_with_incoming_shutdown(incoming, stopped).await
}

/// Runs the node that `config` describes until `shutdown`, then drains it.
///
/// `ready` is told the bound address once the node's version is current in the ledger.
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
    let (view, claim, address) = (node.view.clone(), node.claim.clone(), node.address);
    tokio::select! {
        () = in_force(view, &claim) => ready(address),
        () = &mut shutdown => return node.stop().await,
        result = &mut node.server => return Err(ended(result)),
    }
    tokio::select! {
        () = shutdown => node.stop().await,
        result = &mut node.server => Err(ended(result)),
    }
}

/// Waits until a loaded version is in force in the ledger.
async fn in_force(mut view: watch::Receiver<LedgerView>, claim: &Claim) {
    // The sender lives in a task that ends with the node.
    let _ = view.wait_for(|view| claim.standing(view).is_ok()).await;
}

/// Why a server ended that nobody had stopped.
fn ended(result: ServerResult) -> NodeError {
    server_result(result).err().unwrap_or_else(|| NodeError::Server("it ended by itself".into()))
}
