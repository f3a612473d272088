//! What certification costs.

use std::time::Duration;

use dropbear_bench::overhead::{Plan, Row, Watched, measure};
use dropbear_models::DecodedImage;

use super::bare::Models;
use super::inputs::{Inputs, photos};
use super::{market, temporary};
use crate::hardware::Hardware;
use crate::up::Market;
use crate::{Verdict, init, zoo};

/// Otherwise the uncertified runs would answer with fewer ballots than the certified ones.
const LIMITS: &str = "\n[limits]\nawait_all_ballots = true\nstraggler_wait_ms = 10000\n";

/// The market and the load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the market's models do.
    #[arg(long, value_enum, default_value_t = init::Group::Imagenet)]
    group: init::Group,
    /// Rounds; in each, everything is measured once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Clients that ask at once.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    #[command(flatten)]
    hardware: Hardware,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Verdict> {
    let folder = temporary()?;
    let market = market(folder.path(), args.group, args.hardware, LIMITS).await?;
    let measured = match plan(&args, &market).await {
        Ok(plan) => measure(&plan).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    market.stop().await?;
    println!("{}", measured?);
    Ok(Verdict::Good)
}

async fn plan(args: &Args, market: &Market) -> anyhow::Result<Plan> {
    let url = market.url()?;
    let row = |name: &str, inputs: Inputs, bare| {
        let (certified, uncertified) = (inputs.question(&url, "true")?, inputs.question(&url, "none")?);
        anyhow::Ok(Row { name: name.into(), certified, uncertified, bare })
    };
    let rows = match args.group {
        init::Group::Identity => vec![row("16 numbers, FP32, as JSON", Inputs::numbers(), None)?],
        init::Group::Imagenet => {
            let files = photos().await?;
            let pictures = files.iter().map(|file| DecodedImage::decode(file)).collect::<Result<Vec<_>, _>>()?;
            let models = Models::open(&zoo::fetch_with_progress().await?, &args.hardware)?;
            let (pixels, encoded) = (Inputs::pixels(&pictures), Inputs::files(&files));
            let bare_pixels = models.on(pictures, |picture| Ok(picture.clone()));
            let bare_files = models.on(files, |file| DecodedImage::decode(file).map_err(|error| error.to_string()));
            vec![
                row("pictures as UINT8 tensors", pixels, Some(bare_pixels))?,
                row("pictures as JPEG files", encoded, Some(bare_files))?,
            ]
        }
    };
    Ok(Plan {
        rows,
        rounds: args.rounds,
        duration: Duration::from_secs(args.seconds),
        clients: args.clients,
        services: watched(market)?,
    })
}

fn watched(market: &Market) -> anyhow::Result<Vec<Watched>> {
    let mut watched = Vec::new();
    for running in &market.services {
        let (Some(process), Some(metrics)) = (running.process(), running.service.metrics_address()?) else { continue };
        watched.push(Watched {
            process,
            metrics: format!("http://{metrics}/metrics"),
            stages: running.service.kind.stages(),
        });
    }
    Ok(watched)
}
