//! What a running service shows its operator: metrics, logs and its own process.
//!
//! Every service builds one [`Registry`] with [`registry`], hands its instruments to the code that it measures, and lets
//! [`serve_metrics`] answer `GET /metrics` in the OpenMetrics text format. Names begin with `dropbear_`, units are base
//! units (`_seconds`, `_bytes`), and no label holds a request id, a key of a client, or anything of an input.

mod endpoint;
mod logs;
pub mod process;
mod stages;

pub use endpoint::serve_metrics;
pub use logs::log_to_stderr;
pub use prometheus_client::registry::Registry;
pub use stages::{Stages, durations};

/// A registry that already holds the `process_…` metrics of this process.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::Collector));
    registry
}
