//! When the next block is due: as soon as some waiting entry has run out of patience.
//!
//! A block costs every coordinator several milliseconds of CPU whatever its size, so a busy market should fill fewer,
//! larger blocks, and an idle one should never wait. Whoever submits an entry knows which it is: a gateway gives an entry
//! the more *patience* the longer its requests have waited already among others. Patience is a hint: it can delay the
//! entry that has it, and no other.

use std::collections::{BTreeMap, BTreeSet};

use dropbear_certificates::Digest;

/// One waiting entry's times, Unix milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    arrived_ms: u64,
    due_ms: u64,
}

/// The times of all waiting entries; time is an argument.
#[derive(Debug)]
pub(crate) struct Pace {
    patience_ms_max: u64,
    entries: BTreeMap<Digest, Times>,
    dues: BTreeSet<(u64, Digest)>,
}

impl Pace {
    /// No entry waits longer than `patience_ms_max` for others.
    pub(crate) const fn new(patience_ms_max: u64) -> Self {
        Self { patience_ms_max, entries: BTreeMap::new(), dues: BTreeSet::new() }
    }

    /// An entry begins to wait. If it waits already, the lesser patience counts.
    pub(crate) fn arrived(&mut self, entry: Digest, patience_ms: u64, now_ms: u64) {
        let due_ms = now_ms.saturating_add(patience_ms.min(self.patience_ms_max));
        let times = self.entries.entry(entry).or_insert(Times { arrived_ms: now_ms, due_ms });
        self.dues.remove(&(times.due_ms, entry));
        times.due_ms = times.due_ms.min(due_ms);
        self.dues.insert((times.due_ms, entry));
    }

    /// An entry waits no more; gives how long it did, in milliseconds.
    pub(crate) fn gone(&mut self, entry: &Digest, now_ms: u64) -> Option<u64> {
        let times = self.entries.remove(entry)?;
        self.dues.remove(&(times.due_ms, *entry));
        Some(now_ms.saturating_sub(times.arrived_ms))
    }

    /// How long the next proposal has to wait; `None` if nothing waits.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        self.dues.first().map(|(due_ms, _)| due_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: u8) -> Digest {
        Digest::of(&[name])
    }

    #[test]
    fn the_least_patient_entry_decides_and_nobody_waits_longer_than_the_bound() {
        let mut pace = Pace::new(500);
        assert_eq!(pace.wait_ms(0), None);
        pace.arrived(entry(1), 10_000, 1000);
        assert_eq!(pace.wait_ms(1000), Some(500));
        pace.arrived(entry(2), 100, 1100);
        assert_eq!(pace.wait_ms(1150), Some(50));
        assert_eq!(pace.gone(&entry(2), 1170), Some(70));
        assert_eq!(pace.wait_ms(1200), Some(300), "the first entry's own patience again");
        pace.arrived(entry(3), 0, 1200);
        assert_eq!(pace.wait_ms(1300), Some(0), "impatience carries everybody along");
    }

    #[test]
    fn an_entry_that_comes_twice_keeps_its_lesser_patience() {
        let mut pace = Pace::new(500);
        pace.arrived(entry(1), 400, 1000);
        pace.arrived(entry(1), 50, 1010);
        assert_eq!(pace.wait_ms(1010), Some(50));
        pace.arrived(entry(1), 400, 1020);
        assert_eq!(pace.wait_ms(1020), Some(40));
        assert_eq!((pace.gone(&entry(1), 1060), pace.wait_ms(1060)), (Some(60), None));
        assert_eq!(pace.gone(&entry(1), 1060), None);
    }
}
