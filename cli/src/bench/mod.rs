//! Measurements, from the command line.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::hardware::Hardware;
use crate::up::Market;
use crate::{Verdict, init, layout};

mod backend;
mod bare;
mod chaos;
mod history;
mod inputs;
mod node;
mod ordering;
mod overhead;
mod owners;
mod soak;
mod updates;

/// Measurements, each beside its baseline, interleaved in one run.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// What certification costs: certified answers beside uncertified ones, all ballots awaited in both, and beside the
    /// same models without a market.
    Overhead(overhead::Args),
    /// What each backend makes of this machine: images per second of a sample model for each batch size, from pixels or
    /// planes in memory to scores in memory.
    Backend(backend::Args),
    /// What a model node makes of its backend: its throughput at saturation with one worker, with two, and that of an owner
    /// with two nodes, beside as many sessions of the same model without a node.
    Node(node::Args),
    /// What one owner's trouble costs its group: ballots that come late, or a new version all the time, beside the same
    /// group when all is well.
    Owners(owners::Args),
    /// What ordering costs alone: certified results per second of a committee of coordinators that is given signed ballots,
    /// and its CPU per result.
    Ordering(ordering::Args),
    /// Whether a market under steady load stops growing: memory and file descriptors of every service.
    Soak(soak::Args),
    /// What faults of coordinators cost, one after the other under load: how soon throughput is back, and whether anything
    /// that clients were promised is lost.
    Chaos(chaos::Args),
    /// Whether a market kept its promises: strict serialisability of answers and activations, one outcome per request,
    /// every certificate under the versions in force at its place. Checks files, or a market that it keeps busy.
    History(history::Args),
}

pub(crate) async fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Overhead(args) => overhead::run(args).await,
        Command::Backend(args) => tokio::task::spawn_blocking(move || backend::run(&args, json)).await?,
        Command::Node(args) => node::run(args).await,
        Command::Owners(args) => owners::run(args).await,
        Command::Ordering(args) => ordering::run(args, json).await,
        Command::Soak(args) => soak::run(args).await,
        Command::Chaos(args) => chaos::run(args, json).await,
        Command::History(args) => history::run(args, json).await,
    }
}

/// A running market in a folder that goes with it, its gateway's limits as given.
async fn market(dir: &Path, group: init::Group, hardware: Hardware, limits: &str) -> anyhow::Result<Market> {
    Market::start(&made(dir, group, hardware, limits).await?).await
}

/// The folder of a market that has not been started yet.
async fn made(dir: &Path, group: init::Group, hardware: Hardware, limits: &str) -> anyhow::Result<PathBuf> {
    let dir = dir.join("market");
    let port_base = layout::free_port_base()?;
    let args = init::Args { dir: dir.clone(), owners: 4, coordinators: 4, group, port_base, hardware };
    init::make(&args).await?;
    let gateway = dir.join("gateway/gateway.toml");
    let config = std::fs::read_to_string(&gateway)? + limits;
    std::fs::write(&gateway, config)?;
    Ok(dir)
}

fn temporary() -> anyhow::Result<tempfile::TempDir> {
    tempfile::tempdir().context("cannot make a temporary folder")
}
