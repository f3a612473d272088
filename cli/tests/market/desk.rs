//! Owners at the command line, as the tests use them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{DROPBEAR, Folder, dropbear, said};

/// Everything in the ledger that is waited for comes within this time.
pub(crate) const LEDGER_TIMEOUT: Duration = Duration::from_secs(60);

/// One owner, who runs commands in its name.
pub(crate) struct Owner<'a> {
    folder: &'a Folder,
    pub(crate) name: &'static str,
    group: &'static str,
    /// Where it asks a gateway instead of the coordinators.
    gateway: Option<String>,
}

impl<'a> Owner<'a> {
    pub(crate) fn of(folder: &'a Folder, name: &'static str, group: &'static str) -> Self {
        Self { folder, name, group, gateway: None }
    }

    /// The same owner, who asks and tells a gateway.
    pub(crate) fn through(&self, gateway: &str) -> Self {
        Self { gateway: Some(gateway.to_owned()), ..*self }
    }

    fn whereabouts(&self) -> Vec<String> {
        let mut arguments = vec!["--market".to_owned(), self.folder.dir().to_str().unwrap().to_owned()];
        arguments.extend(self.gateway.iter().flat_map(|url| ["--gateway".to_owned(), url.clone()]));
        arguments
    }

    /// The folder of its key and its model node.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.dir().join(self.name)
    }

    fn run(&self, command: &[&str]) -> (bool, String) {
        let whereabouts = self.whereabouts();
        let mut arguments = vec!["--json"];
        arguments.extend(command);
        arguments.extend(whereabouts.iter().map(String::as_str));
        // These speak of all owners.
        if !matches!(command, ["model", "list" | "stats", ..] | ["group", "list" | "show", ..]) {
            arguments.extend(["--owner", self.name]);
        }
        if command[0] == "model" && command[1] != "history" {
            arguments.extend(["--group", self.group]);
        }
        let output = dropbear(&arguments);
        (output.status.success(), said(&output))
    }

    /// Runs a command that must succeed, and reads what it says.
    pub(crate) fn says(&self, command: &[&str]) -> Vec<Value> {
        let (good, said) = self.run(command);
        assert!(good, "{command:?}: {said}");
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// Runs a command that must succeed and say one thing.
    pub(crate) fn does(&self, command: &[&str]) -> Value {
        self.says(command).pop().unwrap_or_default()
    }

    /// Runs a command that must be refused with this reason.
    pub(crate) fn is_refused(&self, command: &[&str], reason: &str) {
        let (good, said) = self.run(command);
        assert!(!good && said.contains(reason), "{command:?} should say `{reason}`: {said}");
    }

    /// The group as it stands.
    pub(crate) fn group(&self) -> Value {
        self.does(&["group", "show", self.group])
    }

    /// The label of its version in force in the next block.
    pub(crate) fn current(&self) -> Option<String> {
        let group = self.group();
        let models = group["models"].as_array().unwrap();
        let mine = models.iter().find(|model| model["owner"] == self.name)?;
        mine["current"]["label"].as_str().map(str::to_owned)
    }
}

/// The names on the roster in force.
pub(crate) fn roster(group: &Value) -> Vec<&str> {
    group["charter"]["owners"].as_array().unwrap().iter().map(|seat| seat["owner"].as_str().unwrap()).collect()
}

/// The model node of an owner that came later than the market.
pub(crate) struct Node {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Node {
    pub(crate) fn start(folder: &Path) -> Self {
        let log = std::fs::File::create(folder.join("service.log")).unwrap();
        let mut child = Command::new(DROPBEAR)
            .args(["model-node", "--config"])
            .arg(folder.join("model-node.toml"))
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    /// Waits until it serves the version that the ledger names.
    pub(crate) async fn ready(&mut self) {
        let line = tokio::time::timeout(LEDGER_TIMEOUT, self.said.next_line()).await.unwrap().unwrap();
        assert!(line.is_some_and(|line| line.starts_with("ready")));
    }

    pub(crate) async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().await.unwrap().success());
    }
}
