//! `borda`: owners rank up to k classes; the first gets k points, the next k - 1, and so on; most points win.
//!
//! One ballot shifts the lead by at most w = k, so with `missing` owners without a counted vote:
//!
//! * **supported**: a unique winner that at least f_g + 1 owners ranked;
//! * **decisive**: supported, and lead > k * missing;
//! * **robust**: supported, and lead > k * (f_g + missing).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::policy::groups::Groups;
use crate::policy::{Assurance, Levels, Vote};

/// What one class collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    /// Points over all counted ballots.
    pub points: u64,
    /// Owners that ranked the class at all.
    pub named: u64,
}

/// The candidates of rankings of at most `ranks` classes, by descending points, then ascending class.
#[must_use]
pub fn points(groups: &Groups, ranks: u64) -> Vec<(u32, Points)> {
    let mut candidates: BTreeMap<u32, Points> = BTreeMap::new();
    for (vote, owners) in &groups.votes {
        let Vote::Ranking(classes) = vote else { continue };
        let owners = owners.count() as u64;
        for (rank, class) in (0..ranks).zip(classes) {
            let sum = candidates.entry(*class).or_insert(Points { points: 0, named: 0 });
            sum.points += owners * (ranks - rank);
            sum.named += owners;
        }
    }
    let mut candidates: Vec<_> = candidates.into_iter().collect();
    candidates.sort_by_key(|(class, sum)| (Reverse(sum.points), *class));
    candidates
}

/// Whether the points could come from `voters` ballots; their order is checked where they are read.
pub(super) fn fits(points: &[Points], voters: usize, ranks: u64) -> bool {
    let one = |sum: &Points| {
        sum.named <= voters as u64
            && (sum.named..=sum.named.saturating_mul(ranks)).contains(&sum.points)
            && sum.named > 0
    };
    points.iter().all(one) && points.is_empty() == (voters == 0)
}

/// The levels for these points, descending: now, and if all `open` ballots ranked one candidate alone.
pub(super) fn levels(points: &[Points], abstained: usize, open: usize, faults: usize, ranks: u64) -> Levels {
    let weight = ranks as usize;
    let at = |place: usize| points.get(place).map_or(0, |sum| sum.points as usize);
    let level = |place: usize, open: usize, missing: usize| {
        let rival = if place == 0 { at(1) } else { at(0) };
        let named = points.get(place).map_or(0, |sum| sum.named as usize) + open;
        let lead = (at(place) + weight * open).saturating_sub(rival);
        Assurance::of_weighted(named, lead, weight, missing, faults)
    };
    let reachable = (0..points.len().max(1)).map(|place| level(place, open, abstained)).max();
    Levels { now: level(0, 0, open + abstained), reachable: reachable.unwrap_or(Assurance::None) }
}
