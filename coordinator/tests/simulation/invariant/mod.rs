//! What must always hold, one file each, judged from outside and without the rules that the members themselves apply.

mod agreement;
mod blame;
mod current;
mod durable;
mod once;
mod one_header;
mod outcome;

use crate::history::{History, Seen};
use dropbear_certificates::Record;
use dropbear_consensus::StoredBlock;

/// # Panics
/// If anything is broken.
pub(crate) fn check(history: &History) {
    let seen = history.seen();
    one_header::check(&seen);
    agreement::check(&seen);
    once::check(&seen);
    current::check(&seen);
    outcome::check(&seen);
    durable::check(&seen);
    blame::check(history, &seen);
}

/// The longest ledger: the others are its beginnings, which `agreement` checks.
fn longest(seen: &Seen) -> &[StoredBlock] {
    seen.ledgers.iter().map(|(_, ledger)| ledger.as_slice()).max_by_key(|ledger| ledger.len()).unwrap_or(&[])
}

/// All records of a block.
fn records(block: &StoredBlock) -> impl Iterator<Item = Record> + '_ {
    block.leaves.iter().filter_map(|leaf| Record::from_bytes(leaf).ok())
}
