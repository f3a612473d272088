//! A long time under steady load.

use std::time::Duration;

use dropbear_bench::soak::{Plan, Report, soak};

use super::inputs::{Inputs, photos};
use super::{market, temporary};
use crate::hardware::Hardware;
use crate::supervise::Running;
use crate::up::Market;
use crate::{Verdict, init};

/// So many looks at the services during one soak.
const LOOKS: u32 = 90;
/// How long the market is left alone first.
const IDLE: Duration = Duration::from_secs(10);

/// The market and the load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the market's models do.
    #[arg(long, value_enum, default_value_t = init::Group::Identity)]
    group: init::Group,
    /// Seconds under load. Growth of memory is judged from three request lifetimes on: 1800.
    #[arg(long, default_value_t = 1800)]
    seconds: u64,
    /// Clients that ask at once.
    #[arg(long, default_value_t = 16)]
    clients: usize,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Verdict> {
    let folder = temporary()?;
    let market = market(folder.path(), args.group, Hardware::default(), "").await?;
    let soaked = under_load(&args, &market).await;
    market.stop().await?;
    let report = soaked?;
    print!("{report}");
    Ok(if report.is_flat() { Verdict::Good } else { Verdict::Bad })
}

async fn under_load(args: &Args, market: &Market) -> anyhow::Result<Report> {
    let inputs = match args.group {
        init::Group::Identity => Inputs::numbers(),
        init::Group::Imagenet => Inputs::files(&photos().await?),
    };
    let duration = Duration::from_secs(args.seconds);
    let plan = Plan {
        question: inputs.question(&market.url()?, "true")?,
        clients: args.clients,
        idle: IDLE,
        duration,
        sample_every: duration / LOOKS,
        memory_span: Duration::from_millis(init::REQUEST_LIFETIME_MS_MAX),
        services: market.services.iter().filter_map(Running::process).collect(),
    };
    Ok(soak(&plan).await?)
}
