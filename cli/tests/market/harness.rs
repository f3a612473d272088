//! A market of real processes, started and stopped as a user would.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dropbear_model_node::zoo::{Photo, Zoo, cache_directory};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const DROPBEAR: &str = env!("CARGO_BIN_EXE_dropbear");

/// Runs `dropbear` to its end.
pub(crate) fn dropbear(arguments: &[&str]) -> Output {
    Command::new(DROPBEAR).args(arguments).output().unwrap()
}

/// What a command printed on both streams.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// A market's folder, made with `dropbear init`.
pub(crate) struct Folder {
    root: TempDir,
    pub(crate) port_base: u16,
}

/// A base from which a market's ports are free, different for each test process and call.
fn free_port_base() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = (std::process::id() % 20) as u16;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    loop {
        // Below the ports that the system gives to outgoing connections.
        let base = 10_000 + (process * 3 + NEXT.fetch_add(1, Relaxed)) % 55 * 400;
        let mut needed = (0..3).chain([10, 50, 150, 300, 350].into_iter().flat_map(|first| first..first + 5));
        if needed.all(|offset| is_free(base + offset)) {
            return base;
        }
    }
}

impl Folder {
    pub(crate) fn init(group: &str) -> Self {
        let folder = Self { root: tempfile::tempdir().unwrap(), port_base: free_port_base() };
        let base = folder.port_base.to_string();
        let dir = folder.dir();
        let made = dropbear(&["init", dir.to_str().unwrap(), "--group", group, "--port-base", &base]);
        assert!(made.status.success(), "{}", said(&made));
        folder
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("market")
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.dir().join("genesis.json")
    }

    /// A place for a test's own files.
    pub(crate) fn scratch(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port_base)
    }

    /// Sends a signal to a service, and waits until it has worked.
    pub(crate) async fn signal(&self, service: &str, signal: Signal) {
        let kind = match service {
            "gateway" => "gateway",
            name if name.starts_with("coordinator") => "coordinator",
            _ => "model-node",
        };
        let config = self.dir().join(service).join(format!("{kind}.toml"));
        let processes = processes_with(&config);
        for pid in processes.iter().copied() {
            // It may have ended by itself when what started it did.
            let _ = kill(pid, signal);
        }
        if signal == Signal::SIGKILL {
            until(async || processes.iter().all(|pid| has_ended(*pid))).await;
        }
    }

    /// Takes a service out of what `up` starts, for a test to run it itself; gives its configuration file.
    pub(crate) fn take_out(&self, service: &str, config: &str) -> PathBuf {
        let from = self.dir().join(service).join(config);
        let to = from.with_extension("taken");
        std::fs::rename(from, &to).unwrap();
        to
    }
}

/// Every service of a market.
const SERVICES: [&str; 9] = [
    "gateway",
    "alder",
    "birch",
    "cedar",
    "dogwood",
    "coordinator-0",
    "coordinator-1",
    "coordinator-2",
    "coordinator-3",
];

/// Nine processes at a time are enough for any machine.
static ONE_MARKET: Mutex<()> = Mutex::const_new(());

/// Waits until no other market runs, for a test whose market is started by the command that it tries.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    ONE_MARKET.lock().await
}

/// A running `dropbear up`.
pub(crate) struct Up {
    child: Child,
    /// Services that a test started again by themselves.
    adopted: std::sync::Mutex<Vec<Service>>,
    _alone: MutexGuard<'static, ()>,
}

/// A service that runs by itself.
pub(crate) struct Service(Child);

impl Service {
    /// Starts it as an operator would, and waits until it serves.
    pub(crate) async fn start(folder: &Folder, name: &str, kind: &str) -> Self {
        let (config, log) =
            (folder.dir().join(name).join(format!("{kind}.toml")), folder.dir().join(name).join("own.log"));
        let mut child = AsyncCommand::new(DROPBEAR)
            .args([kind, "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let ready = child.stdout.take().map(|stdout| BufReader::new(stdout).lines()).unwrap().next_line().await;
        if !ready.unwrap().is_some_and(|line| line.starts_with("ready")) {
            panic!("{name} ended: {:?}: {}", child.wait().await, std::fs::read_to_string(&log).unwrap());
        }
        Self(child)
    }

    async fn stop(mut self) {
        let pid = i32::try_from(self.0.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().await.unwrap().success());
    }
}

/// Waits until something is so, which nobody announces.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), poll).await.expect("it becomes so within a minute");
}

/// Whether a process has closed all that it had open. Its command line goes before its sockets do, and its first thread may
/// end before others.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in parentheses; a zombie waits for its parent alone.
    let state = stat.rsplit(')').next().map_or("", str::trim_start);
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state.is_empty() || state.starts_with(['Z', 'X']) && threads <= 1
}

/// The processes whose command line names the file.
fn processes_with(config: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let of = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = words.split(|byte| *byte == 0);
        words.any(|word| word == config.as_os_str().as_encoded_bytes()).then(|| Pid::from_raw(pid))
    };
    entries.filter_map(of).collect()
}

impl Up {
    pub(crate) async fn start(folder: &Folder) -> Self {
        let alone = ONE_MARKET.lock().await;
        let mut child = AsyncCommand::new(DROPBEAR)
            .arg("up")
            .arg(folder.dir())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("ready:") {
                return Self { child, adopted: std::sync::Mutex::default(), _alone: alone };
            }
        }
        panic!("`dropbear up` ended: {:?}", child.wait().await);
    }

    /// Takes a service that a test started again, so that it stops with the rest.
    pub(crate) fn adopt(&self, service: Service) {
        let mut adopted = self.adopted.lock().unwrap();
        // Those that a test killed again have no say in how it ends.
        adopted.retain_mut(|service| service.0.try_wait().unwrap().is_none());
        adopted.push(service);
    }

    /// Stops it with SIGTERM; it must end well.
    pub(crate) async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().await.unwrap().success());
        for service in self.adopted.into_inner().unwrap() {
            service.stop().await;
        }
    }

    /// `kill -9` of everything.
    pub(crate) async fn kill(mut self, folder: &Folder) {
        self.child.kill().await.unwrap();
        for service in SERVICES {
            folder.signal(service, Signal::SIGKILL).await;
        }
    }
}

/// The sample photos, fetched by `init`.
pub(crate) fn photos() -> Vec<Photo> {
    Zoo::open(&cache_directory().unwrap()).unwrap().photos()
}

pub(crate) fn photo(name: &str) -> PathBuf {
    photos().into_iter().map(|photo| photo.path).find(|path| path.ends_with(name)).unwrap()
}

/// Posts a picture to the group; gives status and body.
pub(crate) async fn classify(folder: &Folder, query: &str, picture: Vec<u8>) -> (u16, Value) {
    let url = format!("{}/api/v1/groups/imagenet/classify{query}", folder.url());
    let response = reqwest::Client::new().post(url).body(picture).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}
