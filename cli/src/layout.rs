//! A market's folder: what lies where, and which port is whose.
//!
//! ```text
//! DIR/genesis.json                    public: the trust root
//! DIR/coordinator-0/coordinator.toml  with attestation.key, engine.key and data/
//! DIR/alder/model-node.toml           with owner.key and data/
//! DIR/gateway/gateway.toml            with gateway.key
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::service::Kind;

/// One service of a market.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) config: PathBuf,
}

impl Service {
    /// The folder of its keys and data.
    pub(crate) fn folder(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new("."))
    }

    /// Where it is asked: by clients if it is a gateway, by the market's other services if not.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.addresses()?.0)
    }

    /// Where Prometheus asks it, if anywhere.
    pub(crate) fn metrics_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        Ok(self.addresses()?.1)
    }

    fn addresses(&self) -> anyhow::Result<(SocketAddr, Option<SocketAddr>)> {
        let path = &self.config;
        let of_file = || path.display().to_string();
        Ok(match self.kind {
            Kind::Coordinator => {
                let config = dropbear_coordinator::CoordinatorConfig::load(path).with_context(of_file)?;
                (config.listen, config.metrics_listen)
            }
            Kind::ModelNode => {
                let config = dropbear_model_node::NodeConfig::load(path).with_context(of_file)?;
                (config.listen, config.metrics_listen)
            }
            Kind::Gateway => {
                let config = dropbear_marketplace_api::GatewayConfig::load(path).with_context(of_file)?;
                (config.http_listen, config.metrics_listen)
            }
        })
    }

    /// Where `up` writes what it says.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder().join("service.log")
    }
}

/// Every service of the market in `dir`: coordinators first, gateways last, each kind by name.
pub(crate) fn services(dir: &Path) -> anyhow::Result<Vec<Service>> {
    let entries = std::fs::read_dir(dir).map_err(|error| {
        anyhow::anyhow!("cannot read {0}: {error}; make a market with: dropbear init", dir.display())
    })?;
    let mut services = Vec::new();
    for entry in entries {
        let folder = entry?.path();
        for kind in Kind::ALL {
            let config = folder.join(kind.config_file());
            if config.is_file() {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                services.push(Service { name, kind, config });
            }
        }
    }
    if services.is_empty() {
        bail!("{} holds no market; make one with: dropbear init {0}", dir.display());
    }
    services.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(services)
}

/// The genesis of the market in `dir`.
pub(crate) fn genesis(dir: &Path) -> PathBuf {
    dir.join("genesis.json")
}

/// Which port is whose, from one base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) base: u16,
}

impl Ports {
    fn at(self, offset: usize) -> anyhow::Result<SocketAddr> {
        let port = usize::from(self.base) + offset;
        let port = u16::try_from(port).ok().with_context(|| format!("port {port}: choose a lower --port-base"))?;
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    pub(crate) fn http(self) -> anyhow::Result<SocketAddr> {
        self.at(0)
    }

    pub(crate) fn grpc(self) -> anyhow::Result<SocketAddr> {
        self.at(1)
    }

    pub(crate) fn gateway_metrics(self) -> anyhow::Result<SocketAddr> {
        self.at(2)
    }

    pub(crate) fn coordinator(self, place: usize) -> anyhow::Result<SocketAddr> {
        self.at(10 + place)
    }

    pub(crate) fn coordinator_metrics(self, place: usize) -> anyhow::Result<SocketAddr> {
        self.at(50 + place)
    }

    pub(crate) fn engine(self, place: usize) -> anyhow::Result<SocketAddr> {
        self.at(150 + place)
    }

    pub(crate) fn model_node(self, place: usize) -> anyhow::Result<SocketAddr> {
        self.at(300 + place)
    }

    pub(crate) fn model_node_metrics(self, place: usize) -> anyhow::Result<SocketAddr> {
        self.at(350 + place)
    }
}

/// A base from which every port of a small market is free right now.
pub(crate) fn free_port_base() -> anyhow::Result<u16> {
    let needed: Vec<u16> =
        (0..3).chain([10, 50, 150, 300, 350].into_iter().flat_map(|first| first..first + 10)).collect();
    let is_free = |port: u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut random = [0; 2];
    getrandom::fill(&mut random).context("no random numbers")?;
    let start = u16::from_le_bytes(random) % 40;
    let bases = (0..40u16).map(|i| 12_000 + (start + i) % 40 * 500);
    let free = bases.into_iter().find(|base| needed.iter().all(|offset| is_free(base + offset)));
    free.context("no free range of ports between 12000 and 32000; stop other markets or give --port-base")
}
