//! Replicas on a simulated clock, network and disk: the same engine, where one seed is one run.
//!
//! A [`Simulation`] runs a scenario: a function of the [`World`] that starts and crashes replicas, cuts and
//! mends the network, and waits for what should happen. Nothing in it depends on the machine: the same seed and
//! the same scenario give the same [`Fingerprint`]. Between two scenarios of one simulation the power fails for
//! everybody: what was not synced to disk is lost.
//!
//! Replicas keep their part of this by waiting on things that wake in order: tokio's `Notify` and `mpsc` do,
//! tokio's `watch` wakes several waiters in an order of its own random choice, and `select!` polls in a random order
//! unless it is told to be `biased`.
//!
//! Members that break the rules are in `adversary`, one file each.

mod adversary;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::simulated::{self, Control, Manager, Network, Oracle, Receiver, Sender};
use commonware_runtime::deterministic::{self, Checkpoint, Context};
use commonware_runtime::{Clock as _, Handle, Spawner as _, Supervisor as _};
use commonware_utils::Probability;
use tokio::sync::mpsc;

use crate::config::Setup;
use crate::replica::DynReplica;
use crate::stack::{self, Channels};
use crate::status::Counters;
use crate::{EngineConfig, Ordering, Peer, Replica, Status, public_key};

/// What all replicas of a simulation have in common.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides every accident of the run.
    pub seed: u64,
    /// Replicas in the committee, whether they are started or not.
    pub replicas: usize,
    /// The chain's root.
    pub genesis_digest: [u8; 32],
    /// As in [`EngineConfig`].
    pub leader_timeout_ms: u64,
    /// Every connection between two replicas.
    pub link: Link,
    /// A scenario that has not ended by then, in simulated time, fails.
    pub time_limit_ms: u64,
}

/// A connection between two replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The mean time a message takes.
    pub latency_ms: u64,
    /// The standard deviation of that time.
    pub jitter_ms: u64,
    /// Messages of a thousand that are lost.
    pub loss_permille: u64,
}

/// A digest of everything that happened in a run.
pub type Fingerprint = String;

/// Scenarios, one after the other, on the same disks.
pub struct Simulation {
    plan: Plan,
    disks: Option<Checkpoint>,
}

type Scenario<'a> = Box<dyn FnOnce(World) -> Pin<Box<dyn Future<Output = ()> + 'a>> + 'a>;

impl Simulation {
    /// A simulation with empty disks.
    pub fn new(plan: Plan) -> Self {
        Self { plan, disks: None }
    }

    /// Runs a scenario. Where an earlier one ran, the power failed at its end.
    pub fn run<'a, F, S>(&mut self, scenario: S) -> Fingerprint
    where
        S: FnOnce(World) -> F + 'a,
        F: Future<Output = ()> + 'a,
    {
        self.run_dyn(Box::new(|world| Box::pin(scenario(world))))
    }

    fn run_dyn(&mut self, scenario: Scenario<'_>) -> Fingerprint {
        let runner = match self.disks.take() {
            Some(disks) => deterministic::Runner::from(disks),
            None => deterministic::Runner::new(
                deterministic::Config::new()
                    .with_seed(self.plan.seed)
                    .with_timeout(Some(Duration::from_millis(self.plan.time_limit_ms))),
            ),
        };
        let plan = self.plan.clone();
        let (fingerprint, disks) = runner.start_and_recover(|context| async move {
            let auditor = context.auditor();
            let world = World::new(context, plan).await;
            scenario(world).await;
            auditor.state()
        });
        self.disks = Some(disks);
        fingerprint
    }
}

/// The replicas and the network between them.
pub struct World {
    context: Context,
    setups: Vec<Setup>,
    oracle: Oracle<PublicKey, Context>,
    links: BTreeSet<(usize, usize)>,
    link: Link,
    engines: Vec<Option<Engine>>,
    /// How often every replica lost its disk.
    disks_lost: Vec<usize>,
}

struct Engine {
    task: Handle<()>,
    relay: Relay,
}

/// A replica's way to its peers, and what its engine tells about itself.
#[derive(Clone, Debug)]
pub struct Relay {
    outbox: mpsc::Sender<Bytes>,
    counters: Arc<Counters>,
}

impl Ordering for Relay {
    fn relay(&self, message: Bytes) {
        // Best effort, here as there.
        let _ = self.outbox.try_send(message);
    }

    fn status(&self) -> Status {
        self.counters.status()
    }

    /// Does nothing: a simulated engine ends by [`World::crash`].
    fn stop(&self) {}
}

/// The simulated machine of a replica: its clock and its tasks.
#[derive(Clone)]
pub struct Machine {
    context: Arc<Context>,
    clock_ahead_ms: i64,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("clock_ahead_ms", &self.clock_ahead_ms).finish_non_exhaustive()
    }
}

