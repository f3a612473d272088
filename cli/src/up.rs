//! Running a whole market on one machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_wire::files::read_genesis;
use tokio::signal::unix::{SignalKind, signal};

use crate::cell::Cell;
use crate::layout::{self, Service};
use crate::service::Kind;
use crate::supervise::{self, Running, stop_all};
use crate::{Verdict, zoo};

/// A market has this long from its last service's start until every owner's model is in force.
const MARKET_READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the gateway is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(50);

/// The market to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The market's folder, made with `dropbear init`.
    dir: PathBuf,
}

/// Where services live, by name, that do not live beside this process.
pub(crate) type Cells = BTreeMap<String, Arc<Cell>>;

/// A market that runs.
pub(crate) struct Market {
    pub(crate) services: Vec<Running>,
}

impl Market {
    /// Starts every service in `dir` and waits until the gateway can answer.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_in(dir, &Cells::new()).await
    }

    /// The same, the services that have a cell in theirs.
    pub(crate) async fn start_in(dir: &Path, cells: &Cells) -> anyhow::Result<Self> {
        let mut running = Vec::new();
        let (genesis, _) = read_genesis(&layout::genesis(dir))?;
        let founders: BTreeSet<_> =
            genesis.charters.iter().flat_map(|charter| &charter.roster).map(|seat| seat.owner.clone()).collect();
        for kind in Kind::ALL {
            let of_kind = layout::services(dir)?.into_iter().filter(|service| service.kind == kind);
            let starts: Vec<_> = of_kind
                .map(|service| {
                    // Owners that came later may have no seat yet.
                    let waits = kind != Kind::ModelNode || founders.contains(&service.name);
                    let cell = cells.get(&service.name).cloned();
                    tokio::spawn(async move { supervise::start(service, waits, cell.as_deref()).await })
                })
                .collect();
            for start in starts {
                running.push(start.await??);
            }
        }
        let market = Self { services: running };
        market.ready().await?;
        Ok(market)
    }

    /// The gateway's base URL.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        let gateway = self.services.iter().find(|running| running.service.kind == Kind::Gateway);
        Ok(format!("http://{}", gateway.context("this market has no gateway")?.address))
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let url = format!("{}/v2/health/ready", self.url()?);
        let poll = async {
            loop {
                if reqwest::get(&url).await.is_ok_and(|response| response.status().is_success()) {
                    return;
                }
                tokio::time::sleep(READY_POLL).await;
            }
        };
        let waited = tokio::time::timeout(MARKET_READY_TIMEOUT, poll).await;
        waited.map_err(|_| {
            anyhow::anyhow!("the gateway was not ready after {MARKET_READY_TIMEOUT:?}; see: dropbear status")
        })
    }

    /// Takes a service out, by name.
    pub(crate) fn take(&mut self, name: &str) -> anyhow::Result<Running> {
        let place = self.services.iter().position(|running| running.service.name == name);
        Ok(self.services.remove(place.with_context(|| format!("no service `{name}`"))?))
    }

    /// Waits until a service ends by itself, and takes it out.
    async fn any_ended(&mut self) -> String {
        if self.services.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.services.iter_mut().map(|running| Box::pin(running.ended()));
        let (problem, place, _) = futures_util::future::select_all(ends).await;
        self.services.remove(place);
        problem
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        stop_all(self.services).await
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Verdict> {
    if uses_zoo(&layout::services(&args.dir)?)? {
        zoo::fetch_with_progress().await?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let starting = Market::start(&args.dir);
    let mut market = tokio::select! {
        market = starting => market?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted while starting"),
        _ = terminate.recv() => bail!("terminated while starting"),
    };
    print(&args.dir, &market)?;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            problem = market.any_ended() => eprintln!("{problem}\nthe others go on; start it again with `dropbear up` or by its own command"),
        }
    }
    eprintln!("stopping");
    market.stop().await.map(|()| Verdict::Good)
}

fn print(dir: &Path, market: &Market) -> anyhow::Result<()> {
    let url = market.url()?;
    let mut text = String::new();
    for running in &market.services {
        let (kind, name) = (running.service.kind.command(), &running.service.name);
        text.push_str(&format!("{kind:<12} {name:<16} {}\n", running.address));
    }
    let genesis = layout::genesis(dir);
    text.push_str(&format!("\n  dropbear infer PHOTO.jpg --gateway {url} --trust {}\n", genesis.display()));
    text.push_str(&format!("  dropbear status {}\n\n", dir.display()));
    text.push_str(&format!("ready: {url}  (Ctrl-C stops everything)\n"));
    // The market runs whether or not anybody reads this.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn uses_zoo(services: &[Service]) -> anyhow::Result<bool> {
    let cache = dropbear_model_node::zoo::cache_directory()?;
    let cache = cache.to_string_lossy();
    for service in services.iter().filter(|service| service.kind == Kind::ModelNode) {
        let text = std::fs::read_to_string(&service.config)
            .with_context(|| format!("cannot read {}", service.config.display()))?;
        if text.contains(&*cache) {
            return Ok(true);
        }
    }
    Ok(false)
}
