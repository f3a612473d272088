//! What ordering costs alone.

mod committee;
mod supply;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use dropbear_bench::ordering::{Plan, Report, measure};
use dropbear_certificates::TrustRoot;

use super::temporary;
use crate::Verdict;
use committee::Committee;
use supply::Signers;

/// Submissions of four ballots are relayed whole, and a relayed message has a bound.
const BATCH_MAX: usize = 512;
const MEMBERS_MAX: usize = 10;

/// The committee and the load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Coordinators: 4 bear one traitor, 7 bear two.
    #[arg(long, default_value_t = 4)]
    members: usize,
    /// Requests in a submission.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one round.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Gateways, each with connections of its own.
    #[arg(long, default_value_t = 2)]
    gateways: usize,
    /// Submissions that each gateway has under way at once.
    #[arg(long, default_value_t = 48)]
    in_flight: usize,
    /// How long a submission may wait for others to share its block: a third of the time that its requests have waited
    /// already, at a busy gateway.
    #[arg(long, default_value_t = 100)]
    patience_ms: u64,
    /// Results per second for which submissions are made ahead, in memory: some 600 bytes each.
    #[arg(long, default_value_t = 80_000)]
    supply_per_s: usize,
    /// After everything else, samples one coordinator's stacks into this file, for a flame graph in speedscope or the
    /// Firefox Profiler; needs perf.
    #[arg(long, value_name = "FILE")]
    flame: Option<PathBuf>,
}

pub(super) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    ensure!((1..=BATCH_MAX).contains(&args.batch), "--batch is 1 to {BATCH_MAX}");
    ensure!((1..=MEMBERS_MAX).contains(&args.members), "--members is 1 to {MEMBERS_MAX}");
    ensure!(args.gateways > 0 && args.in_flight > 0, "--gateways and --in-flight are at least 1");
    let folder = temporary()?;
    let signers = Signers::new(args.gateways)?;
    let committee = Committee::start(&folder.path().join("market"), args.members, &signers).await?;
    let measured = under_load(&args, &committee, signers).await;
    committee.stop().await?;
    let report = measured?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(Verdict::Good)
}

async fn under_load(args: &Args, committee: &Committee, signers: Signers) -> anyhow::Result<Report> {
    committee.publish(&signers).await?;
    let (genesis, batch) = (committee.genesis.clone(), args.batch);
    let trust = TrustRoot::new(genesis.clone());
    let plan = Plan {
        trust,
        members: committee.members()?,
        supply: Arc::new(move |requests| signers.submissions(&genesis, batch, requests)),
        supply_per_s: args.supply_per_s,
        batch,
        gateways: args.gateways,
        in_flight: args.in_flight,
        patience: Duration::from_millis(args.patience_ms),
        rounds: args.rounds,
        duration: Duration::from_secs(args.seconds),
        flame: args.flame.clone(),
    };
    Ok(measure(&plan).await?)
}
