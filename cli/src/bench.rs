//! Measurements, from the command line.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use data_encoding::BASE64;
use dropbear_bench::load::Question;
use dropbear_bench::overhead::{Plan, Watched, measure};
use serde_json::json;

use crate::up::Market;
use crate::{Verdict, init, layout, zoo};

/// Measurements, each beside its baseline, interleaved in one run.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What certification costs: certified answers beside uncertified ones, all ballots awaited in both.
    Overhead(Overhead),
}

/// The market and the load.
#[derive(clap::Args)]
pub(crate) struct Overhead {
    /// What the market's models do.
    #[arg(long, value_enum, default_value_t = init::Group::Imagenet)]
    group: init::Group,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Clients that ask at once; 1 measures latency on an idle market.
    #[arg(long, default_value_t = 32)]
    clients: usize,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<Verdict> {
    let Command::Overhead(args) = command;
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let dir = temporary.path().join("market");
    let market = init::Args {
        dir: dir.clone(),
        owners: 4,
        coordinators: 4,
        group: args.group,
        port_base: layout::free_port_base()?,
    };
    init::make(&market).await?;
    // Otherwise the uncertified runs would answer with fewer ballots than the certified ones.
    let gateway = dir.join("gateway/gateway.toml");
    let config = std::fs::read_to_string(&gateway)? + "\n[limits]\nawait_all_ballots = true\n";
    std::fs::write(&gateway, config)?;
    let market = Market::start(&dir).await?;
    let plan = plan(&args, &market).await;
    let measured = match plan {
        Ok(plan) => measure(&plan).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    market.stop().await?;
    println!("{}", measured?);
    Ok(Verdict::Good)
}

async fn plan(args: &Overhead, market: &Market) -> anyhow::Result<Plan> {
    let url = market.url()?;
    let (group, bodies) = match args.group {
        init::Group::Imagenet => ("imagenet", images().await?),
        init::Group::Identity => {
            let input = json!({ "name": "INPUT0", "shape": [1, 16], "datatype": "FP32", "data": vec![0.5; 16] });
            ("identity", vec![serde_json::to_vec(&json!({ "inputs": [input] }))?])
        }
    };
    let bodies = Arc::new(bodies);
    let question = |certify: &str| -> anyhow::Result<Question> {
        let with_parameter = |body: &Vec<u8>| {
            let mut body: serde_json::Value = serde_json::from_slice(body)?;
            body["parameters"] = json!({ "certify": certify });
            serde_json::to_vec(&body)
        };
        let bodies = bodies.iter().map(with_parameter).collect::<Result<Vec<_>, _>>()?;
        let url = format!("{url}/v2/models/{group}/infer");
        Ok(Question { url, content_type: "application/json", bodies: Arc::new(bodies) })
    };
    let watched = market
        .services
        .iter()
        .filter_map(|running| Some(Watched { name: running.service.name.clone(), pid: running.pid()? }));
    Ok(Plan {
        certified: question("true")?,
        uncertified: question("none")?,
        rounds: args.rounds,
        duration: Duration::from_secs(args.seconds),
        clients: args.clients,
        services: watched.collect(),
    })
}

/// The labelled photos that the group agrees on, as requests.
async fn images() -> anyhow::Result<Vec<Vec<u8>>> {
    let zoo = zoo::fetch_with_progress().await?;
    let labelled = zoo.photos().into_iter().filter(|photo| photo.class.is_some());
    let body = |photo: dropbear_model_node::zoo::Photo| {
        let image = std::fs::read(&photo.path).with_context(|| format!("cannot read {}", photo.path.display()))?;
        let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64.encode(&image)] });
        Ok(serde_json::to_vec(&json!({ "inputs": [input] }))?)
    };
    labelled.map(body).collect()
}
