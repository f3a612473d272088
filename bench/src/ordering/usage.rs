//! What a committee has used so far, seen from outside.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use dropbear_telemetry::process::cpu_seconds;

use super::{OrderingError, Plan};
use crate::scrape::Sample;

/// A file's blocks are counted in these.
const DISK_BLOCK_BYTES: u64 = 512;

/// One coordinator's use.
#[derive(Clone, Debug)]
pub(super) struct MemberUsage {
    pub(super) cpu_s: f64,
    pub(super) metrics: Sample,
    /// Bytes on disk of the ledger alone.
    pub(super) ledger_bytes: u64,
    /// Bytes on disk of everything else: the engine's journals and archives.
    pub(super) engine_bytes: u64,
}

/// Everybody's use at one moment.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) at: Instant,
    pub(super) members: Vec<MemberUsage>,
    pub(super) generator_cpu_s: f64,
    /// Bytes that this machine sent to itself, the load generator's included; `None` where the system does not say.
    pub(super) loopback_bytes: Option<u64>,
}

/// CPU seconds of this process.
pub(super) fn own_cpu_s() -> f64 {
    cpu_seconds(std::process::id()).unwrap_or(0.0)
}

impl Usage {
    pub(super) async fn take(plan: &Plan) -> Result<Self, OrderingError> {
        let http = reqwest::Client::new();
        let mut members = Vec::with_capacity(plan.members.len());
        for member in &plan.members {
            let metrics = Sample::take(&http, &member.metrics).await?;
            let all = disk_bytes(&member.data_dir)?;
            let engine_bytes = disk_bytes(&member.data_dir.join("engine"))?;
            let ledger_bytes = all.saturating_sub(engine_bytes);
            members.push(MemberUsage { cpu_s: 0.0, metrics, ledger_bytes, engine_bytes });
        }
        // All clocks last and at once.
        for (usage, member) in members.iter_mut().zip(&plan.members) {
            usage.cpu_s = member.process.cpu_s();
        }
        let (generator_cpu_s, loopback_bytes) = (own_cpu_s(), loopback_bytes());
        Ok(Self { at: Instant::now(), members, generator_cpu_s, loopback_bytes })
    }
}

/// What the files below `folder` take on disk.
fn disk_bytes(folder: &Path) -> Result<u64, OrderingError> {
    let failed = |error| OrderingError::Folder(folder.to_owned(), error);
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += disk_bytes(&entry.path())?,
            Ok(metadata) => bytes += metadata.blocks() * DISK_BLOCK_BYTES,
            // Journals are pruned while they are looked at.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(bytes)
}

fn loopback_bytes() -> Option<u64> {
    let table = fs::read_to_string("/proc/net/dev").ok()?;
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}
