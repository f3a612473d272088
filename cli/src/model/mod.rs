//! An owner's models: every step is an entry that the owner signs here, and that the ledger keeps.

mod history;
mod lifecycle;
mod list;
mod publish;
mod stats;

use std::path::PathBuf;

use crate::Verdict;
use crate::desk::Who;

/// An owner's models.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a model known: its name is yours in this group from then on.
    Register(RegisterArgs),
    /// Check a version, put it into your model node's store, and make it known; it serves once it is activated.
    Publish(PublishArgs),
    /// Put a published version into force.
    Activate(ActivateArgs),
    /// Put the version before the one in force back into force.
    Rollback(RollbackArgs),
    /// Take a version back: for good, or until it is activated again.
    Retire(RetireArgs),
    /// Versions and what is in force, of one owner or of all.
    List(ListArgs),
    /// One version: names, digest, state, and its card if the version is in your store.
    Show(ShowArgs),
    /// Every entry of an owner, from the ledger.
    History(HistoryArgs),
    /// What an owner did: requests, ballots in time, agreement with outcomes, payment; the same numbers for everybody.
    Stats(ListArgs),
}

/// Whose model in which group.
#[derive(clap::Args)]
pub(crate) struct Scope {
    #[command(flatten)]
    pub(crate) who: Who,
    /// The model group.
    #[arg(long)]
    pub(crate) group: String,
}

#[derive(clap::Args)]
pub(crate) struct RegisterArgs {
    /// The model's manifest: its name, licence and lineage are registered.
    manifest: PathBuf,
    #[command(flatten)]
    scope: Scope,
}

#[derive(clap::Args)]
pub(crate) struct PublishArgs {
    /// The version's manifest, with its artefact and card beside it.
    manifest: PathBuf,
    #[command(flatten)]
    scope: Scope,
    /// The version's name; the first digits of its digest if not given.
    #[arg(long)]
    label: Option<String>,
    /// The model node's store; that of the owner's folder if not given.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// ONNX Runtime's shared library; the one that the model node is configured with if not given.
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct ActivateArgs {
    /// The version: its label, MODEL:LABEL, or the first digits of its digest.
    #[arg(value_name = "VERSION")]
    wanted: String,
    #[command(flatten)]
    scope: Scope,
    /// Not before this block; as soon as the charter's notice allows if not given.
    #[arg(long, default_value_t = 0)]
    from_seq: u64,
}

#[derive(clap::Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    scope: Scope,
}

#[derive(clap::Args)]
pub(crate) struct RetireArgs {
    /// The version: its label, MODEL:LABEL, or the first digits of its digest.
    #[arg(value_name = "VERSION")]
    wanted: String,
    #[command(flatten)]
    scope: Scope,
    /// Why, for everybody to read.
    #[arg(long, default_value = "")]
    reason: String,
    /// It may be activated again.
    #[arg(long)]
    temporary: bool,
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    at: crate::desk::Where,
    /// The model group.
    #[arg(long)]
    group: String,
    /// Of this owner only, by its name on the roster.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The version: its label, MODEL:LABEL, or the first digits of its digest.
    #[arg(value_name = "VERSION")]
    wanted: String,
    #[command(flatten)]
    scope: Scope,
}

#[derive(clap::Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    who: Who,
    /// Of this group only.
    #[arg(long)]
    group: Option<String>,
}

pub(crate) async fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Register(args) => lifecycle::register(&args, json).await,
        Command::Publish(args) => publish::run(&args, json).await,
        Command::Activate(args) => lifecycle::activate(&args, json).await,
        Command::Rollback(args) => lifecycle::rollback(&args, json).await,
        Command::Retire(args) => lifecycle::retire(&args, json).await,
        Command::List(args) => list::list(&args, json).await,
        Command::Show(args) => list::show(&args, json).await,
        Command::History(args) => history::run(&args, json).await,
        Command::Stats(args) => stats::run(&args, json).await,
    }
}
