//! When the next block may be proposed: at once on an idle market, later the busier it is.
//!
//! A block costs every coordinator several milliseconds of CPU whatever its size, so a busy market fills fewer, larger
//! blocks. Busy means that blocks hold more than one request: a client that asks one thing at a time never waits.

/// Requests per block from which the longest interval applies.
const BUSY_REQUESTS: f64 = 3.0;
/// Weight of the newest block.
const WEIGHT: f64 = 0.3;

/// The pacing rule; time is an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval_ms_max: u64,
    /// Smoothed.
    requests_per_block: f64,
    last_block_ms: u64,
}

impl Pace {
    /// Never waits longer than `interval_ms_max` between blocks.
    pub(crate) const fn new(interval_ms_max: u64) -> Self {
        Self { interval_ms_max, requests_per_block: 1.0, last_block_ms: 0 }
    }

    /// A block with so many requests was made final.
    pub(crate) fn block(&mut self, requests: usize, now_ms: u64) {
        self.requests_per_block += WEIGHT * (requests as f64 - self.requests_per_block);
        self.last_block_ms = now_ms;
    }

    /// How long to wait before the next proposal.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> u64 {
        let busy = ((self.requests_per_block - 1.0) / (BUSY_REQUESTS - 1.0)).clamp(0.0, 1.0);
        let interval_ms = (self.interval_ms_max as f64 * busy) as u64;
        (self.last_block_ms + interval_ms).saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(blocks: &[usize]) -> Pace {
        let mut pace = Pace::new(250);
        blocks.iter().for_each(|requests| pace.block(*requests, 1000));
        pace
    }

    #[test]
    fn one_request_at_a_time_never_waits_and_many_never_longer_than_the_bound() {
        assert_eq!(after(&[]).wait_ms(0), 0);
        assert_eq!(after(&[1; 100]).wait_ms(1000), 0);
        assert_eq!(after(&[5; 20]).wait_ms(1000), 250);
        assert_eq!(after(&[100_000; 20]).wait_ms(1000), 250);
        assert_eq!(after(&[5; 20]).wait_ms(1200), 50, "time since the last block counts");
    }

    #[test]
    fn a_burst_is_forgotten() {
        let burst = [&[100][..], &[1; 40]].concat();
        assert_eq!(after(&burst).wait_ms(1000), 0);
    }
}
