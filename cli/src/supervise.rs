//! Child processes: each service of a market as its own OS process.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_bench::process::Process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::cell::Cell;
use crate::layout::Service;
use crate::service::{Kind, READY};

/// A service has this long to say that it serves; a first start may load models for a while.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// A service has this long to put its work down before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Lines of a failed service's log that are shown.
const LOG_TAIL_LINES: usize = 5;

/// A running service.
pub(crate) struct Running {
    pub(crate) service: Service,
    child: Child,
    /// While it is open, the service knows that this process lives. Not the child's: waiting for it closes that.
    _lifeline: ChildStdin,
    /// What it printed when it was ready: its address.
    pub(crate) address: String,
}

/// Starts a service and waits until it serves, unless it cannot serve yet: a model node whose owner has no seat. It stops
/// by itself when this process ends. With a cell, it lives in there.
pub(crate) async fn start(service: Service, waits: bool, cell: Option<&Cell>) -> anyhow::Result<Running> {
    let log = service.log();
    let open_log = || File::options().create(true).append(true).open(&log);
    let stderr = open_log().with_context(|| format!("cannot write {}", log.display()))?;
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(executable);
    command
        .arg(service.kind.command())
        .arg("--config")
        .arg(&service.config)
        .arg("--supervised")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        // Ctrl-C reaches the whole group; this process decides when the others stop.
        .process_group(0)
        .kill_on_drop(true);
    let child = match cell {
        Some(cell) => cell.spawn(command).await,
        None => command.spawn().map_err(anyhow::Error::from),
    };
    let mut child = child.with_context(|| format!("cannot start {}", service.name))?;
    let stdout = child.stdout.take().context("a child without standard output")?;
    let lifeline = child.stdin.take().context("a child without standard input")?;
    let mut lines = BufReader::new(stdout).lines();
    if !waits {
        let address = service.address()?.to_string();
        // It says that it serves once its owner has a seat: nobody waits for that, but it must be able to.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        return Ok(Running { service, child, _lifeline: lifeline, address });
    }
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.strip_prefix(READY) {
                return Ok(address.trim().to_owned());
            }
        }
        bail!("it ended before it served")
    };
    match tokio::time::timeout(READY_TIMEOUT, ready).await {
        Ok(Ok(address)) => Ok(Running { service, child, _lifeline: lifeline, address }),
        Ok(Err(error)) => bail!("{} did not start: {error}{}", service.name, tail(&log)),
        Err(_) => bail!("{} was not ready after {READY_TIMEOUT:?}{}", service.name, tail(&log)),
    }
}

/// The last lines of a log, indented, for an error message.
fn tail(log: &Path) -> String {
    format!("\n  {}\n  (all of it: {})", last_lines(log, LOG_TAIL_LINES).join("\n  "), log.display())
}

fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its process as measurements watch it; `None` if it ended.
    pub(crate) fn process(&self) -> Option<Process> {
        Some(Process { name: self.service.name.clone(), pid: self.pid()? })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended a moment ago, which is what we want.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills it without warning, as a failing machine would.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.service.name))
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("{} ended: {status}{}", self.service.name, tail(&self.service.log())),
            Err(error) => format!("{} is lost: {error}", self.service.name),
        }
    }

    /// Waits until it ends by itself; gives its status and the last line that it said.
    pub(crate) async fn last_words(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("{status}: {}", last_lines(&self.service.log(), 1).concat()),
            Err(error) => format!("it is lost: {error}"),
        }
    }

    /// Asks it to stop, and waits.
    async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM);
        // A paused process hears nothing else.
        self.signal(Signal::SIGCONT);
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => bail!("{} ended with {status}{}", self.service.name, tail(&self.service.log())),
            Ok(Err(error)) => bail!("{} is lost: {error}", self.service.name),
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not stop within {STOP_TIMEOUT:?} and was killed", self.service.name)
            }
        }
    }
}

/// Stops services: gateways first, with the requests that run, and only then what they use.
pub(crate) async fn stop_all(mut services: Vec<Running>) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for kind in Kind::ALL.into_iter().rev() {
        let (of_kind, others): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|running| running.service.kind == kind);
        services = others;
        let stops: Vec<_> = of_kind.into_iter().map(|running| tokio::spawn(running.stop())).collect();
        for stop in stops {
            if let Err(error) = stop.await? {
                problems.push(format!("{error:#}"));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { bail!(problems.join("\n")) }
}
