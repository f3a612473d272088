//! `within`: the medoid of the largest epsilon-cluster, with its members.
//!
//! A cluster is a vote together with every vote at most epsilon away (sum of absolute differences); that vote is its
//! medoid, so every member stands by the result. At least k owners are needed, 2k > g + f_g: **at least one honest vote
//! lies within epsilon of the result, and any other result of the same request, whatever ballots were left out and
//! whatever f_g owners said, would lie within two epsilon of it**, because two such clusters share an honest owner. That
//! is all that is promised; the level is *supported* and never more.

use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::policy::groups::Groups;
use crate::policy::{Assurance, Levels, Vote};

/// The largest cluster of a set of votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Its medoid's place among the groups; `None` without votes.
    pub(super) medoid: Option<usize>,
    /// The owners within epsilon of the medoid.
    pub(super) members: Bitmap,
    /// Most owners within *two* epsilon of any vote: no vote still to come can gather more of the present ones.
    pub(super) reach: usize,
}

/// Sum of absolute differences.
fn distance(a: &[i64], b: &[i64]) -> u64 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).sum()
}

/// Finds the cluster with the most owners; of those the one with the smallest total distance; of those the one whose
/// medoid stands first among the groups.
pub(super) fn largest(groups: &Groups, epsilon: u64) -> Cluster {
    let values = |vote: &Vote| if let Vote::Tensor(values) = vote { values.clone() } else { Vec::new() };
    let tensors: Vec<_> = groups.votes.iter().map(|(vote, owners)| (values(vote), owners)).collect();
    let mut best = Cluster { medoid: None, members: Bitmap::new(groups.owners), reach: 0 };
    let mut best_total = 0;
    for (place, (centre, _)) in tensors.iter().enumerate() {
        let (mut members, mut total, mut near) = (Bitmap::new(groups.owners), 0, 0);
        for (other, owners) in &tensors {
            let apart = distance(centre, other);
            if apart <= epsilon {
                members.extend(owners);
                total += apart * owners.count() as u64;
            }
            near += if apart <= 2 * epsilon { owners.count() } else { 0 };
        }
        best.reach = best.reach.max(near);
        let (count, most) = (members.count(), best.members.count());
        if best.medoid.is_none() || count > most || (count == most && total < best_total) {
            (best.medoid, best.members, best_total) = (Some(place), members, total);
        }
    }
    best
}

/// The levels for a largest cluster of `members`, with `open` owners that have not answered.
pub(super) fn levels(members: usize, reach: usize, open: usize, quorum: usize) -> Levels {
    let level = |owners: usize| if owners >= quorum { Assurance::Supported } else { Assurance::None };
    let reachable = if open == 0 { members } else { reach + open };
    Levels { now: level(members), reachable: level(reachable.max(members)) }
}
