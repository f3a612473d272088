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
    fn slowness_is_learned_too_but_never_below_the_floor() {
        let mut pressure = Pressure::default();
        pressure.answered(1000, Duration::from_secs(1));
        for _ in 0..100 {
            pressure.answered(10, Duration::from_secs(10));
        }
        assert!(pressure.admits(63, 1, TIMEOUT) && !pressure.admits(64, 1, TIMEOUT));
    }
}
