//! A new key for an owner.
//!
//! A node must know the new key before the ledger takes it, or the owner would be missing until it does, and the old one
//! until the new one is in force. So the command is run three times, and a node restarted after the first and the last:
//! it makes the key and names it in the node's configuration; then it changes the ledger; then it puts the new key in the
//! old one's place.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dropbear_certificates::PublicKey;
use dropbear_consensus::Rekey;
use dropbear_wire::files::read_key;
use serde_json::json;

use super::node_config;
use crate::Verdict;
use crate::desk::{Owner, View, Who, key_text};
use crate::init::{new_key, write};

const KEY: &str = "owner.key";
const NEXT_KEY: &str = "owner-next.key";
const NEXT_KEY_COMMENT: &str = "# Takes the place of `key` from the block on in which the ledger says so.";

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
    if view.registry.replaced_keys.get(&owner.public()) == Some(&next.public()) {
        return finish(&owner, &view, &path, &next.public(), json);
    }
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
        println!("  once it is in force, run this again: it puts {} in the old key's place", path.display());
    }
    Ok(Verdict::Good)
}

/// The ledger has the new key: puts it in the old one's place once no block asks for the old one any more.
fn finish(owner: &Owner, view: &View, path: &Path, next: &PublicKey, json: bool) -> anyhow::Result<Verdict> {
    let pending = view.groups().filter_map(|group| {
        let pending = group.state.pending(group.next())?;
        pending.charter.place(next).map(|_| pending.from_seq)
    });
    if let Some(from) = pending.max() {
        bail!("your new key is in force from block {from} on, and the last one is {}; run this again then", view.seq);
    }
    let is_old = |key: &Path| read_key(key).is_ok_and(|key| key.public() == owner.public());
    // Keys that were named by their files are their owner's to move.
    let ours = |folder: &&PathBuf| path == folder.join(NEXT_KEY) && is_old(&folder.join(KEY));
    let folder = owner.folder.as_ref().filter(ours);
    if let Some(folder) = folder {
        put_in_place(folder, &owner.public())?;
    }
    let in_place = folder.is_some();
    if json {
        println!("{}", json!({ "key": key_text(next), "applied": true, "in_place": in_place }));
    } else if in_place {
        println!("{KEY} holds your new key {} now: restart your model nodes", key_text(next));
    } else {
        println!("your key {} is in force: put {} in the old key's place", key_text(next), path.display());
        println!("  take `next_key` out of your model nodes' configuration, and restart them");
    }
    Ok(Verdict::Good)
}

/// Makes the next key the key; whenever this ends early, it can be done again. Configuration first: without the key that it
/// names, a node would not start.
fn put_in_place(folder: &Path, old: &PublicKey) -> anyhow::Result<()> {
    let config = node_config(folder);
    let text = std::fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let names_it = |line: &&str| line.starts_with("next_key") || *line == NEXT_KEY_COMMENT;
    let lines: Vec<_> = text.lines().filter(|line| !names_it(line)).collect();
    write(&config, &format!("{}\n", lines.join("\n").trim_end()))?;
    let (key, next) = (folder.join(KEY), folder.join(NEXT_KEY));
    let kept = folder.join(format!("owner-replaced-{}.key", &key_text(old)[..12]));
    if !kept.exists() {
        std::fs::hard_link(&key, &kept).with_context(|| format!("cannot keep {}", key.display()))?;
    }
    std::fs::rename(&next, &key).with_context(|| format!("cannot put {} in place", next.display()))
}

/// Names the next key in a node's configuration.
fn name_next_key(config: &Path, key: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    let key = key.canonicalize().with_context(|| format!("no file {}", key.display()))?;
    let line = format!("{NEXT_KEY_COMMENT}\nnext_key = {key:?}\n");
    write(config, &format!("{}\n{line}", text.trim_end()))?;
    Ok(config.to_owned())
}
