//! Real time against ledger order.
//!
//! An operation is known by when it began, when its result was known, and where it stands in the ledger. Where one ended
//! before another began, the ledger must have them in that order: that, together with every record being right at its
//! place, is strict serialisability. Somebody's knowledge that a block is final is an operation that stands at its end.

use std::collections::BTreeMap;

use dropbear_certificates::Digest;

/// A place in the ledger: block and leaf.
pub(super) type Position = (u64, u64);

/// What was observed of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    pub(super) at: Position,
}

/// An operation that stands before another that had ended when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reversal {
    pub(super) operation: Operation,
    /// Where whatever ended before it stands.
    pub(super) after: Position,
}

/// Everything that was observed.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Requests by id: asked again under one id is the same operation, which began with the first time.
    requests: BTreeMap<Digest, Operation>,
    entries: Vec<Operation>,
    finals: Vec<(u64, Position)>,
}

impl Observed {
    pub(super) fn request(&mut self, id: Digest, seen: Operation) {
        let known = self.requests.entry(id).or_insert(seen);
        known.start_us = known.start_us.min(seen.start_us);
        known.end_us = known.end_us.min(seen.end_us);
    }

    /// An attempt that was not answered, but may have been what was decided.
    pub(super) fn attempt(&mut self, id: &Digest, start_us: u64) {
        if let Some(known) = self.requests.get_mut(id) {
            known.start_us = known.start_us.min(start_us);
        }
    }

    pub(super) fn entry(&mut self, seen: Operation) {
        self.entries.push(seen);
    }

    pub(super) fn known_final(&mut self, at_us: u64, seq: u64) {
        self.finals.push((at_us, (seq, u64::MAX)));
    }

    /// Every reversal, in order of time; requests with their ids.
    pub(super) fn reversals(&self) -> Vec<(Option<Digest>, Reversal)> {
        let requests = self.requests.iter().map(|(id, operation)| (Some(*id), *operation));
        let operations: Vec<_> = requests.chain(self.entries.iter().map(|operation| (None, *operation))).collect();
        let ended = operations.iter().map(|(_, operation)| (operation.end_us, operation.at));
        let mut ended: Vec<_> = ended.chain(self.finals.iter().copied()).collect();
        ended.sort_unstable();
        // The furthest that anything had come, by when it was known.
        let mut furthest = (0, 0);
        let known: Vec<_> = ended
            .into_iter()
            .map(|(end_us, at)| {
                furthest = furthest.max(at);
                (end_us, furthest)
            })
            .collect();
        let reversed = |(id, operation): (Option<Digest>, Operation)| {
            let before = known.partition_point(|(end_us, _)| *end_us < operation.start_us);
            let (_, after) = *known.get(before.checked_sub(1)?)?;
            (after >= operation.at).then_some((id, Reversal { operation, after }))
        };
        let mut reversals: Vec<_> = operations.into_iter().filter_map(reversed).collect();
        reversals.sort_unstable_by_key(|(_, reversal)| reversal.operation.start_us);
        reversals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(start_us: u64, end_us: u64, at: Position) -> Operation {
        Operation { start_us, end_us, at }
    }

    #[test]
    fn only_what_ended_before_it_binds_an_operation() {
        let mut observed = Observed::default();
        observed.request(Digest([1; 32]), operation(0, 10, (5, 1)));
        // Overlaps the first: any order is fine.
        observed.request(Digest([2; 32]), operation(10, 20, (4, 1)));
        observed.entry(operation(21, 30, (6, 1)));
        assert_eq!(observed.reversals(), []);
        let late = operation(31, 40, (6, 1));
        observed.request(Digest([3; 32]), late);
        assert_eq!(observed.reversals(), [(Some(Digest([3; 32])), Reversal { operation: late, after: (6, 1) })]);
    }

    #[test]
    fn a_block_known_to_be_final_binds_what_begins_after() {
        let mut observed = Observed::default();
        observed.known_final(10, 7);
        observed.request(Digest([1; 32]), operation(10, 20, (7, 3)));
        assert_eq!(observed.reversals(), []);
        observed.request(Digest([2; 32]), operation(11, 20, (7, 4)));
        assert_eq!(observed.reversals().len(), 1);
        // An earlier attempt under the same id began before that.
        observed.attempt(&Digest([2; 32]), 9);
        assert_eq!(observed.reversals(), []);
    }
}
