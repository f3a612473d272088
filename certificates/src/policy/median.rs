//! `median` and `trimmed-mean`: element by element over at least 2 f_g + 1 tensors.
//!
//! At most f_g owners lie, so at least f_g + 1 counted values on either side of the middle, and every value left after
//! dropping the f_g smallest and largest, are bracketed by honest ones: **every element of the result lies between the
//! smallest and the largest honest value**, whatever f_g owners and the gateway do. That is all that is promised; the
//! level is *supported* and never more.

use alloc::vec::Vec;

use crate::policy::groups::Groups;
use crate::policy::{Assurance, Levels, Vote};

/// How many tensors are needed.
pub(super) const fn needed(faults: usize) -> usize {
    2 * faults + 1
}

/// The levels with `voters` tensors counted and `open` owners that have not answered.
pub(super) fn levels(voters: usize, open: usize, faults: usize) -> Levels {
    let level = |votes: usize| if votes >= needed(faults) { Assurance::Supported } else { Assurance::None };
    Levels { now: level(voters), reachable: level(voters + open) }
}

/// Which middle is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Middle {
    /// The lower median.
    Median,
    /// The mean without the f_g smallest and f_g largest values, rounded down.
    TrimmedMean,
}

/// The combined tensor; `None` with too few votes.
pub(super) fn combine(groups: &Groups, length: usize, faults: usize, middle: Middle) -> Option<Vec<i64>> {
    let voters: usize = groups.counts().iter().sum();
    if voters < needed(faults) {
        return None;
    }
    let mut column = Vec::with_capacity(voters);
    let element = |place: usize| {
        column.clear();
        for (vote, owners) in &groups.votes {
            let value = if let Vote::Tensor(values) = vote { values.get(place).copied() } else { None };
            column.extend(core::iter::repeat_n(value.unwrap_or(0), owners.count()));
        }
        column.sort_unstable();
        match middle {
            Middle::Median => column[(column.len() - 1) / 2],
            Middle::TrimmedMean => mean(&column[faults..column.len() - faults]),
        }
    };
    Some((0..length).map(element).collect())
}

fn mean(values: &[i64]) -> i64 {
    values.iter().sum::<i64>().div_euclid(values.len().max(1) as i64)
}
