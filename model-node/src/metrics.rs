//! What a model node measures of itself.

use dropbear_telemetry::{Registry, Stages};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Holding inputs against their requests, and looking for earlier votes.
pub(crate) const ADMIT: &str = "admit";
/// Making one input of one tensor: decoding, cropping, resizing.
pub(crate) const PREPARE: &str = "prepare";
/// From admission until the model has run, without its run: waiting, and preparing others.
pub(crate) const QUEUE: &str = "queue";
/// One run of the model.
pub(crate) const INFER: &str = "infer";
/// Making votes durable.
pub(crate) const JOURNAL: &str = "journal";
/// From the call to the ballot.
pub(crate) const TOTAL: &str = "total";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// The instruments; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) stages: Stages,
    requests: Family<Outcome, Counter>,
    batch_sizes: Histogram,
    workers_replaced: Family<Cause, Counter>,
    loads: Family<Outcome, Counter>,
    versions_loaded: Gauge,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            stages: Stages::register(
                registry,
                "dropbear_node_stage",
                "Time per stage: admit, prepare (one input), queue (all waiting), infer (one run), journal, total (call)",
                &[ADMIT, PREPARE, QUEUE, INFER, JOURNAL, TOTAL],
            ),
            requests: Family::default(),
            batch_sizes: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            workers_replaced: Family::default(),
            loads: Family::default(),
            versions_loaded: Gauge::default(),
        };
        let each = "dropbear_node_";
        registry.register(
            format!("{each}requests"),
            "Requests by what the ballot says: voted, again (as before), abstained; or refused",
            metrics.requests.clone(),
        );
        registry.register(format!("{each}batch_size"), "Inputs per run of the model", metrics.batch_sizes.clone());
        registry.register(
            format!("{each}workers_replaced"),
            "Workers replaced because the model hung, or because they died of a panic",
            metrics.workers_replaced.clone(),
        );
        registry.register(
            format!("{each}version_loads"),
            "Versions loaded in the background: loaded, or failed",
            metrics.loads.clone(),
        );
        registry.register(format!("{each}versions_loaded"), "Versions in memory", metrics.versions_loaded.clone());
        metrics
    }

    pub(crate) fn requests(&self, result: &'static str, count: usize) {
        if count > 0 {
            self.requests.get_or_create(&Outcome { result }).inc_by(count as u64);
        }
    }

    pub(crate) fn worker_replaced(&self, cause: &'static str) {
        self.workers_replaced.get_or_create(&Cause { cause }).inc();
    }

    pub(crate) fn load(&self, result: &'static str) {
        self.loads.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn versions(&self, loaded: usize) {
        self.versions_loaded.set(i64::try_from(loaded).unwrap_or(i64::MAX));
    }

    pub(crate) fn batch(&self, inputs: usize) {
        self.batch_sizes.observe(inputs as f64);
    }
}
