//! Owners: their keys, and what the ledger knows of them.

mod init;
mod rekey;
mod show;

use std::path::PathBuf;

use crate::Verdict;
use crate::desk::Who;

/// A model owner: whoever sells inference, named by a key.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a new owner in a market's folder: a key, and the configuration of a model node.
    Init(init::Args),
    /// The owner's key, seats, models and nodes, as the ledger has them.
    Show {
        #[command(flatten)]
        who: Who,
    },
    /// Move all seats, models and accounts to a new key, in three steps: run it, do what it says, run it again.
    ///
    /// It makes the key; it changes the ledger, after which the old key signs nothing any more; it puts the new key in the
    /// old one's place.
    Rekey(rekey::Args),
}

pub(crate) async fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Init(args) => init::run(&args, json),
        Command::Show { who } => show::run(&who, json).await,
        Command::Rekey(args) => rekey::run(&args, json).await,
    }
}

/// Where the configuration of the model node in this folder lies.
fn node_config(folder: &std::path::Path) -> PathBuf {
    folder.join("model-node.toml")
}
