//! Publishing: checked here, copied into the node's store, then said to the ledger.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dropbear_consensus::Publish;
use dropbear_model_node::NodeConfig;
use dropbear_model_node::node::STORE_FOLDER;
use dropbear_models::Store;
use serde_json::json;

use super::{PublishArgs, artefact};
use crate::Verdict;

pub(super) async fn run(args: &PublishArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let view = owner.desk.view().await?;
    let group = view.group(&args.scope.group)?;
    let charter = group.charter().cloned().or_else(|| {
        let named = |charter: &dropbear_certificates::Charter| charter.place(&owner.public()).is_some();
        group.state.proposals.iter().map(|open| &open.charter).find(|charter| named(charter)).cloned()
    });
    let charter = charter.with_context(|| format!("group {} has no charter to fit", args.scope.group))?;
    let node = owner.folder.as_deref().map(node).transpose()?.flatten();
    let onnxruntime = args.onnxruntime.clone().or_else(|| node.as_ref()?.onnxruntime.clone());
    let (manifest, checked) = (args.manifest.clone(), charter);
    let fit = tokio::task::spawn_blocking(move || artefact::check(&manifest, &checked, onnxruntime)).await?;
    let fit = fit.with_context(|| format!("{} is not published", args.manifest.display()))?;
    let store = args.store.clone().or_else(|| Some(node?.data_dir.join(STORE_FOLDER)));
    let stored = store.as_deref().map(|store| keep(store, &args.manifest)).transpose()?;
    let label = args.label.clone().unwrap_or(fit.card.label);
    let publish = Publish {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(&view)?,
        group: args.scope.group.clone(),
        model: fit.manifest.name.clone(),
        label: label.clone(),
        version: fit.card.version,
    };
    let applied = owner.send(&publish.sign(&owner.key)).await?;
    let model = &fit.manifest.name;
    if json {
        let (version, seq, leaf) = (fit.card.version.to_string(), applied.seq, applied.leaf);
        println!(
            "{}",
            json!({ "model": model, "label": label, "version": version, "seq": seq, "leaf": leaf, "store": stored })
        );
        return Ok(Verdict::Good);
    }
    println!("block {}: published {model} {label}, version {}", applied.seq, fit.card.version);
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
