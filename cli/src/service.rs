//! Running one service, as in production.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::Verdict;

/// A kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Coordinator,
    ModelNode,
    Gateway,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Coordinator, Self::ModelNode, Self::Gateway];

    /// Its command, which also names its configuration file.
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::ModelNode => "model-node",
            Self::Gateway => "gateway",
        }
    }

    pub(crate) fn config_file(self) -> String {
        format!("{}.toml", self.command())
    }

    /// The histogram of its stages, among its metrics.
    pub(crate) const fn stages(self) -> &'static str {
        match self {
            Self::Coordinator => "dropbear_coordinator_stage",
            Self::ModelNode => "dropbear_node_stage",
            Self::Gateway => "dropbear_gateway_stage",
        }
    }
}

/// One service.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The service's configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Stop when standard input closes, as it does when the process that started this one ends.
    #[arg(long, hide = true)]
    supervised: bool,
}

/// What a service prints on standard output once it serves.
pub(crate) const READY: &str = "ready";

pub(crate) async fn run(kind: Kind, args: Args) -> anyhow::Result<Verdict> {
    dropbear_telemetry::log_to_stderr();
    let shutdown = shutdown(args.supervised)?;
    let ready = |address: SocketAddr| println!("{READY} {address}");
    let of_file = || format!("{} with {}", kind.command(), args.config.display());
    match kind {
        Kind::Coordinator => {
            let config = dropbear_coordinator::CoordinatorConfig::load(&args.config)?;
            dropbear_coordinator::serve(config, shutdown, ready).await.with_context(of_file)?;
        }
        Kind::ModelNode => {
            let config = dropbear_model_node::NodeConfig::load(&args.config)?;
            dropbear_model_node::serve(config, shutdown, ready).await.with_context(of_file)?;
        }
        Kind::Gateway => {
            let config = dropbear_marketplace_api::GatewayConfig::load(&args.config)?;
            dropbear_marketplace_api::serve(config, shutdown, ready).await.with_context(of_file)?;
        }
    }
    Ok(Verdict::Good)
}

fn shutdown(supervised: bool) -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let (closed, mut parent_gone) = tokio::sync::watch::channel(());
    let watching = supervised.then_some(closed.clone());
    // A thread of its own: reading standard input cannot be cancelled.
    std::thread::Builder::new().name("parent".into()).spawn(move || {
        if let Some(closed) = watching {
            // Whether it ends or fails, the parent is gone.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            closed.send_replace(());
        }
    })?;
    Ok(async move {
        let _open = closed;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
            _ = parent_gone.changed() => tracing::info!("the starting process is gone: stopping"),
        }
    })
}
