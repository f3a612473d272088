//! How answers are shown, in every protocol: tallies, items, output tensors.

use dropbear_certificates::{Charter, Vote};
use serde_json::{Value, json};

use crate::finding::Finding;
use crate::market::Market;

mod item;
mod outputs;

pub(crate) use item::{NO_AGREEMENT, item_json};
pub(crate) use outputs::Outputs;

/// A tally that people and programs can read: owners by name.
pub(crate) fn tally_json(finding: &Finding, charter: &Charter, market: &Market) -> Value {
    let names = |places: &[usize]| -> Vec<&str> {
        places.iter().filter_map(|place| charter.roster.get(*place)).map(|seat| seat.owner.as_str()).collect()
    };
    let vote = |(vote, owners): &(Vote, Vec<usize>)| {
        let mut entry = vote_json(vote, charter, market);
        entry["owners"] = json!(names(owners));
        entry
    };
    json!({
        "votes": finding.votes.iter().map(vote).collect::<Vec<_>>(),
        "abstained": names(&finding.abstained),
        "missing": names(&finding.missing),
        "assurance": finding.assurance.name(),
    })
}

/// A vote as programs read it.
pub(crate) fn vote_json(vote: &Vote, charter: &Charter, market: &Market) -> Value {
    match vote {
        Vote::Class(class) => json!({ "class": class, "label": label(market, charter, *class) }),
        Vote::Ranking(classes) => json!({ "ranking": classes }),
        Vote::Output(digest) => json!({ "output": digest.to_string() }),
        Vote::Tensor(values) => json!({ "tensor": values }),
        Vote::Abstain => json!({}),
    }
}

/// The name of a class; its number where classes have no names.
pub(crate) fn label(market: &Market, charter: &Charter, class: u32) -> String {
    market.label(charter, class).map_or_else(|| class.to_string(), str::to_owned)
}
