//! What an owner said to the ledger, from the first block on.
//!
//! The blocks come from one coordinator, whose word it is; `dropbear bench history` holds a ledger against its quorum.

use anyhow::Context as _;
use dropbear_consensus::{Entry, Proposal};
use dropbear_wire::convert::Attested;
use dropbear_wire::{client, v1};
use serde_json::json;
use tonic::Streaming;

use super::HistoryArgs;
use crate::Verdict;
use crate::desk::{Desk, short};

pub(super) async fn run(args: &HistoryArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.who.open()?;
    let mut blocks = blocks(&owner.desk).await?;
    while let Some(block) = blocks.message().await.map_err(|status| anyhow::anyhow!("{}", status.message()))? {
        let Attested { header, .. } = Attested::try_from(block.attested.as_ref().context("a block without header")?)?;
        for bytes in Proposal::from_bytes(&block.payload)?.entries {
            let entry = Entry::from_bytes(&bytes)?;
            let Some((statement, _)) = entry.statement().filter(|(entry, _)| *entry.signer() == owner.public()) else {
                continue;
            };
            let (group, text) = describe(&entry);
            if args.group.as_ref().is_some_and(|wanted| group.is_some_and(|group| group != wanted)) {
                continue;
            }
            if json {
                let (seq, time, name) = (header.seq, header.agreed_ms, statement.name());
                println!("{}", json!({ "seq": seq, "agreed_ms": time, "entry": name, "group": group, "what": text }));
            } else {
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(header.agreed_ms);
                let time = humantime::format_rfc3339_seconds(time);
                println!("{:>7}  {time}  {:<12} {:<10} {text}", header.seq, group.unwrap_or("-"), statement.name());
            }
        }
    }
    Ok(Verdict::Good)
}

/// The first coordinator that answers.
async fn blocks(desk: &Desk) -> anyhow::Result<Streaming<v1::Block>> {
    let mut problem = anyhow::anyhow!("this market has no coordinator");
    for address in desk.coordinators()? {
        let request = v1::BlocksRequest { from_seq: 1, to_seq: 0, want_leaves: false };
        match client::ledger(*address).blocks(request).await {
            Ok(stream) => return Ok(stream.into_inner()),
            Err(status) => problem = anyhow::anyhow!("{address}: {}", status.message()),
        }
    }
    Err(problem.context("no coordinator answers: start the market with `dropbear up`"))
}

/// An owner's entry for people: its group, and what it says.
fn describe(entry: &Entry) -> (Option<&str>, String) {
    match entry {
        Entry::Register(e, _) => (Some(&e.group), format!("{} ({}), {}", e.model, e.licence, e.lineage)),
        Entry::Publish(e, _) => (Some(&e.group), format!("{} {} {}", e.model, e.label, short(&e.version))),
        Entry::Activate(e, _) => (Some(&e.group), short(&e.version)),
        Entry::Withdraw(e, _) => {
            let kind = if e.permanent { "for good" } else { "until activated again" };
            (Some(&e.group), format!("{} {kind}: {}", short(&e.version), e.reason))
        }
        Entry::Endpoints(e, _) => (Some(&e.group), e.endpoints.join(" ")),
        Entry::Propose(e, _) => {
            let owners: Vec<_> = e.charter.roster.iter().map(|seat| seat.owner.as_str()).collect();
            (Some(&e.charter.group), format!("{} with {}", short(&e.proposal()), owners.join(", ")))
        }
        Entry::Approve(e, _) => (Some(&e.group), short(&e.proposal)),
        Entry::Leave(e, _) => (Some(&e.group), String::new()),
        Entry::Rekey(e, _) => (None, format!("to {}", crate::desk::key_text(&e.new_key))),
        Entry::Evidence(e, _) => (Some(e.group()), format!("against {}", crate::desk::key_text(e.accused()))),
        Entry::Submission(_) | Entry::Late(_) => (None, String::new()),
    }
}
