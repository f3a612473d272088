//! The one binary: every service and every command.

mod bench;
mod cell;
mod cert;
mod demo;
mod desk;
mod group;
mod hardware;
mod infer;
mod init;
mod layout;
mod model;
mod owner;
mod service;
mod status;
mod supervise;
mod up;
mod zoo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A marketplace for ML inference whose answers need no trust in any single seller.
#[derive(Parser)]
#[command(name = "dropbear", version, propagate_version = true)]
struct Cli {
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show it all: fetch the sample models, run a market, classify photos, verify, break things.
    Demo(demo::Args),
    /// Make a market: keys, genesis, and one configuration file per service.
    Init(init::Args),
    /// Run every service of a market until Ctrl-C.
    Up(up::Args),
    /// Who is up, how far, and what went wrong.
    Status(status::Args),
    /// Classify images through a gateway, and verify the certificates before believing them.
    Infer(infer::Args),
    /// Certificates: verify and show, offline.
    #[command(subcommand)]
    Cert(cert::Command),
    /// An owner's keys and standing.
    #[command(subcommand)]
    Owner(owner::Command),
    /// An owner's models: register, publish, activate, roll back, retire.
    #[command(subcommand)]
    Model(model::Command),
    /// Model groups: their owners and terms, joining and leaving.
    #[command(subcommand)]
    Group(group::Command),
    /// The sample models.
    #[command(subcommand)]
    Zoo(zoo::Command),
    /// Measurements, each beside its baseline.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Run one coordinator.
    Coordinator(service::Args),
    /// Run one model node.
    ModelNode(service::Args),
    /// Run one gateway.
    Gateway(service::Args),
}

/// What a command came to. Errors exit with 1 too; wrong usage with 2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It ran, and the answer is no: a refused certificate, a service that is down, a failed inference.
    Bad,
}

/// `dropbear … | head` is no bug: whoever closes the pipe has read enough.
fn exit_quietly_on_broken_pipe() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.contains("Broken pipe")) {
            // What a shell sees of a program that SIGPIPE ended.
            std::process::exit(141);
        }
        report(panic);
    }));
}

fn main() -> ExitCode {
    exit_quietly_on_broken_pipe();
    let Cli { json, command } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dropbear: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let verdict = runtime.block_on(run(command, json));
    // Blocking work that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    match verdict {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            if json {
                println!("{}", serde_json::json!({ "error": format!("{error:#}") }));
            } else {
                eprintln!("dropbear: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init(args) => init::run(args, json).await,
        Command::Up(args) => up::run(args).await,
        Command::Status(args) => status::run(args, json).await,
        Command::Infer(args) => infer::run(args, json).await,
        Command::Cert(command) => cert::run(command, json),
        Command::Owner(command) => owner::run(command, json).await,
        Command::Model(command) => model::run(command, json).await,
        Command::Group(command) => group::run(command, json).await,
        Command::Zoo(command) => zoo::run(command, json).await,
        Command::Bench(command) => bench::run(command, json).await,
        Command::Coordinator(args) => service::run(service::Kind::Coordinator, args).await,
        Command::ModelNode(args) => service::run(service::Kind::ModelNode, args).await,
        Command::Gateway(args) => service::run(service::Kind::Gateway, args).await,
    }
}

/// Where the trust root is, unless it is named.
const TRUST_VARIABLE: &str = "DROPBEAR_TRUST";

/// The genesis that certificates are verified against.
#[derive(clap::Args)]
struct Trust {
    /// The market's genesis.json, from a source that you trust.
    #[arg(long, value_name = "GENESIS.JSON", env = TRUST_VARIABLE)]
    trust: PathBuf,
    /// A governance chain that leads from genesis to later committees and charters: any gateway's `/api/v1/chain`.
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn every_command_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
