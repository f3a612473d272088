//! Whether a market kept its promises.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_bench::history::ledger::Reader;
use dropbear_bench::history::load::{Recorder, ask};
use dropbear_bench::history::log::{self, Event};
use dropbear_bench::history::{Checker, Report, export::export};
use dropbear_wire::files::read_genesis;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::inputs::Inputs;
use super::updates::Updater;
use super::{market, temporary};
use crate::desk::Desk;
use crate::hardware::Hardware;
use crate::up::Market;
use crate::{Verdict, init, layout};

/// A history to check, or a market to make one with.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What clients saw: one JSON object a line.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The exported ledger. Without it and --market, a market is started, kept busy while its owners activate versions
    /// all the time, and checked.
    #[arg(long, value_name = "FILE", requires = "trust")]
    ledger: Option<PathBuf>,
    /// A running market, whose ledger is exported and checked.
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    market: Option<PathBuf>,
    /// The market's genesis.json.
    #[arg(long, value_name = "GENESIS.JSON")]
    trust: Option<PathBuf>,
    /// Of a market of its own: seconds under load.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Of a market of its own: activations in that time, by all owners in turn.
    #[arg(long, default_value_t = 100)]
    activations: u32,
    /// Of a market of its own: clients that ask at once.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Keep log.jsonl, ledger.bin and genesis.json in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// The files of one history.
pub(super) struct Files {
    pub(super) log: Option<PathBuf>,
    pub(super) ledger: PathBuf,
    pub(super) genesis: PathBuf,
}

pub(super) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    let is_our_own = args.ledger.is_none() && args.market.is_none();
    let report = match (&args.ledger, &args.trust, &args.market) {
        (Some(ledger), Some(trust), _) => {
            check(Files { log: args.log.clone(), ledger: ledger.clone(), genesis: trust.clone() }).await?
        }
        (.., Some(market)) => running(&args, market).await?,
        _ if args.log.is_some() => bail!("--log is about a market: name its ledger with --ledger or --market"),
        _ => live(&args, json).await?,
    };
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    // A market of our own has no reason to fail a request.
    Ok(if report.is_green() && (!is_our_own || report.failed == 0) { Verdict::Good } else { Verdict::Bad })
}

pub(super) async fn check(files: Files) -> anyhow::Result<Report> {
    tokio::task::spawn_blocking(move || {
        let (genesis, _) = read_genesis(&files.genesis)?;
        let open = |path: &Path| {
            File::open(path).map(BufReader::new).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut checker = Checker::new(genesis);
        for block in Reader::new(open(&files.ledger)?).with_context(|| files.ledger.display().to_string())? {
            checker.block(&block.with_context(|| files.ledger.display().to_string())?);
        }
        let mut checker = checker.into_log();
        if let Some(path) = &files.log {
            for event in log::read(open(path)?) {
                checker.event(&event.with_context(|| path.display().to_string())?);
            }
        }
        Ok(checker.finish())
    })
    .await?
}

/// Exports the ledger of a running market, and checks it.
async fn running(args: &Args, market: &Path) -> anyhow::Result<Report> {
    let folder = temporary()?;
    let files = files(args, folder.path(), market)?;
    export_to(&Desk::of_market(market)?, &files.ledger).await?;
    keep(args, &files)?;
    check(Files { log: args.log.clone(), ..files }).await
}

/// Where a history's files are to be: in the folder that keeps them, or in one that goes.
fn files(args: &Args, temporary: &Path, market: &Path) -> anyhow::Result<Files> {
    let out = args.keep.as_deref().unwrap_or(temporary);
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    Ok(Files { log: Some(out.join("log.jsonl")), ledger: out.join("ledger.bin"), genesis: layout::genesis(market) })
}

fn keep(args: &Args, files: &Files) -> anyhow::Result<()> {
    let Some(out) = &args.keep else { return Ok(()) };
    std::fs::copy(&files.genesis, out.join("genesis.json")).context("cannot keep genesis.json")?;
    Ok(())
}

async fn export_to(desk: &Desk, path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    export(desk.coordinators()?, &desk.genesis.committee, BufWriter::new(file)).await?;
    Ok(())
}

async fn live(args: &Args, json: bool) -> anyhow::Result<Report> {
    if args.seconds == 0 || args.activations == 0 {
        bail!("--seconds and --activations are at least 1");
    }
    let folder = temporary()?;
    let market = market(folder.path(), init::Group::Identity, Hardware::default(), "").await?;
    let dir = folder.path().join("market");
    let files = files(args, folder.path(), &dir)?;
    let made = busy(args, &market, &dir, &files, json).await;
    market.stop().await?;
    made?;
    keep(args, &files)?;
    check(files).await
}

/// Keeps the market busy, activates versions all the time, and exports what came of it.
async fn busy(args: &Args, market: &Market, dir: &Path, files: &Files, json: bool) -> anyhow::Result<()> {
    let desk = Desk::of_market(dir)?;
    let mut updater = Updater::prepare(dir).await?;
    let log = files.log.as_deref().context("a live history has a log")?;
    let (recorder, recording) = Recorder::start(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (stop, stopped) = watch::channel(false);
    let question = Inputs::numbers().question(&market.url()?, "true")?;
    let loading = {
        let (recorder, clients) = (recorder.clone(), args.clients);
        tokio::spawn(async move { ask(&question, clients, &recorder, stopped).await })
    };
    let updated = updates(args, &mut updater, &recorder).await;
    stop.send_replace(true);
    loading.await??;
    drop(recorder);
    recording.finish().await.with_context(|| format!("cannot write {}", log.display()))?;
    let took = updated?;
    if !json {
        println!(
            "{} activations by {} owners in {:.1} s under the load of {} clients",
            args.activations,
            updater.owners(),
            took.as_secs_f64(),
            args.clients
        );
    }
    export_to(&desk, &files.ledger).await
}

async fn updates(args: &Args, updater: &mut Updater, recorder: &Recorder) -> anyhow::Result<Duration> {
    let every = Duration::from_secs(args.seconds) / args.activations;
    let started = Instant::now();
    let mut ticks = interval_at(started + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..args.activations {
        ticks.tick().await;
        let start_us = recorder.clock.now_us();
        let applied = updater.activate_next().await?;
        let (end_us, seq) = (recorder.clock.now_us(), applied.seq);
        recorder.record(Event::Entry { start_us, end_us, name: "activate".into(), seq, leaf: applied.leaf }).await;
        recorder.record(Event::Final { at_us: end_us, seq }).await;
    }
    Ok(started.elapsed())
}
