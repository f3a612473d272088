//! `exact`: the digest of the canonical output that at least k owners share, 2k > g + f_g.
//!
//! Such a digest is always *robust*: at most g - k owners said something else, counted or missing, so it leads by at
//! least 2k - g > f_g among all owners, and whatever ballots are left out, no other digest can reach k honest owners too.

use crate::policy::{Assurance, Levels};

/// Whether k makes any two quorums share more than f_g owners.
pub(super) const fn is_quorum(quorum: u64, owners: u64, faults: u64) -> bool {
    quorum <= owners && 2 * quorum > owners + faults
}

/// The levels for these counts of equal votes, descending, with `open` owners that have not answered.
pub(super) fn levels(counts: &[usize], open: usize, quorum: usize) -> Levels {
    let first = counts.first().copied().unwrap_or(0);
    let level = |votes: usize| if votes >= quorum { Assurance::Robust } else { Assurance::None };
    Levels { now: level(first), reachable: level(first + open) }
}
