//! When answers came, and what that says of throughput.

use std::time::Duration;

/// Seconds that are looked at begin so far apart.
pub const WINDOW: Duration = Duration::from_millis(250);
/// How long throughput must hold before it is believed, and before the next fault.
pub const SETTLE: Duration = Duration::from_secs(3);
/// The second that must reach the level.
const SECOND: Duration = Duration::from_secs(1);
/// This share of the level before is as good as all of it.
const BACK_SHARE: f64 = 0.9;

const fn us(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

/// Answers per second from `from_us` up to `to_us`, out of the ascending times of all answers.
pub(super) fn rate(answers_us: &[u64], from_us: u64, to_us: u64) -> f64 {
    let before = |at_us: u64| answers_us.partition_point(|answer_us| *answer_us < at_us);
    let count = before(to_us).saturating_sub(before(from_us));
    count as f64 * 1e6 / to_us.saturating_sub(from_us).max(1) as f64
}

/// How long after `healed_us` throughput was back at `level`; `None` as long as it is not, or as that cannot be told.
pub(super) fn back_us(answers_us: &[u64], healed_us: u64, level: f64, now_us: u64) -> Option<u64> {
    let reaches =
        |from_us: u64, length: Duration| rate(answers_us, from_us, from_us + us(length)) >= level * BACK_SHARE;
    let begins = (healed_us..).step_by(us(WINDOW) as usize);
    let mut begins = begins.take_while(|from_us| from_us + us(SETTLE) <= now_us);
    begins.find(|from_us| reaches(*from_us, SECOND) && reaches(*from_us, SETTLE)).map(|from_us| from_us - healed_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every 10 ms, but in the gap.
    fn with_gap(gap_ms: std::ops::Range<u64>) -> Vec<u64> {
        (0..20_000).step_by(10).filter(|ms| !gap_ms.contains(ms)).map(|ms| ms * 1000).collect()
    }

    #[test]
    fn throughput_is_counted() {
        let answers = with_gap(5_000..6_000);
        assert!((rate(&answers, 1_000_000, 4_000_000) - 100.0).abs() < 1e-9);
        assert!((rate(&answers, 4_500_000, 5_500_000) - 50.0).abs() < 1e-9);
        assert!(rate(&answers, 5_000_000, 6_000_000).abs() < 1e-9);
    }

    #[test]
    fn a_market_that_never_faltered_is_back_at_once() {
        assert_eq!(back_us(&with_gap(0..0), 5_000_000, 100.0, 20_000_000), Some(0));
    }

    #[test]
    fn it_is_back_when_a_second_reaches_the_level() {
        // Healed in the middle of the gap: 1.5 s of it are left, of which a tenth of a second may be missing.
        assert_eq!(back_us(&with_gap(4_000..6_500), 5_000_000, 100.0, 20_000_000), Some(1_500_000));
        // Nobody knows yet.
        assert_eq!(back_us(&with_gap(4_000..6_500), 5_000_000, 100.0, 9_400_000), None);
    }

    #[test]
    fn a_good_second_before_another_gap_does_not_count() {
        assert_eq!(back_us(&with_gap(6_000..8_000), 5_000_000, 100.0, 20_000_000), Some(3_000_000));
    }

    #[test]
    fn half_the_level_is_not_back() {
        assert_eq!(back_us(&with_gap(0..0), 5_000_000, 200.0, 20_000_000), None);
    }
}
