//! Publishing: checked here, copied into the node's store, then said to the ledger.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dropbear_certificates::Charter;
use dropbear_consensus::Publish;
use dropbear_model_node::node::STORE_FOLDER;
use dropbear_model_node::probe::{plain_input, probe};
use dropbear_model_node::{ModelCard, NodeConfig};
use dropbear_models::{Manifest, Store};
use serde_json::json;

use super::PublishArgs;
use crate::Verdict;

/// Inputs in one run: a model must take batches.
const PROBES: usize = 3;

pub(super) async fn run(args: &PublishArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let view = owner.desk.view().await?;
    let group = view.group(&args.scope.group)?;
    let charter = group.charter().cloned().or_else(|| {
        let named = |charter: &Charter| charter.place(&owner.public()).is_some();
        group.state.proposals.iter().map(|open| &open.charter).find(|charter| named(charter)).cloned()
    });
    let charter = charter.with_context(|| format!("group {} has no charter to fit", args.scope.group))?;
    let node = owner.folder.as_deref().map(node).transpose()?.flatten();
    let onnxruntime = args.onnxruntime.clone().or_else(|| node.as_ref()?.onnxruntime.clone());
    let manifest = args.manifest.clone();
    let tried = tokio::task::spawn_blocking(move || try_out(&manifest, &charter, onnxruntime.as_deref()));
    let card = tried.await?;
    let card = card.with_context(|| format!("{} is not published", args.manifest.display()))?;
    let store = args.store.clone().or_else(|| Some(node?.data_dir.join(STORE_FOLDER)));
    let stored = store.as_deref().map(|store| keep(store, &args.manifest)).transpose()?;
    let label = args.label.clone().unwrap_or(card.label);
    let publish = Publish {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(&view)?,
        group: args.scope.group.clone(),
        model: card.name.clone(),
        label: label.clone(),
        version: card.version,
    };
    let applied = owner.send(&publish.sign(&owner.key)).await?;
    let model = &card.name;
    if json {
        let (version, seq, leaf) = (card.version.to_string(), applied.seq, applied.leaf);
        println!(
            "{}",
            json!({ "model": model, "label": label, "version": version, "seq": seq, "leaf": leaf, "store": stored })
        );
        return Ok(Verdict::Good);
    }
    println!("block {}: published {model} {label}, version {}", applied.seq, card.version);
    match stored {
        Some(store) => {
            println!("  its files are in {}; put it into force with: dropbear model activate {label}", store.display())
        }
        None => {
            println!("  give its files to your model nodes (`versions` in their configuration) before you activate it")
        }
    }
    Ok(Verdict::Good)
}

/// Loads the version as a node would, and has it answer a batch: an input as the charter's task has it, several times.
fn try_out(manifest: &Path, charter: &Charter, onnxruntime: Option<&Path>) -> anyhow::Result<ModelCard> {
    let input = plain_input(&Manifest::load(manifest)?.task);
    Ok(probe(manifest, charter, &vec![input; PROBES], onnxruntime)?.card)
}

/// The configuration of the owner's model node, if there is one.
fn node(folder: &Path) -> anyhow::Result<Option<NodeConfig>> {
    let path = folder.join("model-node.toml");
    let load = || NodeConfig::load(&path).with_context(|| path.display().to_string());
    if path.is_file() { load().map(Some) } else { Ok(None) }
}

fn keep(store: &Path, manifest: &Path) -> anyhow::Result<PathBuf> {
    Store::open(store)?.add(manifest)?;
    Ok(store.to_owned())
}
