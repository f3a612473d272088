//! What a verified certificate proves, for people and for programs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use dropbear_certificates::record::VoteGroup;
use dropbear_certificates::{Charter, Origin, Outcome, Record, Verified, Vote};
use serde_json::json;

use super::Root;

fn names(charter: &Charter, owners: impl Iterator<Item = usize>) -> String {
    let names: Vec<_> = owners.map(|place| charter.roster[place].owner.as_str()).collect();
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}

/// What a verified certificate proves, for people.
pub(super) fn statement(root: &Root, verified: &Verified, image_given: bool) -> String {
    let (record, charter) = (verified.record(), verified.charter());
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12}{value}\n"));
    line("answer", answer(root, verified));
    if record.outcome == Outcome::Agreed {
        line("so that", record.policy.promise(record.assurance).into());
    }
    for (votes, owners) in votes(root, verified) {
        line("votes", format!("{votes}: {owners}"));
    }
    line("request", request(verified, image_given));
    match &verified.attachments().models {
        Some(models) => {
            let versions = models.0.iter().enumerate().filter_map(|(place, version)| {
                let version = version.as_ref()?;
                Some(format!("{} {} {}", charter.roster[place].owner, version.model, version.digest.short()))
            });
            line("models", versions.collect::<Vec<_>>().join("; "));
        }
        None => line("models", format!("the set {} (not shown)", record.model_set.short())),
    }
    let (members, quorum) = (&verified.committee().members, verified.committee().quorum());
    let signers: Vec<_> = verified.signers().iter().map(|place| members[*place].name.as_str()).collect();
    line("attested by", format!("{} ({} of {}, quorum {quorum})", signers.join(", "), signers.len(), members.len()));
    line("when", format!("{}, block {}, leaf {}", time(record.agreed_ms), record.seq, record.leaf_index));
    line("trust root", format!("genesis {}, made {}", record.genesis, time(root.trust.genesis().created_ms)));
    if !verified.is_trust_current() {
        line("", "signed after governance changes that this trust root has not seen: fetch the chain".into());
    }
    line("not proven", "that the named weights computed these votes; that the owners are independent".into());
    line("", "of each other (they disclose it); that nobody asked before under another nonce.".into());
    text
}

fn answer(root: &Root, verified: &Verified) -> String {
    let record = verified.record();
    let demand = record.demand.name();
    match (record.outcome, verified.result()) {
        (Outcome::Agreed, Some(result)) => {
            format!("{}, {} ({demand} was demanded)", describe(root, verified.charter(), result), record.assurance)
        }
        (Outcome::Agreed, None) => format!("agreed, {}; the votes are not shown", record.assurance),
        (Outcome::NoAgreement, _) => format!("no agreement: the votes cannot reach {demand}"),
    }
}

/// A vote or a result, for people.
fn describe(root: &Root, charter: &Charter, vote: &Vote) -> String {
    match vote {
        Vote::Class(class) => format!("\"{}\" (class {class})", root.label(charter, *class)),
        Vote::Ranking(classes) => {
            let labels: Vec<_> = classes.iter().map(|class| root.label(charter, *class)).collect();
            labels.join(" > ")
        }
        Vote::Output(digest) => format!("output {}…", digest.short()),
        Vote::Tensor(values) => format!("{} fixed-point values", values.len()),
        Vote::Abstain => "no answer".into(),
    }
}

fn votes(root: &Root, verified: &Verified) -> Vec<(String, String)> {
    let (record, charter) = (verified.record(), verified.charter());
    let mut shown = verified.attachments().votes.iter().flat_map(|votes| &votes.votes);
    let name = |group: &VoteGroup| match group.commitment {
        None => "no answer".to_owned(),
        Some(commitment) => match shown.next() {
            Some(vote) => describe(root, charter, vote),
            None => format!("hidden vote {}", commitment.short()),
        },
    };
    let groups = record.votes.iter().map(name).collect::<Vec<_>>();
    let mut lines: Vec<_> = groups
        .into_iter()
        .zip(&record.votes)
        .map(|(name, group)| (name, names(charter, group.owners.iter())))
        .collect();
    let voted = |place: &usize| record.votes.iter().any(|group| group.owners.contains(*place));
    let missing: Vec<_> = (0..charter.roster.len()).filter(|place| !voted(place)).collect();
    if !missing.is_empty() {
        lines.push(("missing".into(), names(charter, missing.into_iter())));
    }
    lines
}

fn request(verified: &Verified, image_given: bool) -> String {
    let record = verified.record();
    let origin = match record.origin {
        Origin::ClientSigned => "signed by the client",
        Origin::GatewayMinted => "named by the gateway (says nothing about who asked, or how often)",
    };
    let about = match (&verified.attachments().request, image_given) {
        (Some(_), true) => "about the given image; ",
        (Some(request), false) => return format!("about input {}; {origin}", request.opening.input),
        (None, _) => "input not shown; ",
    };
    format!("{about}{origin}")
}

fn time(unix_ms: u64) -> String {
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms);
    let stamp = humantime::format_rfc3339_seconds(then);
    match SystemTime::now().duration_since(then) {
        Ok(age) => format!("{stamp} ({} ago)", humantime::format_duration(Duration::from_secs(age.as_secs()))),
        Err(_) => format!("{stamp} (in the future by this clock)"),
    }
}

pub(super) fn record_json(record: &Record) -> serde_json::Value {
    let group = |group: &VoteGroup| {
        json!({
            "commitment": group.commitment.map(|commitment| commitment.to_string()),
            "owners": group.owners.iter().collect::<Vec<_>>(),
        })
    };
    json!({
        "genesis": record.genesis.to_string(), "epoch": record.epoch, "config": record.config.to_string(),
        "group": record.group, "charter": record.charter.to_string(), "model_set": record.model_set.to_string(),
        "request_id": record.request.to_string(), "request_commitment": record.commitment.to_string(),
        "expiry_ms": record.expiry_ms,
        "origin": match record.origin { Origin::ClientSigned => "client", Origin::GatewayMinted => "gateway" },
        "policy": record.policy.name(), "owners": record.owners, "fault_bound": record.faults,
        "demand": record.demand.name(), "votes": record.votes.iter().map(group).collect::<Vec<_>>(),
        "outcome": record.outcome.name(), "assurance": record.assurance.name(),
        "ballots_root": record.ballots.to_string(), "seq": record.seq, "leaf_index": record.leaf_index,
        "agreed_ms": record.agreed_ms,
    })
}

pub(super) fn proven_json(root: &Root, path: &Path, verified: &Verified) -> serde_json::Value {
    let class = verified.class();
    json!({
        "file": path, "verified": true,
        "class": class, "label": class.map(|class| root.label(verified.charter(), class)),
        "signers": verified.signers(), "record": record_json(verified.record()),
    })
}
