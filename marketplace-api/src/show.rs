//! How answers are shown, in every protocol: tallies, items, output tensors.

use dropbear_certificates::Charter;
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
    let vote = |(class, owners): &(u32, Vec<usize>)| json!({ "class": class, "label": label(market, charter, *class), "owners": names(owners) });
    json!({
        "votes": finding.votes.iter().map(vote).collect::<Vec<_>>(),
        "abstained": names(&finding.abstained),
        "missing": names(&finding.missing),
        "assurance": finding.assurance.name(),
    })
}

/// The name of a class; its number where classes have no names.
pub(crate) fn label(market: &Market, charter: &Charter, class: u32) -> String {
    market.label(charter, class).map_or_else(|| class.to_string(), str::to_owned)
}
