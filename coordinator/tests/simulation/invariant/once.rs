//! One terminal outcome per request id.

use std::collections::BTreeMap;

use super::{longest, records};
use crate::history::Seen;

pub(super) fn check(seen: &Seen) {
    let mut decided = BTreeMap::new();
    for block in longest(seen) {
        for record in records(block) {
            let place = (record.seq, record.leaf_index);
            if let Some(first) = decided.insert(record.request, place) {
                panic!("request {} was decided at {first:?} and again at {place:?}", record.request);
            }
        }
    }
}
