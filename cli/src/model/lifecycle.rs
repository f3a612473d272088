//! Registering, activating, rolling back and retiring.

use anyhow::{Context as _, bail};
use dropbear_certificates::Digest;
use dropbear_consensus::registry::Version;
use dropbear_consensus::{Activate, Register, Withdraw};
use dropbear_models::Manifest;
use serde_json::json;

use super::{ActivateArgs, RegisterArgs, RetireArgs, RollbackArgs, Scope};
use crate::Verdict;
use crate::desk::{Applied, Group, Owner, View, short};

pub(super) async fn register(args: &RegisterArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let manifest = Manifest::load(&args.manifest)?;
    let view = owner.desk.view().await?;
    view.group(&args.scope.group)?;
    let register = Register {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(&view)?,
        group: args.scope.group.clone(),
        model: manifest.name.clone(),
        licence: manifest.licence.clone(),
        lineage: manifest.lineage.clone(),
    };
    let applied = owner.send(&register.sign(&owner.key)).await?;
    if json {
        println!("{}", json!({ "model": manifest.name, "seq": applied.seq, "leaf": applied.leaf }));
    } else {
        println!("block {}: registered {} ({})", applied.seq, manifest.name, manifest.licence);
        println!("  next: dropbear model publish {}", args.manifest.display());
    }
    Ok(Verdict::Good)
}

pub(super) async fn activate(args: &ActivateArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let view = owner.desk.view().await?;
    let version = view.group(&args.scope.group)?.version(&owner.public(), &args.wanted)?;
    put_into_force(&owner, &view, &args.scope, &version, args.from_seq, json).await
}

pub(super) async fn rollback(args: &RollbackArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let view = owner.desk.view().await?;
    let before = before(&view.group(&args.scope.group)?, &owner)?;
    put_into_force(&owner, &view, &args.scope, &before, 0, json).await
}

/// The newest version that was in force before the one that is, and that may be again.
fn before(group: &Group<'_>, owner: &Owner) -> anyhow::Result<Version> {
    let holding = group.holding(&owner.public());
    let current = holding.current(group.next()).map(|version| version.digest);
    let past = holding.activations.iter().rev().filter(|(from, _)| *from <= group.next());
    let versions = past.filter_map(|(_, version)| holding.versions.get((*version)?));
    let usable = |version: &&Version| !version.withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.permanent);
    let mut others = versions.filter(usable).filter(|version| Some(version.version.digest) != current);
    others.next().cloned().context("no other version was in force before: activate one by its label")
}

async fn put_into_force(
    owner: &Owner,
    view: &View,
    scope: &Scope,
    version: &Version,
    from_seq: u64,
    json: bool,
) -> anyhow::Result<Verdict> {
    let activate = Activate {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(view)?,
        group: scope.group.clone(),
        version: version.version.digest,
        from_seq,
    };
    let applied = owner.send(&activate.sign(&owner.key)).await?;
    let from = from_seq.max(applied.seq + notice(view, &scope.group, &applied)?);
    let version = &version.version;
    if json {
        let digest = version.digest.to_string();
        println!(
            "{}",
            json!({
                "model": version.model, "label": version.label, "version": digest,
                "seq": applied.seq, "leaf": applied.leaf, "from_seq": from,
            })
        );
    } else {
        println!(
            "block {}: {} {} ({}) is in force from block {from} on",
            applied.seq,
            version.model,
            version.label,
            short(&version.digest)
        );
    }
    Ok(Verdict::Good)
}

/// After how many blocks a change of block `applied.seq` takes effect.
fn notice(view: &View, group: &str, applied: &Applied) -> anyhow::Result<u64> {
    let group = view.group(group)?;
    let term = group.state.term(applied.seq).or_else(|| group.state.terms.last());
    Ok(term.map_or(1, |term| term.charter.notice_blocks.max(1)))
}

pub(super) async fn retire(args: &RetireArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.scope.who.open()?;
    let view = owner.desk.view().await?;
    let group = view.group(&args.scope.group)?;
    let version = match group.version(&owner.public(), &args.wanted) {
        Ok(version) => version.version.digest,
        // A whole digest is taken as it is: the ledger says whose it is not.
        Err(error) => match Digest::from_hex(&args.wanted) {
            Some(digest) => digest,
            None => bail!(error),
        },
    };
    let withdraw = Withdraw {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(&view)?,
        group: args.scope.group.clone(),
        version,
        permanent: !args.temporary,
        reason: args.reason.clone(),
    };
    let applied = owner.send(&withdraw.sign(&owner.key)).await?;
    let from = applied.seq + notice(&view, &args.scope.group, &applied)?;
    if json {
        let permanent = !args.temporary;
        println!(
            "{}",
            json!({ "version": version.to_string(), "permanent": permanent, "seq": applied.seq, "leaf": applied.leaf, "from_seq": from })
        );
    } else {
        let again = if args.temporary { "it may be activated again" } else { "it can never be activated again" };
        println!(
            "block {}: retired {}; from block {from} on it does not serve, and {again}",
            applied.seq,
            short(&version)
        );
    }
    Ok(Verdict::Good)
}
