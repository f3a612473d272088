//! Versions and what is in force.

use anyhow::{Context as _, bail};
use dropbear_certificates::PublicKey;
use dropbear_consensus::registry::{Holding, Version};
use dropbear_model_node::node::STORE_FOLDER;
use dropbear_models::Store;
use serde_json::{Value, json};

use super::{ListArgs, ShowArgs};
use crate::Verdict;
use crate::desk::{Group, key_text, short};

/// What a version does now.
fn state(holding: &Holding, place: usize, next: u64) -> String {
    let version = &holding.versions[place];
    let current = holding.current(next).is_some_and(|current| current.digest == version.version.digest);
    let pending = holding.activations.iter().find(|(from, activated)| *from > next && *activated == Some(place));
    match (&version.withdrawn, pending) {
        (Some(withdrawn), _) if withdrawn.permanent => format!("retired: {}", withdrawn.reason),
        (Some(withdrawn), _) => format!("withdrawn: {}", withdrawn.reason),
        (None, Some((from, _))) => format!("in force from block {from}"),
        (None, None) if current => "in force".into(),
        (None, None) => "published".into(),
    }
}

/// The owners to speak of: all that have models, or the one that is named.
pub(super) fn owners(group: &Group<'_>, name: Option<&str>) -> anyhow::Result<Vec<PublicKey>> {
    let all: Vec<_> = group.state.holdings.keys().copied().collect();
    let Some(name) = name else { return Ok(all) };
    let found: Vec<_> = all.iter().copied().filter(|key| group.name_of(key) == name).collect();
    if found.is_empty() {
        let names: Vec<_> = all.iter().map(|key| group.name_of(key)).collect();
        bail!("no owner `{name}` in {}; there are: {}", group.state.name, names.join(", "));
    }
    Ok(found)
}

pub(super) async fn list(args: &ListArgs, json: bool) -> anyhow::Result<Verdict> {
    let view = args.at.open()?.view().await?;
    let group = view.group(&args.group)?;
    let mut lines = Vec::new();
    for key in owners(&group, args.owner.as_deref())? {
        let holding = group.holding(&key);
        for (place, version) in holding.versions.iter().enumerate() {
            lines.push((group.name_of(&key), version.clone(), state(&holding, place, group.next())));
        }
        let registered = holding
            .models
            .iter()
            .filter(|model| !holding.versions.iter().any(|version| version.version.model == model.name));
        for model in registered.filter(|_| !json) {
            println!("{:<12} {:<14} registered, no version published", group.name_of(&key), model.name);
        }
    }
    for (owner, Version { version, seq, .. }, state) in &lines {
        if json {
            println!("{}", line(owner, version, *seq, state));
        } else {
            println!("{owner:<12} {:<14} {:<14} {}  {state}", version.model, version.label, short(&version.digest));
        }
    }
    Ok(Verdict::Good)
}

fn line(owner: &str, version: &dropbear_certificates::ModelVersion, seq: u64, state: &str) -> Value {
    json!({
        "owner": owner, "model": version.model, "label": version.label, "version": version.digest.to_string(),
        "published_seq": seq, "state": state,
    })
}

pub(super) async fn show(args: &ShowArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let view = owner.desk.view().await?;
    let (group, key) = (view.group(&args.scope.group)?, owner.public());
    let (version, holding) = (group.version(&key, &args.wanted)?, group.holding(&key));
    let place = holding.versions.iter().position(|known| known.version.digest == version.version.digest);
    let state = state(&holding, place.context("a version without a place")?, group.next());
    let model = holding.models.iter().find(|model| model.name == version.version.model);
    let store = owner.folder.as_ref().map(|folder| folder.join("data").join(STORE_FOLDER)).filter(|path| path.is_dir());
    let stored = store.map(|store| Store::open(&store)?.find(&version.version.digest.0)).transpose()?.flatten();
    let card = match &stored {
        Some(stored) => stored.manifest.read_card(stored.path.parent().context("a manifest without a folder")?)?,
        None => None,
    };
    if json {
        let mut shown = line(&group.name_of(&key), &version.version, version.seq, &state);
        shown["key"] = json!(key_text(&key));
        shown["licence"] = json!(model.map(|model| &model.licence));
        shown["lineage"] = json!(model.map(|model| &model.lineage));
        shown["manifest"] = json!(stored.as_ref().map(|stored| &stored.path));
        shown["card"] = json!(card.as_ref().map(|card| json!({
            "licence": card.licence, "task": card.task, "inputs": card.inputs, "outputs": card.outputs,
            "lineage": card.lineage, "metrics": card.metrics,
        })));
        println!("{shown}");
        return Ok(Verdict::Good);
    }
    println!("{} {}  {}", version.version.model, version.version.label, version.version.digest);
    println!("  owner      {} ({})", group.name_of(&key), key_text(&key));
    println!("  state      {state}; published in block {}", version.seq);
    if let Some(model) = model {
        println!("  licence    {}\n  lineage    {}", model.licence, model.lineage);
    }
    match (&stored, &card) {
        (None, _) => println!("  files      not in this owner's store"),
        (Some(stored), None) => println!("  files      {}, no card", stored.path.display()),
        (Some(stored), Some(card)) => {
            println!("  files      {}", stored.path.display());
            println!("  inputs     {}\n  outputs    {}", card.inputs, card.outputs);
            if let Some(metrics) = &card.metrics {
                println!("  metrics    {metrics}");
            }
        }
    }
    Ok(Verdict::Good)
}
