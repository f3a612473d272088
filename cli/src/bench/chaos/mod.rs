//! What faults of coordinators cost.

mod disk;
mod network;
mod progress;
mod site;

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_bench::chaos::{Drawn, Load, Observed, Problem, Report, Row, SETTLE, WINDOW, ask, compare, look_up};
use dropbear_bench::history::log::{self, Event};
use dropbear_bench::history::{self, Violation, load::Recorder};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use self::progress::{reached, seq_max, settled};
use self::site::{CATCH_UP_TIMEOUT, Healed, Plan, Site};
use super::history::{Files, check};
use super::inputs::Inputs;
use super::{made, temporary};
use crate::hardware::Hardware;
use crate::{Verdict, init, layout};

/// From the beginning of the load to the first fault; the last seconds of it are the level before.
const WARM_UP: Duration = Duration::from_secs(5);
/// Throughput that is not back after this long is not waited for any longer.
const BACK_TIMEOUT: Duration = Duration::from_secs(30);
/// What a fault and what follows take beyond the fault itself, if all goes well: none begins that would not fit.
const AFTERMATH: Duration = Duration::from_secs(8);
/// A fault lasts up to this part of the run, within bounds.
const LASTS_PART: u32 = 30;
const LASTS_MAX: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// Certificates that every coordinator is asked about by request id, besides that all are sought in the ledger.
const LOOKED_UP_MAX: u64 = 1000;

/// The faults and the load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds under load, in which as many faults follow each other as find room.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Which faults, in what order, whom they hit and how long: the same seed draws the same. A new one if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Clients that ask at once.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// From one request of a client to its next, if it is answered by then; at 0, the next one follows the answer, and
    /// throughput is as unsteady as what else the machine does.
    #[arg(long, default_value_t = 200)]
    every_ms: u64,
    /// Throughput must be back so many seconds after a fault at most; 0: whenever it will.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    back_s_max: u64,
    /// Cut the network between coordinators, each on a host of its own (a Linux network namespace; takes root and
    /// iproute2), instead of killing, pausing and filling the disks of processes.
    #[arg(long)]
    network: bool,
}

pub(super) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    if args.clients == 0 {
        bail!("--clients is at least 1");
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => fresh_seed()?,
    };
    let [lasts_min, lasts_max] = LASTS_MAX;
    let lasts_max = (Duration::from_secs(args.seconds) / LASTS_PART).clamp(lasts_min, lasts_max);
    let folder = temporary()?;
    let dir = made(folder.path(), init::Group::Identity, Hardware::default(), "").await?;
    let site = Site::start(&dir, &Plan { seed, lasts_max, network: args.network }).await?;
    let mut site = match site {
        Ok(site) => site,
        Err(skipped) if json => {
            println!("{}", serde_json::json!({ "skipped": skipped }));
            return Ok(Verdict::Good);
        }
        Err(skipped) => {
            println!("skipped: {skipped}");
            return Ok(Verdict::Good);
        }
    };
    let files = Files {
        log: Some(folder.path().join("log.jsonl")),
        ledger: folder.path().join("ledger.bin"),
        genesis: layout::genesis(&dir),
    };
    let stormed = tokio::select! {
        stormed = storm(&args, seed, &mut site, &files, json) => stormed,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    site.market.stop().await?;
    let mut report = stormed?;
    if report.wrongs.is_empty() {
        report.history = check(files).await?;
        let lost = report.history.violations.get(&Violation::NotInLedger);
        report.lost = lost.map_or(0, |found| found.count);
    }
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("\n{report}");
    }
    Ok(if report.is_good() { Verdict::Good } else { Verdict::Bad })
}

fn fresh_seed() -> anyhow::Result<u64> {
    let mut seed = [0; 4];
    getrandom::fill(&mut seed).context("this system has no random numbers")?;
    Ok(u32::from_le_bytes(seed).into())
}

/// Load, faults under it, and what coordinators hold when both are over.
async fn storm(args: &Args, seed: u64, site: &mut Site, files: &Files, json: bool) -> anyhow::Result<Report> {
    let log = files.log.as_deref().context("a storm has a log")?;
    let (recorder, recording) = Recorder::start(log).with_context(|| format!("cannot write {}", log.display()))?;
    let observed = Observed::new(recorder.clock);
    let (stop, stopped) = watch::channel(false);
    let question = Inputs::numbers().question(&site.market.url()?, "true")?;
    let load = Load { question, clients: args.clients, every: Duration::from_millis(args.every_ms) };
    let loading = {
        let observed = observed.clone();
        tokio::spawn(async move { ask(&load, &recorder, &observed, stopped).await })
    };
    let mut report = Report {
        seed,
        back_us_max: (args.back_s_max > 0).then_some(args.back_s_max * 1_000_000),
        lasted_us: 0,
        skipped: std::mem::take(&mut site.skipped),
        rows: Vec::new(),
        errors_elsewhere: Default::default(),
        unanswered: 0,
        certificates: 0,
        blocks: 0,
        conflicting: 0,
        differing: 0,
        lost: 0,
        looked_up: 0,
        unknown: 0,
        history: history::Report::default(),
        wrongs: Vec::new(),
    };
    // What went wrong is part of the report, which says what happened before.
    if let Err(error) = faults(args, site, &observed, &mut report, json).await {
        report.wrongs.push(format!("{error:#}"));
    }
    report.lasted_us = observed.clock.now_us();
    stop.send_replace(true);
    loading.await??;
    recording.finish().await.with_context(|| format!("cannot write {}", log.display()))?;
    blame(&mut report, &observed.take_problems(0));
    report.certificates = observed.answers();
    if report.wrongs.is_empty()
        && let Err(error) = compare_all(site, files, &mut report).await
    {
        report.wrongs.push(format!("{error:#}"));
    }
    Ok(report)
}

