//! The stacks of a running process, by the system's own profiler: what flame graphs are drawn from.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Samples a second: no divisor of anything periodic.
const SAMPLES_PER_S: &str = "199";
/// Stacks are found by unwinding: optimised code keeps no frame pointers.
const CALL_GRAPH: &str = "dwarf,16384";

/// Why there is no flame graph.
#[derive(Debug, thiserror::Error)]
pub enum FlameError {
    /// `perf` is missing or may not look.
    #[error(
        "cannot profile process {pid}: {problem}\n  install perf (Debian: linux-perf), and allow it: sysctl \
         kernel.perf_event_paranoid=1; then by hand: perf record -F {SAMPLES_PER_S} --call-graph {CALL_GRAPH} -p {pid}"
    )]
    Perf {
        /// The process.
        pid: u32,
        /// What was wrong.
        problem: String,
    },
    /// The file cannot be written.
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, std::io::Error),
}

/// Samples a process for so long, and writes its stacks into `file` as `perf script` prints them: speedscope and the Firefox
/// Profiler draw these.
///
/// # Errors
/// [`FlameError`] says how to get it by hand.
pub async fn record(pid: u32, lasting: Duration, file: &Path) -> Result<(), FlameError> {
    let failed = |problem: String| FlameError::Perf { pid, problem };
    let samples = file.with_extension("perf");
    let seconds = lasting.as_secs_f64().to_string();
    let recorded = Command::new("perf")
        .args(["record", "--quiet", "-F", SAMPLES_PER_S, "--call-graph", CALL_GRAPH, "-p", &pid.to_string(), "-o"])
        .arg(&samples)
        .args(["--", "sleep", &seconds])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !recorded.status.success() {
        return Err(failed(String::from_utf8_lossy(&recorded.stderr).trim().to_owned()));
    }
    let script = Command::new("perf").args(["script", "--no-inline", "-i"]).arg(&samples).output().await;
    let script = script.map_err(|error| failed(error.to_string()))?;
    if !script.status.success() {
        return Err(failed(String::from_utf8_lossy(&script.stderr).trim().to_owned()));
    }
    std::fs::write(file, &script.stdout).map_err(|error| FlameError::Write(file.to_owned(), error))?;
    std::fs::remove_file(&samples).map_err(|error| FlameError::Write(samples, error))
}
