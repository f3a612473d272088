//! Pressure: whether what is in flight can still be answered in time.
//!
//! Pure. By Little's law, what was in flight divided by how long it took is the rate at which the market answers. Requests
//! that would wait for longer than half their time are refused at once, so that those admitted are answered rather than
//! all of them too late.

use std::time::Duration;

/// Admitted whatever the rate is believed to be: it is not known before something was answered.
const ALWAYS_ADMITTED: usize = 64;
/// Weight of a new measurement.
const WEIGHT: f64 = 0.1;

/// The believed rate of answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pressure {
    per_s: Option<f64>,
}

impl Pressure {
    /// A call was answered after `latency`, with `in_flight` requests under way, its own included, when it came.
    pub(crate) fn answered(&mut self, in_flight: usize, latency: Duration) {
        let measured = in_flight as f64 / latency.as_secs_f64().max(1e-6);
        self.per_s = Some(self.per_s.map_or(measured, |believed| believed + WEIGHT * (measured - believed)));
    }

    /// Whether `items` more can be expected to be answered within `timeout`.
    pub(crate) fn admits(&self, in_flight: usize, items: usize, timeout: Duration) -> bool {
        let answerable = self.per_s.unwrap_or(0.0) * timeout.as_secs_f64() / 2.0;
        (in_flight + items) as f64 <= answerable.max(ALWAYS_ADMITTED as f64)
    }
}

/// What a submission may wait for others, of the time that its oldest request has waited, where there are many others.
const PATIENCE_SHARE: f64 = 1.0 / 3.0;
/// Other requests in flight that are many.
const MANY: f64 = 16.0;

/// How long a submission may wait for others to share its block.
///
/// A block costs the committee CPU whatever its size. Where few are in flight nobody waits for anybody; where many are,
/// requests have waited for long among each other already, and waiting a little longer saves everybody's time.
pub(crate) fn patience(oldest: Duration, others: usize) -> Duration {
    oldest.mul_f64(PATIENCE_SHARE * (others as f64 / MANY).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn admits_what_can_be_answered_in_half_the_time() {
        let mut pressure = Pressure::default();
        assert!(pressure.admits(0, 64, TIMEOUT) && !pressure.admits(64, 1, TIMEOUT), "nothing is known yet");
        for _ in 0..100 {
            pressure.answered(100, Duration::from_secs(1));
        }
        assert!(pressure.admits(499, 1, TIMEOUT) && !pressure.admits(500, 1, TIMEOUT), "100 answers a second");
        assert!(!pressure.admits(499, 1, Duration::from_secs(5)), "less time, less room");
    }

    #[test]
    fn who_is_alone_waits_for_nobody_and_who_is_one_of_many_a_third_of_its_time() {
        let age = Duration::from_millis(900);
        assert_eq!(patience(age, 0), Duration::ZERO);
        assert!(patience(age, 1) < Duration::from_millis(20));
        assert_eq!(patience(age, 16), Duration::from_millis(300));
        assert_eq!(patience(age, 1000), Duration::from_millis(300));
    }

    #[test]
    fn slowness_is_learned_too_but_never_below_the_floor() {
        let mut pressure = Pressure::default();
        pressure.answered(1000, Duration::from_secs(1));
        for _ in 0..100 {
            pressure.answered(10, Duration::from_secs(10));
        }
        assert!(pressure.admits(63, 1, TIMEOUT) && !pressure.admits(64, 1, TIMEOUT));
    }
}
