//! How answers are shown, in every protocol: tallies, items, output tensors.

use dropbear_certificates::policy::Points;
use dropbear_certificates::{Charter, Policy, Vote};
use serde_json::{Value, json};

use crate::finding::Finding;
use crate::market::Market;

mod item;
mod outputs;

pub(crate) use item::{NO_AGREEMENT, item_json, outcome};
pub(crate) use outputs::Outputs;

/// A tally that people and programs can read: owners by name.
pub(crate) fn tally_json(finding: &Finding, market: &Market) -> Value {
    let charter = &*finding.charter;
    let names = |places: &[usize]| -> Vec<&str> {
        places.iter().filter_map(|place| charter.roster.get(*place)).map(|seat| seat.owner.as_str()).collect()
    };
    let points = |(class, sum): &(u32, Points)| {
        json!({
            "class": class,
            "label": label(market, charter, *class),
            "points": sum.points,
            "named": sum.named,
        })
    };
    let vote = |(vote, owners): &(Vote, Vec<usize>)| {
        let mut entry = vote_json(vote, charter, market);
        entry["owners"] = json!(names(owners));
        entry
    };
    let mut tally = json!({
        "votes": finding.votes.iter().map(vote).collect::<Vec<_>>(),
        "abstained": names(&finding.abstained),
        "missing": names(&finding.missing),
        "assurance": finding.assurance.name(),
    });
    if !finding.points.is_empty() {
        tally["points"] = finding.points.iter().map(points).collect();
    }
    if let Some(cluster) = &finding.cluster {
        tally["cluster"] = json!(names(cluster));
    }
    tally
}

/// A vote as programs read it.
pub(crate) fn vote_json(vote: &Vote, charter: &Charter, market: &Market) -> Value {
    match vote {
        Vote::Class(class) => json!({ "class": class, "label": label(market, charter, *class) }),
        Vote::Ranking(classes) => {
            let labels: Vec<_> = classes.iter().map(|class| label(market, charter, *class)).collect();
            json!({ "ranking": classes, "labels": labels })
        }
        Vote::Output(digest) => json!({ "output": digest.to_string() }),
        Vote::Tensor(tensor) => json!({ "tensor": tensor, "values": values(charter.policy, tensor) }),
        Vote::Abstain => json!({}),
    }
}

/// The numbers that a fixed-point tensor stands for, exactly.
pub(crate) fn values(policy: Policy, tensor: &[i64]) -> Vec<f64> {
    let fraction_bits = match policy {
        Policy::Median { tensor } | Policy::TrimmedMean { tensor } | Policy::Within { tensor, .. } => {
            tensor.fraction_bits
        }
        _ => 0,
    };
    // Magnitudes below 2^31 over a power of two: nothing is rounded.
    tensor.iter().map(|value| *value as f64 / f64::from(1_u32 << fraction_bits)).collect()
}

/// The name of a class; its number where classes have no names.
pub(crate) fn label(market: &Market, charter: &Charter, class: u32) -> String {
    market.label(charter, class).map_or_else(|| class.to_string(), str::to_owned)
}
