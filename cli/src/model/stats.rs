//! What owners did, as the ledger counts it.

use anyhow::bail;
use dropbear_consensus::Account;
use serde_json::json;

use super::ListArgs;
use crate::Verdict;
use crate::desk::key_text;

pub(super) async fn run(args: &ListArgs, json: bool) -> anyhow::Result<Verdict> {
    let desk = args.at.open()?;
    let (view, accounts) = (desk.view().await?, desk.accounts(&args.group).await?);
    let group = view.group(&args.group)?;
    let named = accounts.into_iter().map(|(key, account)| (group.name_of(&key), key, account));
    let shown: Vec<_> = named.filter(|(name, ..)| args.owner.as_ref().is_none_or(|owner| owner == name)).collect();
    if shown.is_empty() {
        match &args.owner {
            Some(owner) => bail!("the ledger has no account of `{owner}` in {}: it was asked nothing yet", args.group),
            None if !json => println!("nothing was asked of {} yet", args.group),
            None => {}
        }
        return Ok(Verdict::Good);
    }
    if !json {
        println!(
            "{:<12} {:>9} {:>9} {:>7} {:>7} {:>9} {:>9} {:>7} {:>9} {:>9}",
            "OWNER", "REQUESTS", "IN TIME", "LATE", "STALE", "ABSTAINED", "DISSENTED", "AGREED", "PAID", "EARNED"
        );
    }
    for (name, key, account) in &shown {
        let Account { offered, counted, late, agreed, dissented, stale, abstained, paid, earned } = *account;
        let voted = agreed + dissented;
        let agreement = (voted > 0).then(|| agreed as f64 / voted as f64);
        if json {
            println!(
                "{}",
                json!({
                    "owner": name, "key": key_text(key), "requests": offered, "in_time": counted, "late": late,
                    "agreed": agreed, "dissented": dissented, "agreement": agreement, "stale": stale,
                    "abstained": abstained, "paid": paid, "earned": earned,
                })
            );
        } else {
            let agreement = agreement.map_or_else(|| "-".into(), |rate| format!("{:.1} %", rate * 100.0));
            println!(
                "{name:<12} {offered:>9} {counted:>9} {late:>7} {stale:>7} {abstained:>9} {dissented:>9} {agreement:>7} {paid:>9} {earned:>9}"
            );
        }
    }
    Ok(Verdict::Good)
}
