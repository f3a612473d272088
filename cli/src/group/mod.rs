//! Model groups: who sits in them, under which terms, and how that changes.

mod change;
mod create;
mod show;

use crate::Verdict;
use crate::desk::{Where, Who};

/// Model groups.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Propose a new group; it begins once every owner on its roster approved.
    Create(create::Args),
    /// Propose to join a group; it happens once as many of its owners approved as its charter asks for.
    Join(change::JoinArgs),
    /// Approve a proposal, or consent to the seat that it gives you.
    Approve(change::ApproveArgs),
    /// Leave a group; nobody can refuse that.
    Leave {
        /// The group.
        group: String,
        #[command(flatten)]
        who: Who,
    },
    /// Every group.
    List {
        #[command(flatten)]
        at: Where,
    },
    /// One group: terms, owners, versions in force, nodes, proposals.
    Show {
        /// The group.
        group: String,
        #[command(flatten)]
        at: Where,
    },
}

pub(crate) async fn run(command: Command, json: bool) -> anyhow::Result<Verdict> {
    match command {
        Command::Create(args) => create::run(&args, json).await,
        Command::Join(args) => change::join(&args, json).await,
        Command::Approve(args) => change::approve(&args, json).await,
        Command::Leave { group, who } => change::leave(&group, &who, json).await,
        Command::List { at } => show::list(&at, json).await,
        Command::Show { group, at } => show::show(&group, &at, json).await,
    }
}