impl Machine {
    /// Milliseconds since the simulation's first scenario began, by this machine's clock.
    pub fn now_ms(&self) -> u64 {
        now_ms(&self.context).saturating_add_signed(self.clock_ahead_ms)
    }

    /// Lets simulated time pass.
    pub fn sleep_ms(&self, ms: u64) -> impl Future<Output = ()> + Send + 'static {
        let context = Arc::clone(&self.context);
        async move { context.sleep(Duration::from_millis(ms)).await }
    }

    /// Runs a task beside the caller. It ends with the scenario.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.context.child("task").spawn(|_| task);
    }
}

fn now_ms(context: &Context) -> u64 {
    let now = context.current().duration_since(std::time::UNIX_EPOCH);
    let ms = now.expect("simulated time starts at the epoch").as_millis();
    u64::try_from(ms).expect("simulations are short")
}

impl World {
    async fn new(context: Context, plan: Plan) -> Self {
        let setups = setups(&plan);
        let keys = setups[0].committee.keys.clone();
        let (network, oracle) = Network::new_with_peers(
            context.child("network"),
            simulated::Config {
                max_size: stack::message_size_bytes_max(&setups[0]),
                max_peers_per_set: keys.len().try_into().expect("committees are not empty"),
                disconnect_on_block: true,
                tracked_peer_sets: 1.try_into().expect("one is not zero"),
            },
            keys,
        )
        .await;
        network.start();
        let engines = setups.iter().map(|_| None).collect();
        let (link, disks_lost) = (plan.link, vec![0; plan.replicas]);
        let mut world = Self { context, setups, oracle, links: BTreeSet::new(), link, engines, disks_lost };
        world.heal().await;
        world
    }

    /// Starts a replica's engine on its disk.
    ///
    /// # Panics
    ///
    /// If it is running.
    pub async fn start(&mut self, index: usize, replica: impl Replica) -> Relay {
        self.start_dyn(index, Arc::new(replica)).await
    }

    async fn start_dyn(&mut self, index: usize, replica: Arc<dyn DynReplica>) -> Relay {
        assert!(self.engines[index].is_none(), "replica {index} is running");
        let channels = self.pipes(index).await;
        let network = (self.oracle.manager(), self.control(index));
        let engine = run(&self.context, self.setup(index), network, channels, replica);
        let relay = engine.relay.clone();
        self.engines[index] = Some(engine);
        relay
    }

    /// What a replica is told, and its partition of the disk.
    fn setup(&self, index: usize) -> Setup {
        let mut setup = self.setups[index].clone();
        setup.partition_prefix = format!("replica-{index}-{}-", self.disks_lost[index]);
        setup
    }

    /// A replica's ends of all channels.
    async fn pipes(&self, index: usize) -> [Pipe; 6] {
        let control = self.control(index);
        let mut channels = Vec::new();
        for (channel, quota) in stack::quotas(&self.setups[index]) {
            let pipe = control.register(channel, quota).await;
            channels.push(pipe.expect("the network is running"));
        }
        channels.try_into().unwrap_or_else(|_| unreachable!("there are six channels"))
    }

    /// A replica that is not running loses its disk: it starts next with an empty one.
    pub fn lose_disk(&mut self, index: usize) {
        assert!(self.engines[index].is_none(), "replica {index} is running");
        self.disks_lost[index] += 1;
    }

    /// A replica that lost its disk has it back, as it was then.
    pub fn restore_disk(&mut self, index: usize) {
        assert!(self.engines[index].is_none(), "replica {index} is running");
        self.disks_lost[index] -= 1;
    }

    /// The machine of a replica whose clock is ahead of everybody's by so much.
    pub fn machine(&self, clock_ahead_ms: i64) -> Machine {
        Machine { context: Arc::new(self.context.child("machine")), clock_ahead_ms }
    }

