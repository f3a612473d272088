//! Measures four engines over TCP on this machine: latency of single entries on an idle committee, with all
//! alive and with one dead; blocks per second when saturated; CPU and memory of idle and saturated processes.
//!
//! `cargo run --release -p dropbear-engine --example measure [latency|processes]`

use std::collections::HashMap;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dropbear_engine::{
    EngineConfig, EngineFault, Handle, Memory, OrderedBlock, Ordering, Peer, Replica, Role, public_key, start,
};
use tokio::sync::watch;
use tokio::time::sleep;

const GENESIS: [u8; 32] = [7; 32];
const SAMPLES: u64 = 50;
/// Pauses between samples lie in this range, so that they meet idle turns at any moment.
const PAUSE_MS: std::ops::Range<u64> = 200..1_100;

/// Orders the numbers up to `wanted`, one a block.
#[derive(Clone)]
struct Probe {
    /// The number in each known block.
    known: Arc<Mutex<HashMap<[u8; 32], u64>>>,
    wanted: Arc<watch::Sender<u64>>,
    ordered: Arc<watch::Sender<u64>>,
    block_size_bytes: usize,
    height: Arc<AtomicU64>,
}

impl Probe {
    fn new(block_size_bytes: usize) -> Self {
        let genesis = OrderedBlock::genesis(GENESIS).digest;
        Self {
            known: Arc::new(Mutex::new([(genesis, 0)].into())),
            wanted: Arc::new(watch::Sender::new(0)),
            ordered: Arc::new(watch::Sender::new(0)),
            block_size_bytes,
            height: Arc::default(),
        }
    }

    fn learn(&self, block: &OrderedBlock) -> u64 {
        let mut known = self.known.lock().unwrap();
        let number = match block.payload.first_chunk() {
            Some(number) => u64::from_be_bytes(*number),
            None => *known.get(&block.parent).expect("parents come first"),
        };
        known.insert(block.digest, number);
        number
    }
}

impl Replica for Probe {
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
        self.height.load(Relaxed)
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.known.lock().unwrap().contains_key(digest)
    }

    async fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> Option<Bytes> {
        for block in &ancestors {
            self.learn(block);
        }
        let next = self.known.lock().unwrap()[&parent] + 1;
        let mut wanted = self.wanted.subscribe();
        wanted.wait_for(|wanted| *wanted >= next).await.ok()?;
        let mut payload = vec![0; self.block_size_bytes.max(8)];
        payload[..8].copy_from_slice(&next.to_be_bytes());
        Some(payload.into())
    }

    async fn verify(&self, _: Vec<OrderedBlock>, block: OrderedBlock) -> bool {
        self.learn(&block);
        true
    }

    async fn finalized(&self, block: OrderedBlock) {
        let number = self.learn(&block);
        self.height.store(block.height, Relaxed);
        self.known.lock().unwrap().remove(&block.parent);
        self.ordered.send_replace(number);
    }

    fn relayed(&self, _: usize, _: Bytes) {}

    fn fault(&self, fault: EngineFault) {
        panic!("nobody cheats here: {fault:?}");
    }
}

fn addresses() -> Vec<SocketAddr> {
    let sockets: Vec<_> = (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
}

fn config(me: u8, addresses: &[SocketAddr], dir: PathBuf) -> EngineConfig {
    let peers = (0..)
        .zip(addresses)
        .map(|(index, address)| Peer { key: public_key(&[index; 32]), address: *address })
        .collect();
    EngineConfig::new(b"dropbear-measure".to_vec(), GENESIS, [me; 32], peers, addresses[usize::from(me)], dir)
}

/// Milliseconds from "every replica wants the number" to "every replica has it durable".
async fn latencies(probes: &[Probe], first: u64) -> Vec<f64> {
    let mut samples = Vec::new();
    let mut random = first;
    for number in first..first + SAMPLES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let spread = PAUSE_MS.end - PAUSE_MS.start;
        sleep(Duration::from_millis(PAUSE_MS.start + (random >> 33) % spread)).await;
        let begin = Instant::now();
        for probe in probes {
            probe.wanted.send_replace(number);
        }
        for probe in probes {
            let mut ordered = probe.ordered.subscribe();
            ordered.wait_for(|ordered| *ordered >= number).await.unwrap();
        }
        samples.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    samples.sort_by(f64::total_cmp);
    samples
}

fn report(what: &str, samples: &[f64]) {
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:.1} ms, p95 {:.1} ms, max {:.1} ms of {}", at(0.5), at(0.95), at(1.0), samples.len());
}

