//! Two certificates that cannot both be honest.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use dropbear_certificates::conflict::{ConflictKind, LedgerOpening, Verdict as Finding, check};
use dropbear_certificates::{PublicKey, Verified};
use serde_json::json;

use super::Root;
use crate::{Trust, Verdict};

/// Two certificates of one market.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One certificate.
    a: PathBuf,
    /// The other.
    b: PathBuf,
    #[command(flatten)]
    trust: Trust,
    /// What the later certificate's ledger root holds at the earlier one's seq.
    #[arg(long, value_name = "FILE")]
    opening: Option<PathBuf>,
}

pub(super) fn run(args: &Args, json: bool) -> anyhow::Result<Verdict> {
    let root = Root::read(&args.trust)?;
    let (a, b) = (verified(&root, &args.a)?, verified(&root, &args.b)?);
    let opening = match &args.opening {
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let opening = LedgerOpening::from_bytes(&bytes);
            Some(opening.map_err(|error| anyhow::anyhow!("{} is no ledger opening: {error}", path.display()))?)
        }
        None => None,
    };
    let finding = check(&a, &b, opening.as_ref());
    let (word, detail, guilty) = match &finding {
        Finding::Consistent => ("consistent", "the certificates do not contradict each other".to_owned(), Vec::new()),
        Finding::Unresolved(missing) => ("unresolved", missing.to_string(), Vec::new()),
        Finding::Conflict { kind, guilty } => ("conflict", describe(*kind).to_owned(), names(&root, guilty)),
    };
    if json {
        println!("{}", json!({ "verdict": word, "detail": detail, "guilty": guilty }));
    } else {
        println!("{}: {detail}", word.to_uppercase());
        guilty.iter().for_each(|member| println!("  guilty: {member}"));
    }
    Ok(if finding == Finding::Consistent { Verdict::Good } else { Verdict::Bad })
}

fn verified(root: &Root, path: &Path) -> anyhow::Result<Verified> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match root.verify(&bytes) {
        Ok(verified) => Ok(verified),
        Err(refusal) => bail!("{} proves nothing: {refusal} ({})", path.display(), refusal.code()),
    }
}

const fn describe(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::SameSeq => "two different headers were attested at one place in the ledger",
        ConflictKind::Rewritten => "the later header's ledger holds another header at the earlier place",
        ConflictKind::TwoOutcomes => "one ledger holds two outcomes of one request",
    }
}

fn names(root: &Root, keys: &[PublicKey]) -> Vec<String> {
    let members = &root.trust.genesis().committee.members;
    let name = |key: &PublicKey| {
        let member = members.iter().find(|member| member.attestation == *key);
        format!("{} {key}", member.map_or("(unknown member)", |member| &member.name))
    };
    keys.iter().map(name).collect()
}