    /// Ends a replica's engine at once. What it wrote to disk stays.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub async fn crash(&mut self, index: usize) {
        let engine = self.engines[index].take().expect("the replica is running");
        engine.task.abort();
        // The outcome of an aborted task is that it was aborted.
        let _ = engine.task.await;
    }

    /// Cuts every connection between replicas of different groups; a replica in no group is alone.
    pub async fn partition(&mut self, groups: &[&[usize]]) {
        let together = |a, b| groups.iter().any(|group| group.contains(&a) && group.contains(&b));
        for (from, to) in self.pairs() {
            if !together(from, to) && self.links.remove(&(from, to)) {
                let cut = self.oracle.remove_link(self.key(from), self.key(to)).await;
                cut.expect("the link existed");
            }
        }
    }

    /// All connections are like this from now on.
    pub async fn weather(&mut self, link: Link) {
        self.partition(&[]).await;
        self.link = link;
        self.heal().await;
    }

    /// All connections take as long as this says, one way in milliseconds, and lose nothing.
    pub async fn distances(&mut self, one_way_ms: impl Fn(usize, usize) -> u64) {
        self.partition(&[]).await;
        self.link = Link { latency_ms: 0, jitter_ms: 0, loss_permille: 0 };
        self.connect(one_way_ms).await;
    }

    /// Mends all connections.
    pub async fn heal(&mut self) {
        let latency_ms = self.link.latency_ms;
        self.connect(|_, _| latency_ms).await;
    }

    async fn connect(&mut self, latency_ms: impl Fn(usize, usize) -> u64) {
        for (from, to) in self.pairs() {
            if self.links.insert((from, to)) {
                let link = simulated::Link {
                    latency: Duration::from_millis(latency_ms(from, to)),
                    jitter: Duration::from_millis(self.link.jitter_ms),
                    success_rate: success_rate(self.link.loss_permille),
                };
                let added = self.oracle.add_link(self.key(from), self.key(to), link).await;
                added.expect("the link did not exist");
            }
        }
    }

    /// Relays a message as [`Ordering::relay`] does.
    pub fn relay(&self, from: usize, message: Bytes) {
        self.running(from).relay.relay(message);
    }

    /// What a running replica's engine tells about itself.
    pub fn status(&self, index: usize) -> Status {
        self.running(index).relay.status()
    }

    /// Whether a replica's engine is running.
    pub fn is_running(&self, index: usize) -> bool {
        self.engines[index].is_some()
    }

    fn running(&self, index: usize) -> &Engine {
        self.engines[index].as_ref().expect("the replica is running")
    }

    /// Lets simulated time pass.
    pub async fn sleep_ms(&self, ms: u64) {
        self.context.sleep(Duration::from_millis(ms)).await;
    }

    /// Simulated time since the simulation's first scenario began.
    pub fn now_ms(&self) -> u64 {
        now_ms(&self.context)
    }

    fn key(&self, index: usize) -> PublicKey {
        self.setups[index].me.public_key()
    }

    fn control(&self, index: usize) -> Control<PublicKey, Context> {
        self.oracle.control(self.key(index))
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let indices = 0..self.setups.len();
        indices
            .clone()
            .flat_map(|from| indices.clone().map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .collect()
    }
}

/// One end of a simulated channel.
type Pipe = stack::Pipe<Sender<PublicKey, Context>, Receiver<PublicKey>>;
type Links = (Manager<PublicKey, Context>, Control<PublicKey, Context>);

/// Runs an engine on these channels.
fn run<S, R>(
    context: &Context,
    setup: Setup,
    network: Links,
    channels: [stack::Pipe<S, R>; 6],
    replica: Arc<dyn DynReplica>,
) -> Engine
where
    S: commonware_p2p::Sender<PublicKey = PublicKey>,
    R: commonware_p2p::Receiver<PublicKey = PublicKey>,
{
    let (outbox, outbox_receiver) = mpsc::channel(64);
    let relay = Relay { outbox, counters: Arc::default() };
    let (status, name) = (Arc::clone(&relay.counters), setup.partition_prefix.clone());
    let task = context.child("replica").with_attribute("name", &name).spawn(move |context| async move {
        let channels = Channels::new(channels);
        let engine = stack::start(context, setup, network, channels, replica, outbox_receiver, status);
        let reason = engine.await.await;
        panic!("{name}: {reason}");
    });
    Engine { task, relay }
}

/// The committee's namespace, for checking evidence.
pub const NAMESPACE: &[u8] = b"dropbear-sim";

/// The committee's keys, in committee order.
pub fn keys(replicas: usize) -> Vec<[u8; 32]> {
    (0..replicas).map(|index| public_key(&seed(index))).collect()
}

fn seed(index: usize) -> [u8; 32] {
    [u8::try_from(index).expect("committees are small"); 32]
}

fn setups(plan: &Plan) -> Vec<Setup> {
    let nowhere = "127.0.0.1:1".parse().expect("an address");
    let peers: Vec<_> = keys(plan.replicas).into_iter().map(|key| Peer { key, address: nowhere }).collect();
    let setup = |index| {
        let mut config = EngineConfig::new(
            NAMESPACE.to_vec(),
            plan.genesis_digest,
            seed(index),
            peers.clone(),
            nowhere,
            "unused".into(),
        );
        config.leader_timeout_ms = plan.leader_timeout_ms;
        Setup::parse(&config).expect("the plan is sound")
    };
    (0..plan.replicas).map(setup).collect()
}

fn success_rate(loss_permille: u64) -> Probability {
    let kept = 1_000_u64.checked_sub(loss_permille);
    kept.and_then(|kept| Probability::new(kept, 1_000)).expect("at most 1000 of 1000 messages are lost")
}
