//! What a process uses, from `/proc`.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks per second in `/proc/PID/stat`; 100 on every Linux that Rust runs on.
const TICKS_PER_S: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

/// Fields of `/proc/PID/stat`, counted from behind the name.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// CPU time that a process has used so far, in seconds; `None` if it is gone.
#[must_use]
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(USER_TIME)? + ticks(SYSTEM_TIME)?) / TICKS_PER_S)
}

/// Resident memory of a process in bytes; `None` if it is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages = statm.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(pages * PAGE_BYTES)
}

/// File descriptors that a process has open; `None` if it is gone or somebody else's.
#[must_use]
pub fn open_fds(pid: u32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

/// When a process started, as Unix time; `None` if it is gone.
fn started(pid: u32) -> Option<Duration> {
    fs::metadata(format!("/proc/{pid}")).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()
}

/// The customary `process_…` metrics of this process, read when they are asked for.
#[derive(Debug)]
pub(crate) struct Collector;

impl prometheus_client::collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pid = std::process::id();
        if let Some(seconds) = cpu_seconds(pid) {
            put(&mut encoder, "process_cpu_seconds", "CPU time used, user and system", &ConstCounter::new(seconds))?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", resident_bytes(pid).map(|bytes| bytes as f64)),
            ("process_open_fds", "Open file descriptors", open_fds(pid).map(|fds| fds as f64)),
            ("process_start_time_seconds", "Start, as Unix time", started(pid).map(|time| time.as_secs_f64())),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                put(&mut encoder, name, help, &ConstGauge::new(value))?;
            }
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_and_no_process_nothing() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_some_and(|seconds| seconds >= 0.0));
        assert!(resident_bytes(pid).is_some_and(|bytes| bytes > 1 << 20));
        assert!(open_fds(pid).is_some_and(|fds| fds >= 3));
        assert!(started(pid).is_some_and(|time| time.as_secs() > 1_600_000_000));
        assert_eq!((cpu_seconds(u32::MAX), open_fds(u32::MAX)), (None, None));
    }
}
