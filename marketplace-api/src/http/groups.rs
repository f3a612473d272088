//! Groups as the ledger has them: charters, owners, models, what waits for approval, and accounts. Owners' programs read
//! here what they need to make their entries.

use axum::Json;
use axum::extract::{Path, State};
use data_encoding::BASE64URL_NOPAD;
use dropbear_certificates::{Charter, PublicKey};
use dropbear_consensus::registry::{Term, Version};
use dropbear_wire::registry::{GroupState, ProposalView};
use dropbear_wire::v1::Account;
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;

pub(crate) async fn groups(State(shared): State<Shared>) -> Json<Value> {
    let ledger = shared.core.ledger();
    let groups: Vec<_> = ledger.registry.groups.values().map(|group| summary(&shared, group, ledger.seq)).collect();
    let replaced = ledger.registry.replaced_keys.iter();
    let replaced = replaced.map(|(old, new)| json!({ "key": old.to_string(), "replaced_by": new.to_string() }));
    let convictions = ledger.registry.convictions.iter().map(|guilt| {
        json!({ "key": guilt.owner.to_string(), "epoch": guilt.epoch, "seq": guilt.seq, "leaf": guilt.leaf_index })
    });
    Json(json!({
        "genesis": shared.core.market.trust.digest().to_string(),
        "seq": ledger.seq,
        "agreed_ms": ledger.agreed_ms,
        "followed": ledger.connected,
        "groups": groups,
        "replaced_keys": replaced.collect::<Vec<_>>(),
        "convictions": convictions.collect::<Vec<_>>(),
    }))
}

pub(crate) async fn group(State(shared): State<Shared>, Path(group): Path<String>) -> Result<Json<Value>, ApiError> {
    let (state, seq) = (shared.core.state(&group)?, shared.core.ledger().seq);
    Ok(Json(summary(&shared, &state, seq)))
}

/// A group by what is in force in the next block, was before it, is pending or proposed, and what its owners hold.
fn summary(shared: &Shared, group: &GroupState, seq: u64) -> Value {
    let in_force = group.term(seq + 1);
    let before = in_force.and_then(|term| group.terms.iter().rev().find(|earlier| earlier.from_seq < term.from_seq));
    let mut shown = match in_force {
        Some(term) => terms(shared, group, term, seq + 1),
        None => json!({ "owners": [] }),
    };
    shown["group"] = json!(group.name);
    shown["ready"] = json!(shared.core.is_group_ready(&group.name));
    shown["before"] = before.map_or(Value::Null, |term| terms(shared, group, term, term.from_seq));
    shown["pending"] = group.pending(seq + 1).map_or(Value::Null, |term| terms(shared, group, term, term.from_seq));
    shown["holdings"] = group.holdings.keys().map(|owner| holding(group, owner, seq + 1)).collect();
    shown["proposals"] = group.proposals.iter().map(|open| proposal(shared, group, open, seq + 1)).collect();
    shown
}

fn terms(shared: &Shared, group: &GroupState, term: &Term, seq: u64) -> Value {
    let mut shown = charter(shared, group, &term.charter, seq);
    shown["charter"] = json!(term.digest.to_string());
    shown["from_seq"] = json!(term.from_seq);
    shown
}

/// A charter, with its owners' models as of `seq`.
fn charter(shared: &Shared, group: &GroupState, charter: &Charter, seq: u64) -> Value {
    let current = |owner: &PublicKey| {
        let version = group.current(owner, seq)?;
        Some(json!({ "model": version.model, "version": version.label, "digest": version.digest.to_string() }))
    };
    let owner = |seat: &dropbear_certificates::charter::Seat| {
        json!({
            "owner": seat.owner,
            "key": seat.key.to_string(),
            "controlling_party": seat.party,
            "lineage": seat.lineage,
            "current": current(&seat.key),
        })
    };
    json!({
        "task": charter.task,
        "classes": charter.classes,
        "labels": shared.core.market.labels(charter).map(<[String]>::len),
        "policy": charter.policy.name(),
        "fault_bound": charter.faults,
        "assurance": charter.assurance.name(),
        "notice_blocks": charter.notice_blocks,
        "approvals": charter.approvals,
        "fee": charter.fee,
        "owners": charter.roster.iter().map(owner).collect::<Vec<_>>(),
        // What its digest is of, with all that is not told here.
        "encoded": BASE64URL_NOPAD.encode(&charter.to_bytes()),
    })
}

fn proposal(shared: &Shared, group: &GroupState, open: &ProposalView, seq: u64) -> Value {
    let keys = |keys: &[PublicKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "proposal": open.digest.to_string(),
        "seq": open.seq,
        "proposer": open.proposer.to_string(),
        "approved": keys(&open.approvals.approved),
        "approvals_needed": open.approvals.needed,
        "consented": keys(&open.approvals.consented),
        "consents_missing": keys(&open.approvals.missing),
        "charter": charter(shared, group, &open.charter, seq),
    })
}

/// What one key holds in a group.
fn holding(group: &GroupState, owner: &PublicKey, seq: u64) -> Value {
    let Some(view) = group.holdings.get(owner) else { return Value::Null };
    let held = &view.holding;
    let version = |version: &Version| {
        let withdrawn = version.withdrawn.as_ref().map(
            |withdrawn| json!({ "seq": withdrawn.seq, "permanent": withdrawn.permanent, "reason": withdrawn.reason }),
        );
        let named = &version.version;
        json!({
            "model": named.model,
            "version": named.label,
            "digest": named.digest.to_string(),
            "seq": version.seq,
            "withdrawn": withdrawn,
        })
    };
    let digest = |index: usize| held.versions.get(index).map(|version| version.version.digest.to_string());
    let activation =
        |(from, index): &(u64, Option<usize>)| json!({ "from_seq": from, "digest": index.and_then(digest) });
    let models = held.models.iter();
    json!({
        "key": owner.to_string(),
        "serial": view.serial,
        "endpoints": held.endpoints,
        "models": models.map(|model| {
            json!({ "model": model.name, "licence": model.licence, "lineage": model.lineage })
        }).collect::<Vec<_>>(),
        "versions": held.versions.iter().map(version).collect::<Vec<_>>(),
        "activations": held.activations.iter().map(activation).collect::<Vec<_>>(),
        "current": group.current(owner, seq).map(|version| version.digest.to_string()),
    })
}

pub(crate) async fn accounts(State(shared): State<Shared>, Path(group): Path<String>) -> Result<Json<Value>, ApiError> {
    let told = shared.core.accounts(&group).await?;
    let state = shared.core.state(&group)?;
    let name = |key: &PublicKey| {
        let seats = state.terms.iter().rev().flat_map(|term| &term.charter.roster);
        seats.into_iter().find(|seat| seat.key == *key).map(|seat| seat.owner.clone())
    };
    let accounts: Vec<_> = told.accounts.iter().filter_map(|account| account_json(account, name)).collect();
    Ok(Json(json!({ "group": group, "seq": told.seq, "told_by": told.told_by, "accounts": accounts })))
}

fn account_json(account: &Account, name: impl Fn(&PublicKey) -> Option<String>) -> Option<Value> {
    let key = PublicKey::from_bytes(&account.owner.as_ref().try_into().ok()?).ok()?;
    Some(json!({
        "owner": name(&key),
        "key": key.to_string(),
        "offered": account.offered,
        "counted": account.counted,
        "late": account.late,
        "agreed": account.agreed,
        "dissented": account.dissented,
        "stale": account.stale,
        "abstained": account.abstained,
        "paid": account.paid,
        "earned": account.earned,
    }))
}
