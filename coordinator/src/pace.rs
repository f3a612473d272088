//! When the next block may be proposed: at once on an idle market, later the busier it is.
//!
//! A block costs every coordinator several milliseconds of CPU whatever its size, so a busy market fills fewer, larger
//! blocks. Busy means that entries arrive faster than one client asking one thing at a time could send them.

use std::collections::VecDeque;

/// Entries per second that are still one client's pace.
const IDLE_ENTRIES_PER_S: usize = 24;
const WINDOW_MS: u64 = 1000;

/// The pacing rule; time is an argument.
#[derive(Debug)]
pub(crate) struct Pace {
    interval_ms_max: u64,
    arrivals_ms: VecDeque<u64>,
    last_block_ms: u64,
}

impl Pace {
    /// Never waits longer than `interval_ms_max` between blocks.
    #[must_use]
    pub(crate) fn new(interval_ms_max: u64) -> Self {
        Self { interval_ms_max, arrivals_ms: VecDeque::new(), last_block_ms: 0 }
    }

    /// An entry arrived.
    pub(crate) fn arrived(&mut self, now_ms: u64) {
        self.forget(now_ms);
        // Beyond this count the answer is the longest interval anyway.
        if self.arrivals_ms.len() < 2 * IDLE_ENTRIES_PER_S {
            self.arrivals_ms.push_back(now_ms);
        }
    }

    /// A block was made final.
    pub(crate) fn block(&mut self, now_ms: u64) {
        self.last_block_ms = now_ms;
    }

    fn forget(&mut self, now_ms: u64) {
        while self.arrivals_ms.front().is_some_and(|first| first + WINDOW_MS < now_ms) {
            self.arrivals_ms.pop_front();
        }
    }

    /// How long to wait before the next proposal.
    pub(crate) fn wait_ms(&mut self, now_ms: u64) -> u64 {
        self.forget(now_ms);
        let above = self.arrivals_ms.len().saturating_sub(IDLE_ENTRIES_PER_S) as u64;
        let interval_ms = self.interval_ms_max * above.min(IDLE_ENTRIES_PER_S as u64) / IDLE_ENTRIES_PER_S as u64;
        (self.last_block_ms + interval_ms).saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paced(arrivals: u64, gap_ms: u64) -> u64 {
        let mut pace = Pace::new(250);
        let end = arrivals * gap_ms;
        (0..=arrivals).for_each(|i| pace.arrived(i * gap_ms));
        pace.block(end);
        pace.wait_ms(end)
    }

    #[test]
    fn an_idle_market_never_waits_and_a_busy_one_never_longer_than_the_bound() {
        assert_eq!(paced(1, 1), 0);
        assert_eq!(paced(100, 60), 0, "one client, one request at a time");
        assert!((1..250).contains(&paced(100, 30)));
        assert_eq!(paced(10_000, 1), 250);
    }

    #[test]
    fn a_burst_is_forgotten() {
        let mut pace = Pace::new(250);
        (0..1000).for_each(|ms| pace.arrived(ms));
        pace.block(1000);
        assert_eq!(pace.wait_ms(1000), 250);
        assert_eq!(pace.wait_ms(3000), 0);
    }
}
