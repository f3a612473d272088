//! A running gateway: listeners around the core.

use std::net::SocketAddr;
use std::sync::Arc;

use dropbear_telemetry::serve_metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{ConfigError, GatewayConfig};
use crate::core::Core;
use crate::market::Market;
use crate::metrics::Metrics;
use crate::{grpc, http};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration, or a file that it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1} (is another process using the port?)")]
    Bind(SocketAddr, std::io::Error),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    http: SocketAddr,
    grpc: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

impl Gateway {
    /// Starts a gateway; it serves when this returns. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`GatewayError`] names the file, field or address.
    pub async fn start(config: GatewayConfig) -> Result<Self, GatewayError> {
        let market = Market::open(&config)?;
        let (http_listener, http) = bind(config.http_listen).await?;
        let grpc_bound = bind_if(config.grpc_listen).await?;
        let metrics_bound = bind_if(config.metrics_listen).await?;
        let address = |bound: &Option<(TcpListener, SocketAddr)>| bound.as_ref().map(|(_, address)| *address);
        let (grpc, metrics) = (address(&grpc_bound), address(&metrics_bound));
        let mut registry = dropbear_telemetry::registry();
        let core = Arc::new(Core::start(&config, market, Metrics::register(&mut registry)));
        let (stop, stopped) = watch::channel(false);
        let mut listeners = JoinSet::new();
        let router = http::router(Arc::clone(&core));
        listeners.spawn(http::serve(http_listener, router, Arc::clone(&core.limits), stopped.clone()));
        if let Some((listener, _)) = grpc_bound {
            listeners.spawn(grpc::serve(listener, Arc::clone(&core), stopped.clone()));
        }
        if let Some((listener, _)) = metrics_bound {
            let mut stopped = stopped;
            // A gone sender stops it too.
            let stopped = async move { drop(stopped.changed().await) };
            listeners.spawn(serve_metrics(listener, registry, stopped));
        }
        tracing::info!(%http, ?grpc, ?metrics, gateway = config.name, "gateway listens");
        Ok(Self { http, grpc, metrics, core, stop, listeners })
    }

    /// Where it speaks HTTP.
    #[must_use]
    pub const fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where it speaks gRPC, if it does.
    #[must_use]
    pub const fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Where it can be scraped, if it can.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Whether it follows the ledger, reaches a quorum of coordinators, and some group can answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Returns once the gateway is ready, as in [`Gateway::is_ready`].
    pub async fn ready(&self) {
        self.core.ready().await;
    }

    /// Stops accepting, lets running requests finish within the drain timeout, and returns.
    pub async fn stop(mut self) {
        self.core.drain();
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

async fn bind_if(address: Option<SocketAddr>) -> Result<Option<(TcpListener, SocketAddr)>, GatewayError> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), GatewayError> {
    let failed = |error| GatewayError::Bind(address, error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Runs a gateway until `shutdown` completes; `ready` is told where it speaks HTTP once it does.
///
/// # Errors
/// [`GatewayError`] if it does not start.
pub async fn serve(
    config: GatewayConfig,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), GatewayError> {
    let gateway = Gateway::start(config).await?;
    ready(gateway.http_address());
    shutdown.await;
    gateway.stop().await;
    Ok(())
}