async fn faults(
    args: &Args,
    site: &mut Site,
    observed: &Observed,
    report: &mut Report,
    json: bool,
) -> anyhow::Result<()> {
    let now = || Duration::from_micros(observed.clock.now_us());
    let end = Duration::from_secs(args.seconds);
    tokio::time::sleep(WARM_UP).await;
    if !json {
        println!("{}", Row::head());
    }
    while let Some(drawn) = site.draws.next() {
        if now() + drawn.lasts + AFTERMATH > end {
            break;
        }
        let row = fault(site, &drawn, observed).await?;
        if !json {
            println!("{row}");
        }
        report.rows.push(row);
    }
    if report.rows.is_empty() {
        bail!("no fault finds room in {} s: give more --seconds", args.seconds);
    }
    tokio::time::sleep(end.saturating_sub(now())).await;
    Ok(())
}

/// One fault, from the seconds before it until all is well again.
async fn fault(site: &mut Site, drawn: &Drawn, observed: &Observed) -> anyhow::Result<Row> {
    let now_us = || observed.clock.now_us();
    let settle_us = SETTLE.as_micros() as u64;
    let begun_us = now_us();
    let before = observed.rate(begun_us.saturating_sub(settle_us), begun_us);
    let names: Vec<_> = drawn.victims.iter().map(|place| site.coordinators[*place].name.clone()).collect();
    let suffered = site.suffer(drawn, now_us).await;
    let Healed { at_us, notes, wrongs } =
        suffered.with_context(|| format!("{} of {}", drawn.fault, names.join(", ")))?;
    let target = seq_max(&site.addresses).await;
    let caught_up = async {
        let victims = join_all(drawn.victims.iter().map(|place| reached(site.addresses[*place], target)));
        timeout(CATCH_UP_TIMEOUT, victims).await.ok().map(|_| now_us() - at_us)
    };
    let back = async {
        let back = async {
            loop {
                if let Some(back_us) = observed.back_us(at_us, before) {
                    return back_us;
                }
                tokio::time::sleep(WINDOW).await;
            }
        };
        timeout(BACK_TIMEOUT, back).await.ok()
    };
    let (caught_up_us, back_us) = tokio::join!(caught_up, back);
    let well_us = now_us().min(at_us + caught_up_us.max(back_us).unwrap_or(0));
    tokio::time::sleep(Duration::from_micros((well_us + settle_us).saturating_sub(now_us()))).await;
    let end_us = now_us();
    let problems = observed.take_problems(begun_us);
    let mut row = Row {
        begun_us,
        fault: drawn.fault,
        victims: names,
        lasted_us: at_us - begun_us,
        before,
        during: observed.rate(begun_us, at_us),
        after: observed.rate(end_us - settle_us, end_us),
        back_us,
        caught_up_us,
        errors: Problem::count(&problems),
        notes,
        wrongs,
    };
    let unanswered = problems.iter().filter(|problem| !problem.is_explicit).count();
    if unanswered > 0 {
        row.wrongs.push(format!("{unanswered} requests ended without an answer"));
    }
    Ok(row)
}

/// Errors of requests that were open during a fault are its doing, even if their clients learned of them after its row was
/// made; others have no excuse.
fn blame(report: &mut Report, rest: &[Problem]) {
    for problem in rest {
        let open = |row: &&mut Row| {
            let over_us = row.begun_us + row.lasted_us + row.back_us.max(row.caught_up_us).unwrap_or(0);
            problem.end_us >= row.begun_us && problem.start_us <= over_us
        };
        let errors = match report.rows.iter_mut().find(open) {
            Some(row) => &mut row.errors,
            None => &mut report.errors_elsewhere,
        };
        *errors.entry(problem.kind.clone()).or_default() += 1;
        report.unanswered += u64::from(!problem.is_explicit);
    }
}

/// Holds the ledgers of all coordinators beside each other, and certificates beside them.
async fn compare_all(site: &Site, files: &Files, report: &mut Report) -> anyhow::Result<()> {
    let last = settled(&site.addresses, CATCH_UP_TIMEOUT).await?;
    let ledger = File::create(&files.ledger).with_context(|| format!("cannot write {}", files.ledger.display()))?;
    let compared = compare(&site.addresses, last, BufWriter::new(ledger)).await?;
    report.blocks = compared.blocks;
    report.differing = compared.differing;
    let log = files.log.clone().context("a storm has a log")?;
    let every = report.certificates.div_ceil(LOOKED_UP_MAX).max(1);
    let certificates = tokio::task::spawn_blocking(move || sample(&log, every)).await??;
    let found = look_up(&site.addresses, &certificates).await?;
    report.looked_up = found.certificates;
    report.unknown = found.unknown;
    report.conflicting = compared.conflicting + found.conflicting;
    report.wrongs.extend(compared.described);
    Ok(())
}

/// Every so manieth certificate of a log.
fn sample(log: &Path, every: u64) -> anyhow::Result<Vec<String>> {
    let file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut certificates = Vec::new();
    let mut number = 0;
    for event in log::read(BufReader::new(file)) {
        let Event::Request { certificate: Some(certificate), .. } = event? else { continue };
        if number % every == 0 {
            certificates.push(certificate);
        }
        number += 1;
    }
    Ok(certificates)
}
