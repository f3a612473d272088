//! What a coordinator measures of itself.

use std::fmt;
use std::sync::Weak;

use dropbear_consensus::RequestResult;
use dropbear_engine::Ordering;
use dropbear_telemetry::{Registry, Stages};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::core::AttestedBlock;

/// Checking an entry's signatures.
pub(crate) const CHECK: &str = "check";
/// From a checked entry to its final block.
pub(crate) const ORDER: &str = "order";
/// Making a final block and its attestation durable.
pub(crate) const STORE: &str = "store";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    result: &'static str,
}

/// The instruments; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) stages: Stages,
    blocks: Counter,
    entries: Family<Outcome, Counter>,
    requests: Family<Outcome, Counter>,
    ledger_bytes: Counter,
    seq: Gauge,
    pool_entries: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            stages: Stages::register(
                registry,
                "dropbear_coordinator_stage",
                "Time per stage: check (an entry's signatures), order (from the pool to a final block), store",
                &[CHECK, ORDER, STORE],
            ),
            blocks: Counter::default(),
            entries: Family::default(),
            requests: Family::default(),
            ledger_bytes: Counter::default(),
            seq: Gauge::default(),
            pool_entries: Gauge::default(),
        };
        let each = "dropbear_coordinator_";
        registry.register(format!("{each}blocks"), "Blocks with entries, final and stored", metrics.blocks.clone());
        registry.register(format!("{each}entries"), "Entries by what became of them", metrics.entries.clone());
        registry.register(
            format!("{each}requests"),
            "Requests in final submissions: recorded, or refused for another outcome's sake",
            metrics.requests.clone(),
        );
        registry.register(
            format!("{each}ledger_bytes"),
            "Bytes of entries and leaves stored",
            metrics.ledger_bytes.clone(),
        );
        registry.register(format!("{each}seq"), "The last block's seq", metrics.seq.clone());
        registry.register(
            format!("{each}pool_entries"),
            "Entries that wait for their block",
            metrics.pool_entries.clone(),
        );
        metrics
    }

    /// An entry was taken, or not.
    pub(crate) fn entry(&self, result: &'static str) {
        self.entries.get_or_create(&Outcome { result }).inc();
    }

    pub(crate) fn pool(&self, entries: usize) {
        self.pool_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// A block is durable.
    pub(crate) fn block(&self, block: &AttestedBlock) {
        let stored = &block.stored;
        let bytes = stored.payload.len() + stored.leaves.iter().map(Vec::len).sum::<usize>();
        self.blocks.inc();
        self.ledger_bytes.inc_by(bytes as u64);
        self.seq(block.stored.header.seq);
        let requests = || block.results.iter().flat_map(|result| &result.requests);
        let recorded = requests().filter(|result| matches!(result, RequestResult::Recorded(_))).count();
        let refused = requests().count() - recorded;
        for (result, count) in [("recorded", recorded), ("refused", refused)] {
            if count > 0 {
                self.requests.get_or_create(&Outcome { result }).inc_by(count as u64);
            }
        }
    }

    pub(crate) fn seq(&self, seq: u64) {
        self.seq.set(i64::try_from(seq).unwrap_or(i64::MAX));
    }
}

/// The ordering engine's own counts, read when they are asked for. Whoever scrapes does not keep the engine from ending.
pub(crate) struct EngineCounts(pub(crate) Weak<dyn Ordering>);

impl fmt::Debug for EngineCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineCounts({:?})", self.0.upgrade().map(|engine| engine.status()))
    }
}

impl Collector for EngineCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(status) = self.0.upgrade().map(|engine| engine.status()) else { return Ok(()) };
        let counts = [
            (
                "dropbear_coordinator_views_finalized",
                "Turns of a leader that ended with a block",
                status.views_finalized,
            ),
            (
                "dropbear_coordinator_views_nullified",
                "Turns that ended without: idle or dead leaders",
                status.views_nullified,
            ),
        ];
        for (name, help, count) in counts {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
