//! A thread in Linux namespaces of its own. What it starts lives in them too, and they go with the last process that does:
//! nothing of them is left behind, however that ends.

use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::sync::mpsc;

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Cell {
    jobs: mpsc::Sender<Job>,
    /// Names its network to `ip`.
    network: String,
}

impl Cell {
    /// A thread in new namespaces of these kinds.
    ///
    /// # Errors
    /// Where that is not permitted: it takes CAP_SYS_ADMIN.
    pub(crate) async fn new(kinds: CloneFlags) -> anyhow::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (told, begun) = oneshot::channel();
        std::thread::Builder::new().name("cell".into()).spawn(move || {
            let entered = unshare(kinds).map(|()| gettid());
            // Whoever made it may have gone.
            let _ = told.send(entered);
            while let (Ok(job), Ok(_)) = (queue.recv(), entered) {
                job();
            }
        })?;
        let thread = begun.await.context("a thread ended too early")?.context("cannot make namespaces (be root)")?;
        Ok(Self { jobs, network: format!("/proc/{}/task/{thread}/ns/net", std::process::id()) })
    }

    /// A file that stands for its network, as `ip` takes it for a namespace's name.
    pub(crate) fn network(&self) -> &str {
        &self.network
    }

    /// Does something in there that takes no time to speak of.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let (told, done) = oneshot::channel();
        // Nobody may be waiting any more.
        let job = Box::new(move || drop(told.send(job())));
        self.jobs.send(job).ok().context("a cell's thread has ended")?;
        done.await.context("a cell's thread panicked")
    }

    /// Starts a process in there.
    pub(crate) async fn spawn(&self, mut command: Command) -> anyhow::Result<Child> {
        let runtime = tokio::runtime::Handle::current();
        let spawn = move || {
            let _entered = runtime.enter();
            command.spawn()
        };
        Ok(self.run(spawn).await??)
    }

    /// Runs `ip` in there with these words.
    ///
    /// # Errors
    /// What it says if it fails, or that it is not installed.
    pub(crate) async fn ip(&self, words: &str) -> anyhow::Result<()> {
        let arguments: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let run = move || std::process::Command::new("ip").args(arguments).output();
        let Output { status, stderr, .. } = self.run(run).await?.context("cannot run `ip` (of iproute2)")?;
        if !status.success() {
            bail!("`ip {words}`: {}", String::from_utf8_lossy(&stderr).trim());
        }
        Ok(())
    }

    /// Connects to an address of its network.
    pub(crate) async fn connect(&self, address: SocketAddr) -> anyhow::Result<tokio::net::TcpStream> {
        let stream = self.run(move || TcpStream::connect(address)).await??;
        stream.set_nonblocking(true)?;
        Ok(tokio::net::TcpStream::from_std(stream)?)
    }
}
