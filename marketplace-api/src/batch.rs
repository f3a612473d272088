//! Batching: which admitted items go out together, and when.
//!
//! Nothing waits while the group is idle. While batches are in flight, items gather; a batch leaves when it is full, or
//! when its oldest item has waited for the configured delay and another batch may be in flight. Many items that wait at
//! once leave in as many batches as may be in flight: owners work on one while another is ordered, and clients that ask
//! again when they are answered do not fall into step.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dropbear_certificates::Digest;

/// Batches of fewer items are not made for the sake of several being in flight: each costs its owners and coordinators
/// signatures.
const SHARE_MIN: usize = 8;

/// What a batcher needs to know of an item.
pub(crate) trait Batchable {
    /// The request id: no batch holds one twice.
    fn id(&self) -> Digest;
    /// Its size in a request batch.
    fn bytes(&self) -> usize;
}

/// Bounds of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchRules {
    pub(crate) size_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) delay: Duration,
}

/// Items that wait for their batch. The queue is bounded by admission.
#[derive(Debug)]
pub(crate) struct Batcher<T> {
    rules: BatchRules,
    waiting: VecDeque<(Instant, T)>,
    in_flight: usize,
}

impl<T: Batchable> Batcher<T> {
    pub(crate) fn new(rules: BatchRules) -> Self {
        Self { rules, waiting: VecDeque::new(), in_flight: 0 }
    }

    /// From now on other bounds hold.
    pub(crate) fn set_rules(&mut self, rules: BatchRules) {
        self.rules = rules;
    }

    /// Admits an item.
    pub(crate) fn push(&mut self, item: T, now: Instant) {
        self.waiting.push_back((now, item));
    }

    /// A batch ended.
    pub(crate) fn done(&mut self) {
        debug_assert!(self.in_flight > 0, "only batches that were taken end");
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// When [`Batcher::take`] could next give something without another item or an ended batch.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (since, _) = self.waiting.front()?;
        (self.in_flight < self.rules.in_flight_max).then(|| *since + self.rules.delay)
    }

    /// The batch that should leave now, if any.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Vec<T>> {
        let (oldest, _) = self.waiting.front()?;
        let waited = now.saturating_duration_since(*oldest) >= self.rules.delay;
        let full = self.waiting.len() >= self.rules.size_max;
        let may_leave = self.in_flight == 0 || (self.in_flight < self.rules.in_flight_max && (full || waited));
        if !may_leave {
            return None;
        }
        let share = self.waiting.len().div_ceil(self.rules.in_flight_max.saturating_sub(self.in_flight).max(1));
        self.in_flight += 1;
        Some(self.fill(share.max(SHARE_MIN).min(self.rules.size_max)))
    }

    fn fill(&mut self, size: usize) -> Vec<T> {
        let (mut batch, mut bytes, mut later): (Vec<T>, usize, VecDeque<_>) = (Vec::new(), 0, VecDeque::new());
        while let Some((since, item)) = self.waiting.pop_front() {
            let fits = batch.is_empty() || bytes + item.bytes() <= self.rules.bytes_max;
            if batch.len() == size || !fits {
                self.waiting.push_front((since, item));
                break;
            }
            if batch.iter().any(|other| other.id() == item.id()) {
                later.push_back((since, item));
                continue;
            }
            bytes += item.bytes();
            batch.push(item);
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(u8, usize);

    impl Batchable for Item {
        fn id(&self) -> Digest {
            Digest::of(&[self.0])
        }
        fn bytes(&self) -> usize {
            self.1
        }
    }

    fn batcher(delay_ms: u64) -> Batcher<Item> {
        let delay = Duration::from_millis(delay_ms);
        Batcher::new(BatchRules { size_max: 3, bytes_max: 10, in_flight_max: 2, delay })
    }

    fn names(batch: Option<Vec<Item>>) -> Option<Vec<u8>> {
        batch.map(|batch| batch.into_iter().map(|item| item.0).collect())
    }

    #[test]
    fn an_idle_group_waits_for_nothing_and_a_busy_one_gathers() {
        let (mut batcher, start) = (batcher(5), Instant::now());
        batcher.push(Item(1, 1), start);
        assert_eq!(names(batcher.take(start)), Some(vec![1]));
        batcher.push(Item(2, 1), start);
        batcher.push(Item(3, 1), start);
        assert_eq!(names(batcher.take(start)), None, "one is in flight, and there may be more soon");
        assert_eq!(batcher.due(), Some(start + Duration::from_millis(5)));
        assert_eq!(names(batcher.take(start + Duration::from_millis(5))), Some(vec![2, 3]));
        batcher.push(Item(4, 1), start);
        assert_eq!((names(batcher.take(start + Duration::from_secs(1))), batcher.due()), (None, None), "two in flight");
        batcher.done();
        assert_eq!(names(batcher.take(start + Duration::from_secs(1))), Some(vec![4]));
    }

    #[test]
    fn a_full_batch_leaves_at_once_and_the_rest_follows_in_order() {
        let (mut batcher, start) = (batcher(1000), Instant::now());
        (0..8).for_each(|name| batcher.push(Item(name, 1), start));
        assert_eq!(names(batcher.take(start)), Some(vec![0, 1, 2]));
        assert_eq!(names(batcher.take(start)), Some(vec![3, 4, 5]));
        batcher.done();
        batcher.done();
        assert_eq!(names(batcher.take(start)), Some(vec![6, 7]));
    }

    #[test]
    fn many_at_once_share_the_batches_that_may_be_in_flight_and_few_stay_together() {
        let (rules, start) =
            (BatchRules { size_max: 64, bytes_max: 100, in_flight_max: 3, ..batcher(0).rules }, Instant::now());
        let mut batcher = Batcher::new(rules);
        (0..32).for_each(|name| batcher.push(Item(name, 1), start));
        let sizes: Vec<_> = std::iter::from_fn(|| batcher.take(start)).map(|batch| batch.len()).collect();
        assert_eq!(sizes, [11, 11, 10]);
        (32..44).for_each(|name| batcher.push(Item(name, 1), start));
        assert_eq!(names(batcher.take(start)), None, "three are in flight");
        batcher.done();
        assert_eq!(batcher.take(start).map(|batch| batch.len()), Some(12));
        (44..54).for_each(|name| batcher.push(Item(name, 1), start));
        (0..3).for_each(|_| batcher.done());
        let sizes: Vec<_> = std::iter::from_fn(|| batcher.take(start)).map(|batch| batch.len()).collect();
        assert_eq!(sizes, [8, 2]);
    }

    #[test]
    fn no_batch_is_too_large_or_holds_an_id_twice() {
        let (mut batcher, start) = (batcher(0), Instant::now());
        for item in [Item(1, 6), Item(1, 1), Item(2, 6), Item(3, 40)] {
            batcher.push(item, start);
        }
        assert_eq!(names(batcher.take(start)), Some(vec![1]), "twice, and too large together");
        assert_eq!(names(batcher.take(start)), Some(vec![1, 2]));
        batcher.done();
        assert_eq!(names(batcher.take(start)), Some(vec![3]), "one item always fits");
    }
}
