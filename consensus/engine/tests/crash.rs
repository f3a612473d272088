//! Engines in processes of their own, killed without notice.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dropbear_engine::{EngineConfig, EngineFault, Memory, OrderedBlock, Peer, Replica, Role, public_key, start};

const GENESIS: [u8; 32] = [42; 32];
/// Far beyond what any step takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Set for the processes that run an engine: which one, where, and who else there is.
const NODE: &str = "DROPBEAR_TEST_NODE";
/// Blocks of work between two kills.
const BLOCKS: u64 = 15;

/// Proposes whenever asked, keeps its tip in a file, and tells of every final block on standard output.
#[derive(Clone)]
struct Reporting {
    known: Arc<Mutex<BTreeSet<[u8; 32]>>>,
    tip: PathBuf,
    /// The tip's height at the start. What the engine delivers again lies at or below it.
    resumed: u64,
    height: Arc<AtomicU64>,
}

impl Reporting {
    fn open(tip: PathBuf) -> Self {
        let (digest, resumed) = match fs::read(&tip) {
            Ok(bytes) => (bytes[..32].try_into().unwrap(), u64::from_be_bytes(bytes[32..].try_into().unwrap())),
            Err(_) => (OrderedBlock::genesis(GENESIS).digest, 0),
        };
        let height = Arc::new(AtomicU64::new(resumed));
        Self { known: Arc::new(Mutex::new([digest].into())), tip, resumed, height }
    }

    fn learn(&self, block: &OrderedBlock) {
        let mut known = self.known.lock().unwrap();
        assert!(known.contains(&block.parent), "ancestors come first");
        known.insert(block.digest);
    }

    /// Makes a block the tip. A rename replaces the file in one step, whenever the process is killed.
    fn keep(&self, block: &OrderedBlock) {
        if !self.knows(&block.digest) {
            self.learn(block);
        }
        let new = self.tip.with_extension("new");
        fs::write(&new, [&block.digest[..], &block.height.to_be_bytes()].concat()).unwrap();
        fs::rename(&new, &self.tip).unwrap();
        self.height.store(block.height, Ordering::Relaxed);
    }
}

impl Replica for Reporting {
    fn memory(&self) -> Memory {
        Memory::Fresh
    }

    fn testify(&self, _: usize) -> Bytes {
        Bytes::new()
    }

    fn has_forgotten(&self, _: Bytes) -> bool {
        false
    }

    async fn begin(&self, _: Role) {}

    fn height(&self) -> u64 {
        self.height.load(Ordering::Relaxed)
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.known.lock().unwrap().contains(digest)
    }

    async fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> Option<Bytes> {
        ancestors.iter().for_each(|block| self.learn(block));
        Some(Bytes::copy_from_slice(&parent))
    }

    async fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> bool {
        ancestors.iter().for_each(|block| self.learn(block));
        self.learn(&block);
        true
    }

    async fn finalized(&self, block: OrderedBlock) {
        if block.height > self.resumed {
            self.keep(&block);
        }
        // Told again if it is delivered again: the process may have been killed between keeping and telling.
        println!("final {} {}", block.height, hex(&block.digest));
    }

    fn relayed(&self, _: usize, _: Bytes) {}

    fn fault(&self, fault: EngineFault) {
        println!("fault {fault:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "the body of a child process"]
fn node() {
    let node = env::var(NODE).expect("the parent says which node");
    let mut words = node.split(' ');
    let me: u8 = words.next().unwrap().parse().unwrap();
    let dir = words.next().unwrap();
    let addresses: Vec<SocketAddr> = words.map(|word| word.parse().unwrap()).collect();
    let peers = (0..)
        .zip(&addresses)
        .map(|(index, address)| Peer { key: public_key(&[index; 32]), address: *address })
        .collect();
    let listen = addresses[usize::from(me)];
    let namespace = b"dropbear-test".to_vec();
    let config = EngineConfig::new(namespace, GENESIS, [me; 32], peers, listen, dir.into());
    let replica = Reporting::open(Path::new(dir).with_extension("tip"));
    let engine = start(config, replica).unwrap();
    engine.join().unwrap();
}

struct Process(Child);

impl Process {
    fn start(index: usize, dir: &Path, addresses: &[SocketAddr], lines: Sender<(usize, String)>) -> Self {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let dir = dir.join(index.to_string());
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "node", "--ignored", "--nocapture"])
            .env(NODE, format!("{index} {} {}", dir.display(), addresses.join(" ")))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if lines.send((index, line)).is_err() {
                    return;
                }
            }
        });
        Self(child)
    }
}

impl Drop for Process {
    /// `kill -9`.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What all processes said, checked as it comes.
struct Witness {
    lines: Receiver<(usize, String)>,
    chain: BTreeMap<u64, String>,
    heights: [u64; 4],
}

impl Witness {
    fn until(&mut self, index: usize, height: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.heights[index] < height {
            let left = deadline.saturating_duration_since(Instant::now());
            let (from, line) = self.lines.recv_timeout(left).expect("blocks keep coming at every node");
            assert!(!left.is_zero(), "node {index} stays at {}, below {height}", self.heights[index]);
            assert!(!line.starts_with("fault"), "{line}");
            let Some(block) = line.split("final ").nth(1) else {
                continue;
            };
            let (height, digest) = block.split_once(' ').unwrap();
            let height = height.parse().unwrap();
            let known = self.chain.entry(height).or_insert_with(|| digest.into());
            assert_eq!(known, digest, "one block at each height");
            assert!(height <= self.heights[from] + 1, "no block is left out");
            self.heights[from] = self.heights[from].max(height);
        }
    }

    fn tip(&self) -> u64 {
        self.heights.into_iter().max().unwrap()
    }
}

#[test]
fn killed_processes_come_back_to_the_same_chain() {
    let dir = tempfile::tempdir().unwrap();
    let sockets: Vec<_> = (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    drop(sockets);
    let (sender, lines) = channel();
    let process = |index| Process::start(index, dir.path(), &addresses, sender.clone());
    let mut processes: Vec<_> = (0..4).map(|index| Some(process(index))).collect();
    let mut witness = Witness { lines, chain: BTreeMap::new(), heights: [0; 4] };
    for round in 0..4 {
        let victim = round % 4;
        let survivor = (round + 1) % 4;
        witness.until(survivor, witness.tip() + BLOCKS);
        processes[victim] = None;
        witness.until(survivor, witness.tip() + BLOCKS);
        processes[victim] = Some(process(victim));
        witness.until(victim, witness.tip());
    }
    // All at once.
    processes.iter_mut().for_each(|process| *process = None);
    let tip = witness.tip();
    for (index, slot) in processes.iter_mut().enumerate() {
        *slot = Some(process(index));
    }
    for index in 0..4 {
        witness.until(index, tip + BLOCKS);
    }
}
