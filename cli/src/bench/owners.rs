//! What a troublesome owner costs the others.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dropbear_bench::delay::Proxy;
use dropbear_bench::owners::{Plan, Report, Trouble, measure};
use tokio::sync::watch;

use super::inputs::Inputs;
use super::updates::Updater;
use super::{made, temporary};
use crate::hardware::Hardware;
use crate::up::Market;
use crate::{Verdict, init, layout};

/// The owner whose node answers late: behind a proxy all the time, which delays it part of the time.
const LATE: &str = "dogwood";
/// What a group needs to get used to a late owner, or to one that is in time again.
const SETTLE: Duration = Duration::from_secs(2);

/// The trouble and the load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How much later one owner's ballots come.
    #[arg(long, default_value_t = 500)]
    late_ms: u64,
    /// From one activation of another owner to its next; at 0, the next one follows as soon as the last is in the ledger.
    #[arg(long, default_value_t = 0)]
    activate_every_ms: u64,
    /// Rounds; in each, everything is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Clients that ask at once.
    #[arg(long, default_value_t = 16)]
    clients: usize,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Verdict> {
    let folder = temporary()?;
    let dir = made(folder.path(), init::Group::Identity, Hardware::default(), "").await?;
    let proxy = Proxy::start(node_of(&dir, LATE)?).await.context("cannot put a proxy before a model node")?;
    redirect(&dir, LATE, proxy.address())?;
    let market = Market::start(&dir).await?;
    let measured = under_load(&args, &market, &dir, &proxy).await;
    market.stop().await?;
    let (report, activations) = measured?;
    println!("{report}\n{activations} activations by one owner in {} runs and what preceded them", args.rounds);
    Ok(Verdict::Good)
}

fn node_of(dir: &Path, owner: &str) -> anyhow::Result<SocketAddr> {
    let services = layout::services(dir)?;
    services.iter().find(|service| service.name == owner).with_context(|| format!("no model node {owner}"))?.address()
}

/// The gateway finds the owner's node at `address`.
fn redirect(dir: &Path, owner: &str, address: SocketAddr) -> anyhow::Result<()> {
    let path = dir.join("gateway/gateway.toml");
    let config = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let node = format!("{owner} = [\"{}\"]", node_of(dir, owner)?);
    let redirected = config.replace(&node, &format!("{owner} = [\"{address}\"]"));
    anyhow::ensure!(redirected != config, "{} does not say `{node}`", path.display());
    init::write(&path, &redirected)
}

/// The figures, and how many activations there were meanwhile.
async fn under_load(args: &Args, market: &Market, dir: &Path, proxy: &Proxy) -> anyhow::Result<(Report, usize)> {
    let (activate, activating) = watch::channel(false);
    let updater = Updater::prepare(dir).await?.of_one_owner();
    let every = Duration::from_millis(args.activate_every_ms);
    let updating = tokio::spawn(update(updater, every, activating));
    let (delay, late) = (proxy.delay(), Duration::from_millis(args.late_ms));
    let late_owner = Trouble {
        name: format!("one owner {} ms late", args.late_ms),
        switch: Arc::new(move |on| delay.set(if on { late } else { Duration::ZERO })),
    };
    let updating_owner = Trouble {
        name: "one owner activates all the time".into(),
        switch: Arc::new(move |on| {
            activate.send_replace(on);
        }),
    };
    let plan = Plan {
        question: Inputs::numbers().question(&market.url()?, "true")?,
        clients: args.clients,
        troubles: vec![late_owner, updating_owner],
        rounds: args.rounds,
        settle: SETTLE,
        duration: Duration::from_secs(args.seconds),
    };
    let measured = measure(&plan).await;
    // With the plan goes the switch, and with it the updater's work.
    drop(plan);
    let activations = updating.await??;
    Ok((measured?, activations))
}

/// Activates while it is switched on; gives how often, once nobody can switch it any more.
async fn update(mut updater: Updater, every: Duration, mut on: watch::Receiver<bool>) -> anyhow::Result<usize> {
    let mut activations = 0;
    while on.wait_for(|on| *on).await.is_ok() {
        let next = tokio::time::Instant::now() + every;
        updater.activate_next().await?;
        activations += 1;
        tokio::time::sleep_until(next).await;
    }
    Ok(activations)
}
