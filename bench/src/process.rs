//! A service's process, watched from outside.

use dropbear_telemetry::process::{cpu_seconds, open_fds, resident_bytes};

/// A service that works while something is measured.
#[derive(Clone, Debug)]
pub struct Process {
    /// The service's name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

impl Process {
    /// CPU seconds that it has used; 0 once it is gone.
    pub(crate) fn cpu_s(&self) -> f64 {
        cpu_seconds(self.pid).unwrap_or(0.0)
    }

    /// Its resident memory; `None` once it is gone.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.pid)
    }

    /// Its open file descriptors; `None` once it is gone.
    pub(crate) fn open_fds(&self) -> Option<u64> {
        open_fds(self.pid)
    }
}
