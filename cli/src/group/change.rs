//! Joining, approving and leaving.

use anyhow::{Context as _, bail};
use dropbear_certificates::charter::Seat;
use dropbear_certificates::{Charter, Policy};
use dropbear_consensus::{Approve, Leave, Propose};
use serde_json::json;

use crate::Verdict;
use crate::desk::{Applied, Group, Who, short};

#[derive(clap::Args)]
pub(crate) struct JoinArgs {
    /// The group.
    group: String,
    #[command(flatten)]
    who: Who,
    /// Your name on the roster; the owner's name if not given.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Who controls you: disclosed to everybody.
    #[arg(long)]
    party: String,
    /// Where your model comes from: disclosed to everybody.
    #[arg(long)]
    lineage: String,
}

#[derive(clap::Args)]
pub(crate) struct ApproveArgs {
    /// The group.
    group: String,
    /// The proposal's first digits, or its proposer's name; the only one if not given.
    proposal: Option<String>,
    #[command(flatten)]
    who: Who,
}

/// The smallest quorum of which two always share an honest owner, if the policy has one and it is too small.
fn with_quorum(policy: Policy, owners: u64, faults: u64) -> Policy {
    let least = (owners + faults) / 2 + 1;
    match policy {
        Policy::Exact { quorum } => Policy::Exact { quorum: quorum.max(least) },
        Policy::Within { tensor, epsilon, quorum } => Policy::Within { tensor, epsilon, quorum: quorum.max(least) },
        other => other,
    }
}

/// The charter with one more seat; the fault bound stays, and so do all terms that can.
fn with_seat(charter: &Charter, seat: Seat) -> anyhow::Result<Charter> {
    let mut charter = charter.clone();
    charter.roster.push(seat);
    charter.policy = with_quorum(charter.policy, charter.roster.len() as u64, charter.faults);
    charter.check().context("the group cannot take another owner of this name and key")?;
    Ok(charter)
}

pub(super) async fn join(args: &JoinArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.who.open()?;
    let name = args.name.clone().or_else(|| args.who.owner.clone());
    let name = name.context("say under which name you join: --as NAME")?;
    let view = owner.desk.view().await?;
    let group = view.group(&args.group)?;
    let (charter, previous) = group.latest()?;
    if charter.place(&owner.public()).is_some() {
        bail!("this key has a seat in {} already", args.group);
    }
    let seat = Seat { owner: name, key: owner.public(), party: args.party.clone(), lineage: args.lineage.clone() };
    let propose = Propose {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(&view)?,
        previous: Some(previous),
        charter: with_seat(charter, seat)?,
    };
    let proposal = propose.proposal();
    let applied = owner.send(&propose.sign(&owner.key)).await?;
    if json {
        let needed = charter.approvals;
        println!(
            "{}",
            json!({ "group": args.group, "proposal": proposal.to_string(), "approvals_needed": needed, "seq": applied.seq, "leaf": applied.leaf, "from_seq": applied.charter_from })
        );
        return Ok(Verdict::Good);
    }
    println!("block {}: proposed to join {} ({})", applied.seq, args.group, short(&proposal));
    match applied.charter_from {
        Some(from) => println!("  approved: in force from block {from} on"),
        None => println!(
            "  {} of its owners must approve: dropbear group approve {} {}",
            charter.approvals,
            args.group,
            short(&proposal)
        ),
    }
    println!(
        "  meanwhile register, publish and activate your model: it counts from the first block of the new charter"
    );
    Ok(Verdict::Good)
}

pub(super) async fn approve(args: &ApproveArgs, json: bool) -> anyhow::Result<Verdict> {
    let owner = args.who.open()?;
    let view = owner.desk.view().await?;
    let group = view.group(&args.group)?;
    let is_it = |digest: &str, proposer: &str| match &args.proposal {
        Some(wanted) => proposer == wanted || wanted.len() >= 4 && digest.starts_with(wanted.as_str()),
        None => true,
    };
    let open =
        group.state.proposals.iter().filter(|open| is_it(&open.digest.to_string(), &group.name_of(&open.proposer)));
    let proposal = match open.collect::<Vec<_>>().as_slice() {
        [one] => one.digest,
        [] => bail!("no such proposal is open in {}: see `dropbear group show {0}`", args.group),
        many => bail!("{} proposals are open in {}: name one, see `dropbear group show {1}`", many.len(), args.group),
    };
    let approve = Approve {
        genesis: owner.desk.genesis.digest(),
        owner: owner.public(),
        serial: owner.serial(&view)?,
        group: args.group.clone(),
        proposal,
    };
    let applied = owner.send(&approve.sign(&owner.key)).await?;
    said(&args.group, "approved", &applied, json);
    if !json && applied.charter_from.is_none() {
        println!("  more must approve: see `dropbear group show {}`", args.group);
    }
    Ok(Verdict::Good)
}

pub(super) async fn leave(name: &str, who: &Who, json: bool) -> anyhow::Result<Verdict> {
    let owner = who.open()?;
    let view = owner.desk.view().await?;
    let group: Group<'_> = view.group(name)?;
    group.latest()?;
    let (genesis, serial) = (owner.desk.genesis.digest(), owner.serial(&view)?);
    let leave = Leave { genesis, owner: owner.public(), serial, group: name.to_owned() };
    let applied = owner.send(&leave.sign(&owner.key)).await?;
    said(name, "left", &applied, json);
    Ok(Verdict::Good)
}

fn said(group: &str, what: &str, applied: &Applied, json: bool) {
    if json {
        println!(
            "{}",
            json!({ "group": group, "seq": applied.seq, "leaf": applied.leaf, "from_seq": applied.charter_from })
        );
        return;
    }
    match applied.charter_from {
        Some(from) => {
            println!("block {}: {what}; the new charter of {group} is in force from block {from} on", applied.seq)
        }
        None => println!("block {}: {what}", applied.seq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropbear_certificates::{Assurance, SecretKey};

    fn seat(place: u8) -> Seat {
        let (owner, key) = (format!("owner-{place}"), SecretKey::from_seed(&[place; 32]).public());
        Seat { owner, key, party: String::new(), lineage: String::new() }
    }

    #[test]
    fn a_larger_group_keeps_its_terms_as_far_as_two_quorums_still_meet() {
        let charter = Charter {
            group: "identity".into(),
            task: "identity".into(),
            classes: 0,
            labels: None,
            roster: (0..4).map(seat).collect(),
            policy: Policy::Exact { quorum: 3 },
            faults: 1,
            assurance: Assurance::Robust,
            notice_blocks: 1,
            approvals: 3,
            fee: 1,
        };
        let five = with_seat(&charter, seat(4)).unwrap();
        assert_eq!((five.policy, five.faults, five.approvals), (Policy::Exact { quorum: 4 }, 1, 3));
        assert_eq!(with_seat(&five, seat(5)).unwrap().policy, Policy::Exact { quorum: 4 });
        assert!(with_seat(&charter, seat(0)).is_err(), "a name or key twice");
    }
}
