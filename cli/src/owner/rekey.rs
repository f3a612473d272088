//! A new key for an owner.
//!
//! A node must know the new key before the ledger takes it, or the owner would be missing until it does: the command
//! first makes the key and names it in the node's configuration, and changes the ledger when it is run again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dropbear_consensus::Rekey;
use dropbear_wire::files::read_key;
use serde_json::json;

use super::node_config;
use crate::Verdict;
use crate::desk::{Who, key_text};
use crate::init::{new_key, write};

const NEXT_KEY: &str = "owner-next.key";

/// The owner, and where its new key is.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    who: Who,
    /// The new key's file; made in the owner's folder if not given.
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
}

pub(super) async fn run(args: &Args, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.who.open()?;
    let path = match (&args.new_key, &owner.folder) {
        (Some(path), _) => path.clone(),
        (None, Some(folder)) => folder.join(NEXT_KEY),
        (None, None) => bail!("give the new key's file with --new-key"),
    };
    if !path.exists() {
        let key = new_key(&path)?;
        let config = owner.folder.as_deref().map(|folder| name_next_key(&node_config(folder), &path)).transpose()?;
        if json {
            println!("{}", json!({ "made": path, "key": key_text(&key), "applied": false }));
        } else {
            println!("made {} with the key {}", path.display(), key_text(&key));
            let config = config.map_or_else(String::new, |config| format!(", which {} names now", config.display()));
            println!("  restart your model nodes, so that they know it{config}; then run this again");
        }
        return Ok(Verdict::Good);
    }
    let next = read_key(&path)?;
    let view = owner.desk.view().await?;
    let (genesis, serial) = (owner.desk.genesis.digest(), owner.serial(&view)?);
    let rekey = Rekey::to(genesis, owner.public(), serial, &next).sign(&owner.key);
    let applied = owner.send(&rekey).await?;
    let from = applied.charter_from.unwrap_or(applied.seq + 1);
    if json {
        let key = key_text(&next.public());
        println!(
            "{}",
            json!({ "key": key, "applied": true, "seq": applied.seq, "leaf": applied.leaf, "from_seq": from })
        );
    } else {
        println!("block {}: from block {from} on your key is {}", applied.seq, key_text(&next.public()));
        println!("  after it, put {} in the old key's place and restart your model nodes once more", path.display());
    }
    Ok(Verdict::Good)
}

/// Names the next key in a node's configuration.
fn name_next_key(config: &Path, key: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    let key = key.canonicalize().with_context(|| format!("no file {}", key.display()))?;
    let line =
        format!("# Takes the place of `key` from the block on in which the ledger says so.\nnext_key = {key:?}\n");
    write(config, &format!("{}\n{line}", text.trim_end()))?;
    Ok(config.to_owned())
}
