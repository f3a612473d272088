//! Proposing a new group.

use anyhow::{Context as _, bail};
use dropbear_certificates::charter::Seat;
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::{Assurance, Charter, Digest, Policy, PublicKey};
use dropbear_consensus::Propose;
use serde_json::json;

use crate::Verdict;
use crate::desk::{Who, short};

/// The group's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PolicyName {
    Exact,
    Plurality,
    Borda,
    Median,
    TrimmedMean,
    Within,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The group's name.
    name: String,
    #[command(flatten)]
    who: Who,
    /// What its models do: identity, image-classification, regression or embedding.
    #[arg(long)]
    task: String,
    /// Classes that its models tell apart.
    #[arg(long, default_value_t = 0)]
    classes: u32,
    /// How votes become an outcome.
    #[arg(long, value_enum)]
    policy: PolicyName,
    /// Classes that each ballot ranks (borda).
    #[arg(long, default_value_t = 5)]
    ranks: u64,
    /// Numbers of one answer (median, trimmed-mean, within).
    #[arg(long, default_value_t = 1)]
    length: u32,
    /// Bits after the binary point of each number.
    #[arg(long, default_value_t = 16)]
    fraction_bits: u32,
    /// The smallest and the largest number that is admitted, as whole multiples of 2^-fraction_bits.
    #[arg(long, default_value_t = -i64::from(i32::MAX), allow_hyphen_values = true)]
    min: i64,
    #[arg(long, default_value_t = i64::from(i32::MAX), allow_hyphen_values = true)]
    max: i64,
    /// How far answers may lie apart (within), as a whole multiple of 2^-fraction_bits.
    #[arg(long, default_value_t = 65_536)]
    epsilon: u64,
    /// The owners, you included: NAME=KEY, NAME=KEY=PARTY or NAME=KEY=PARTY=LINEAGE, each with its own --seat.
    #[arg(long = "seat", value_name = "NAME=KEY[=PARTY[=LINEAGE]]", required = true)]
    seats: Vec<String>,
    /// Owners that may be Byzantine; as many as the group can bear if not given.
    #[arg(long)]
    faults: Option<u64>,
    /// Owners that must approve a change; two thirds of them if not given.
    #[arg(long)]
    approvals: Option<u64>,
    /// Blocks between a change and its effect.
    #[arg(long, default_value_t = 1)]
    notice_blocks: u64,
    /// What a ballot costs, in the market's smallest unit.
    #[arg(long, default_value_t = 1)]
    fee: u64,
}

fn seat(text: &str) -> anyhow::Result<Seat> {
    let mut parts = text.splitn(4, '=');
    let (owner, key) = (parts.next().unwrap_or_default(), parts.next().context("a seat is NAME=KEY")?);
    let key = Digest::from_hex(key).and_then(|key| PublicKey::from_bytes(&key.0).ok());
    let key = key.with_context(|| format!("the key of {owner} is 64 hexadecimal digits, see `dropbear owner show`"))?;
    let mut text = || parts.next().unwrap_or_default().to_owned();
    Ok(Seat { owner: owner.to_owned(), key, party: text(), lineage: text() })
}

fn charter(args: &Args) -> anyhow::Result<Charter> {
    let roster = args.seats.iter().map(|text| seat(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let owners = roster.len() as u64;
    let faults = args.faults.unwrap_or((owners - 1) / 3);
    let quorum = (owners + faults) / 2 + 1;
    let tensor = TensorBounds { length: args.length, fraction_bits: args.fraction_bits, min: args.min, max: args.max };
    let policy = match args.policy {
        PolicyName::Exact => Policy::Exact { quorum },
        PolicyName::Plurality => Policy::Plurality,
        PolicyName::Borda => Policy::Borda { ranks: args.ranks },
        PolicyName::Median => Policy::Median { tensor },
        PolicyName::TrimmedMean => Policy::TrimmedMean { tensor },
        PolicyName::Within => Policy::Within { tensor, epsilon: args.epsilon, quorum },
    };
    let charter = Charter {
        group: args.name.clone(),
        task: args.task.clone(),
        classes: args.classes,
        labels: None,
        roster,
        assurance: policy.strongest().min(Assurance::Robust),
        policy,
        faults,
        notice_blocks: args.notice_blocks,
        approvals: args.approvals.unwrap_or_else(|| (2 * owners).div_ceil(3)),
        fee: args.fee,
    };
    charter.check().context("this is no charter")?;
    Ok(charter)
}

pub(super) async fn run(args: &Args, json: bool) -> anyhow::Result<Verdict> {
    let (owner, charter) = (args.who.open()?, charter(args)?);
    if charter.place(&owner.public()).is_none() {
        bail!("you are not among the owners: add --seat NAME={}", crate::desk::key_text(&owner.public()));
    }
    let view = owner.desk.view().await?;
    let (genesis, serial) = (owner.desk.genesis.digest(), owner.serial(&view)?);
    let propose = Propose { genesis, owner: owner.public(), serial, previous: None, charter };
    let proposal = propose.proposal();
    let applied = owner.send(&propose.sign(&owner.key)).await?;
    if json {
        println!(
            "{}",
            json!({ "group": args.name, "proposal": proposal.to_string(), "seq": applied.seq, "leaf": applied.leaf, "from_seq": applied.charter_from })
        );
        return Ok(Verdict::Good);
    }
    println!("block {}: proposed the group {} ({})", applied.seq, args.name, short(&proposal));
    match applied.charter_from {
        Some(from) => println!("  it begins with block {from}"),
        None => println!(
            "  every other owner on its roster must consent: dropbear group approve {} {}",
            args.name,
            short(&proposal)
        ),
    }
    Ok(Verdict::Good)
}
