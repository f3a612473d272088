//! What the ledger knows of an owner.

use serde_json::json;

use crate::Verdict;
use crate::desk::{Who, key_text};

pub(super) async fn run(who: &Who, json: bool) -> anyhow::Result<Verdict> {
    let owner = who.open()?;
    let (key, view) = (owner.public(), owner.desk.view().await?);
    let replaced = view.registry.replaced_keys.get(&key);
    let convictions: Vec<_> = view.registry.convictions.iter().filter(|guilt| guilt.owner == key).collect();
    let mut groups = Vec::new();
    for group in view.groups() {
        let next = group.next();
        let seat =
            |charter: &dropbear_certificates::Charter| charter.roster.iter().find(|seat| seat.key == key).cloned();
        let in_force = group.state.term(next).and_then(|term| seat(&term.charter));
        let pending = group.state.pending(next).and_then(|term| seat(&term.charter).map(|_| term.from_seq));
        let proposed = group.state.proposals.iter().any(|open| seat(&open.charter).is_some());
        let holding = group.holding(&key);
        let standing = match (&in_force, pending, proposed) {
            (Some(_), ..) => "seated".to_owned(),
            (None, Some(from), _) => format!("seated from block {from}"),
            (None, None, true) => "proposed".to_owned(),
            (None, None, false) if holding.models.is_empty() => continue,
            (None, None, false) => "left".to_owned(),
        };
        let current = holding.current(next).map(|version| format!("{} {}", version.model, version.label));
        groups.push(json!({
            "group": group.state.name, "standing": standing, "name": in_force.map(|seat| seat.owner),
            "models": holding.models.len(), "versions": holding.versions.len(), "current": current,
            "endpoints": holding.endpoints,
        }));
    }
    if json {
        let shown = json!({
            "key": key_text(&key), "serial": view.serial(&key), "replaced_by": replaced.map(key_text),
            "equivocations": convictions.iter().map(|guilt| json!({ "seq": guilt.seq, "leaf": guilt.leaf_index })).collect::<Vec<_>>(),
            "groups": groups,
        });
        println!("{shown}");
        return Ok(Verdict::Good);
    }
    println!("key  {}", key_text(&key));
    if let Some(newer) = replaced {
        println!("  replaced by {}: it signs nothing any more", key_text(newer));
    }
    for guilt in &convictions {
        println!("  guilty of equivocation: evidence in block {}, leaf {}", guilt.seq, guilt.leaf_index);
    }
    for group in &groups {
        let text = |field: &str| group[field].as_str().unwrap_or("none").to_owned();
        println!(
            "  {:<14} {:<10} current {}, {} versions, nodes {}",
            text("group"),
            text("standing"),
            text("current"),
            group["versions"],
            group["endpoints"]
        );
    }
    if groups.is_empty() {
        println!("  no seat anywhere: see `dropbear group list`, then `dropbear group join`");
    }
    Ok(Verdict::Good)
}
