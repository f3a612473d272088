//! Groups as they stand.

use dropbear_certificates::{Charter, PublicKey};
use serde_json::{Value, json};

use crate::Verdict;
use crate::desk::{Group, Where, key_text, short};

pub(super) async fn list(at: &Where, json: bool) -> anyhow::Result<Verdict> {
    let view = at.open()?.view().await?;
    for group in view.groups() {
        let (name, proposals) = (&group.state.name, group.state.proposals.len());
        let Some(charter) = group.charter() else {
            if json {
                println!("{}", json!({ "group": name, "state": "proposed", "proposals": proposals }));
            } else {
                println!("{name:<16} proposed: see `dropbear group show {name}`");
            }
            continue;
        };
        let owners: Vec<_> = charter.roster.iter().map(|seat| seat.owner.as_str()).collect();
        if json {
            println!(
                "{}",
                json!({
                    "group": name, "state": "in force", "task": charter.task, "policy": charter.policy.name(),
                    "owners": owners, "proposals": proposals,
                })
            );
        } else {
            println!("{name:<16} {:<22} {:<12} {}", charter.task, charter.policy.name(), owners.join(", "));
        }
    }
    Ok(Verdict::Good)
}

fn terms(charter: &Charter) -> Value {
    let owners = charter.roster.iter().map(|seat| {
        json!({ "owner": seat.owner, "key": key_text(&seat.key), "controlling_party": seat.party, "lineage": seat.lineage })
    });
    json!({
        "digest": charter.digest().to_string(), "task": charter.task, "classes": charter.classes,
        "policy": charter.policy.name(), "fault_bound": charter.faults, "assurance": charter.assurance.name(),
        "notice_blocks": charter.notice_blocks, "approvals": charter.approvals, "fee": charter.fee,
        "owners": owners.collect::<Vec<_>>(),
    })
}

pub(super) async fn show(name: &str, at: &Where, json: bool) -> anyhow::Result<Verdict> {
    let view = at.open()?.view().await?;
    let group = view.group(name)?;
    if json {
        println!("{}", as_json(&group));
    } else {
        print(&group);
    }
    Ok(Verdict::Good)
}

fn as_json(group: &Group<'_>) -> Value {
    let next = group.next();
    let models = group.state.holdings.iter().map(|(key, view)| {
        let current = view.holding.current(next);
        json!({
            "owner": group.name_of(key), "key": key_text(key), "endpoints": view.holding.endpoints,
            "current": current.map(|version| json!({ "model": version.model, "label": version.label, "version": version.digest.to_string() })),
        })
    });
    let keys = |keys: &[PublicKey]| keys.iter().map(|key| group.name_of(key)).collect::<Vec<_>>();
    let proposals = group.state.proposals.iter().map(|open| {
        json!({
            "proposal": open.digest.to_string(), "seq": open.seq, "proposer": group.name_of(&open.proposer),
            "approved": keys(&open.approvals.approved), "approvals_needed": open.approvals.needed,
            "consented": keys(&open.approvals.consented), "consent_missing": keys(&open.approvals.missing),
            "charter": terms(&open.charter),
        })
    });
    let pending = group.state.pending(next);
    json!({
        "group": group.state.name, "seq": next - 1,
        "charter": group.state.term(next).map(|term| terms(&term.charter)),
        "pending": pending.map(|term| json!({ "from_seq": term.from_seq, "charter": terms(&term.charter) })),
        "models": models.collect::<Vec<_>>(), "proposals": proposals.collect::<Vec<_>>(),
    })
}

fn print(group: &Group<'_>) {
    let (name, next) = (&group.state.name, group.next());
    if let Some(charter) = group.charter() {
        println!(
            "{name}: {} by {}, {} of {} owners may be Byzantine",
            charter.task,
            charter.policy.name(),
            charter.faults,
            charter.roster.len()
        );
        println!(
            "  {} approvals change it; changes take effect after {} blocks; charter {}",
            charter.approvals,
            charter.notice_blocks.max(1),
            short(&charter.digest())
        );
        for seat in &charter.roster {
            let holding = group.holding(&seat.key);
            let current = holding
                .current(next)
                .map_or_else(|| "no version in force".into(), |version| format!("{} {}", version.model, version.label));
            println!("  {:<12} {:<28} {}", seat.owner, current, holding.endpoints.join(" "));
            println!("  {:<12} controlled by {}; {}", "", seat.party, seat.lineage);
        }
    }
    if let Some(pending) = group.state.pending(next) {
        let owners: Vec<_> = pending.charter.roster.iter().map(|seat| seat.owner.as_str()).collect();
        println!("  from block {} on: {}", pending.from_seq, owners.join(", "));
    }
    for open in &group.state.proposals {
        let names = |keys: &[PublicKey]| keys.iter().map(|key| group.name_of(key)).collect::<Vec<_>>().join(", ");
        let owners: Vec<_> = open.charter.roster.iter().map(|seat| seat.owner.as_str()).collect();
        println!("  proposal {} by {}: {}", short(&open.digest), group.name_of(&open.proposer), owners.join(", "));
        println!(
            "    approved by {} of {}: {}",
            open.approvals.approved.len(),
            open.approvals.needed,
            names(&open.approvals.approved)
        );
        if !open.approvals.missing.is_empty() {
            println!("    consent is missing of {}", names(&open.approvals.missing));
        }
    }
}