async fn latency() {
    let dir = tempfile::tempdir().unwrap();
    let addresses = addresses();
    let mut nodes: Vec<(Probe, Handle)> = (0..4)
        .map(|index| {
            let probe = Probe::new(8);
            let config = config(index, &addresses, dir.path().join(index.to_string()));
            let handle = start(config, probe.clone()).unwrap();
            (probe, handle)
        })
        .collect();
    let probes: Vec<_> = nodes.iter().map(|(probe, _)| probe.clone()).collect();
    report("idle to final, 4 of 4 alive", &latencies(&probes, 1).await);
    let (_, dead) = nodes.pop().unwrap();
    dead.stop();
    dead.join().unwrap();
    report("idle to final, 3 of 4 alive, from the moment of death", &latencies(&probes[..3], 1 + SAMPLES).await);
    report("idle to final, 3 of 4 alive, later", &latencies(&probes[..3], 1 + 2 * SAMPLES).await);
    report(
        "idle to final, 3 of 4 alive, the entry known to one replica only",
        &latencies(&probes[..1], 1 + 3 * SAMPLES).await,
    );
    println!("{:?}", nodes[0].1.status());
}

/// CPU seconds and resident MiB of this process.
fn usage() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let pages: f64 = fields[21].parse().unwrap();
    (ticks / 100.0, pages * 4096.0 / 1048576.0)
}

/// One engine in this process: idle first, then saturated.
async fn node(me: u8, dir: PathBuf, addresses: Vec<SocketAddr>, block_size_bytes: usize) {
    let phase = Duration::from_secs(12);
    let probe = Probe::new(block_size_bytes);
    let engine = start(config(me, &addresses, dir), probe.clone()).unwrap();
    sleep(Duration::from_secs(4)).await;
    let (cpu_before, _) = usage();
    sleep(phase).await;
    let (cpu, rss) = usage();
    if me == 0 {
        println!(
            "idle: {:.2} % CPU, {rss:.0} MiB, {:?}",
            (cpu - cpu_before) / phase.as_secs_f64() * 100.0,
            engine.status()
        );
    }
    probe.wanted.send_replace(u64::MAX);
    sleep(Duration::from_secs(2)).await;
    let ((cpu_before, _), first) = (usage(), *probe.ordered.borrow());
    sleep(phase).await;
    let (cpu, rss) = usage();
    let blocks = (*probe.ordered.borrow() - first) as f64;
    if me == 0 {
        println!(
            "saturated, {block_size_bytes} B a block: {:.1} blocks/s, {:.2} ms CPU a block, {rss:.0} MiB, {:?}",
            blocks / phase.as_secs_f64(),
            (cpu - cpu_before) * 1e3 / blocks,
            engine.status()
        );
    }
    sleep(Duration::from_secs(1)).await;
    engine.stop();
    engine.join().unwrap();
}

fn processes(block_size_bytes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let addresses: Vec<String> = addresses().iter().map(ToString::to_string).collect();
    let mut children: Vec<Child> = (0..4)
        .map(|index| {
            Command::new(env::current_exe().unwrap())
                .args(["node", &index.to_string(), &block_size_bytes.to_string()])
                .arg(dir.path().join(index.to_string()))
                .args(&addresses)
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    if env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("node") => {
            let addresses = arguments[4..].iter().map(|address| address.parse().unwrap());
            node(
                arguments[1].parse().unwrap(),
                arguments[3].clone().into(),
                addresses.collect(),
                arguments[2].parse().unwrap(),
            )
            .await;
        }
        Some("latency") => latency().await,
        Some("processes") => [4 << 10, 512 << 10].map(processes).into_iter().collect(),
        _ => {
            latency().await;
            [4 << 10, 512 << 10].into_iter().for_each(processes);
        }
    }
}
