//! How long each stage of a service's work takes.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The shortest and the longest bucket: 0.1 ms to 52 s, each twice the one before.
const SHORTEST_S: f64 = 1e-4;
const BUCKETS: u16 = 20;

/// A histogram of durations in seconds.
#[must_use]
pub fn durations() -> Histogram {
    Histogram::new(exponential_buckets(SHORTEST_S, 2.0, BUCKETS))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

/// One histogram per stage; clones share them.
#[derive(Clone, Debug)]
pub struct Stages(Family<Stage, Histogram>);

impl Stages {
    /// Registers the stages under `{name}_seconds`, and makes every one of `stages` appear from the start.
    #[must_use]
    pub fn register(registry: &mut Registry, name: &str, help: &str, stages: &[&'static str]) -> Self {
        let family = Family::<Stage, Histogram>::new_with_constructor(durations);
        registry.register(format!("{name}_seconds"), help, family.clone());
        stages.iter().for_each(|stage| drop(family.get_or_create(&Stage { stage })));
        Self(family)
    }

    /// Notes that `stage` took so long once.
    pub fn took(&self, stage: &'static str, time: Duration) {
        self.0.get_or_create(&Stage { stage }).observe(time.as_secs_f64());
    }
}
