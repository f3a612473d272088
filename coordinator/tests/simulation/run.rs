//! One run: a phase of accidents, then everything heals, then everybody must have got an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dropbear_coordinator::sim::Disk;
use dropbear_engine::sim::{self, Simulation, World};

use crate::committee::Committee;
use crate::gateway::{Client, Shared};
use crate::history::{History, Totals};
use crate::invariant;
use crate::offers::{self, OWNERS};
use crate::plan::{Accident, CALM, Life, Plan, Treason};
use crate::random::Random;

/// The committee must have answered everybody so long after everything is healed.
const HEALED_MS_MAX: u64 = 120_000;
/// Far more than a run takes.
const TIME_LIMIT_MS: u64 = 3_600_000;

/// Runs a plan and judges it.
///
/// # Panics
/// If an invariant is broken.
pub(crate) fn run(plan: &Plan) -> Totals {
    let market = offers::open(plan.members, plan.gateways);
    let honest = (0..plan.members).filter(|member| plan.treasons[*member].is_none()).collect();
    let history = History::new(Arc::clone(&market), honest);
    let disks: Vec<_> = (0..plan.members).map(|_| Disk::default()).collect();
    let nonces = Arc::new(AtomicU64::new(1));
    let mut random = Random::new(plan.seed ^ 0xd20b_bea2);
    let mut simulation = Simulation::new(sim::Plan {
        seed: plan.seed,
        replicas: plan.members,
        genesis_digest: market.digest.0,
        leader_timeout_ms: 500,
        link: plan.link,
        time_limit_ms: TIME_LIMIT_MS,
    });
    let mut totals = Totals { runs: 1, traitors: plan.treasons.iter().flatten().count() as u64, ..Totals::default() };
    for life in &plan.lives {
        let scenario = Scenario {
            plan: plan.clone(),
            life: life.clone(),
            history: history.clone(),
            disks: disks.clone(),
            nonces: Arc::clone(&nonces),
            random: random.fork(),
        };
        totals.fingerprints.push(simulation.run(|world| scenario.run(world)));
        // Everybody's power fails at the end of a life.
        disks.iter().for_each(|disk| disk.fail_power(|| random.percent(50)));
        totals.count(life);
    }
    invariant::check(&history);
    let seen = history.seen();
    totals.certificates = seen.certified.len() as u64;
    totals.blocks = seen.ledgers.iter().map(|(_, ledger)| ledger.len() as u64).max().unwrap_or(0);
    totals
}

impl Totals {
    fn count(&mut self, life: &Life) {
        for (_, accident) in &life.accidents {
            match accident {
                Accident::Kill { .. } => self.kills += 1,
                Accident::PowerFailure { .. } => self.power_failures += 1,
                Accident::DiskFull { .. } => self.full_disks += 1,
                Accident::Partition { .. } => self.partitions += 1,
                Accident::Weather(_) => {}
            }
        }
        self.simulated_s +=
            life.accidents.iter().map(|(pause_ms, accident)| pause_ms + accident.lasts_ms()).sum::<u64>() / 1000;
    }
}

impl Accident {
    pub(crate) const fn lasts_ms(&self) -> u64 {
        match self {
            Self::Kill { ms, .. }
            | Self::PowerFailure { ms, .. }
            | Self::DiskFull { ms, .. }
            | Self::Partition { ms, .. } => *ms,
            Self::Weather(_) => 0,
        }
    }
}

struct Scenario {
    plan: Plan,
    life: Life,
    history: History,
    disks: Vec<Disk>,
    nonces: Arc<AtomicU64>,
    random: Random,
}

impl Scenario {
    async fn run(mut self, world: World) {
        let random = self.random.fork();
        let mut committee = Committee::new(world, &self.plan, self.disks.clone(), self.history.clone(), random);
        committee.world.weather(self.plan.link).await;
        for member in 0..self.plan.members {
            committee.start(member).await;
        }
        let shared = self.ask(&committee);
        for (pause_ms, accident) in self.life.accidents.clone() {
            committee.world.sleep_ms(pause_ms).await;
            self.suffer(&mut committee, accident).await;
        }
        self.fall(&mut committee).await;
        self.heal(&mut committee).await;
        shared.stopping.store(true, Ordering::Relaxed);
        let healed_ms = committee.world.now_ms();
        while shared.working.load(Ordering::Relaxed) > 0 {
            let waited_ms = committee.world.now_ms() - healed_ms;
            assert!(waited_ms < HEALED_MS_MAX, "somebody got no answer {HEALED_MS_MAX} ms after everything was healed");
            committee.world.sleep_ms(100).await;
        }
        self.level(&committee).await;
        for member in 0..self.plan.members {
            committee.look(member);
        }
    }

    /// Owners and gateways begin.
    fn ask(&mut self, committee: &Committee) -> Arc<Shared> {
        let shared = Shared::new(committee.live.clone(), self.history.clone(), &self.plan, Arc::clone(&self.nonces));
        shared.working.store(usize::from(OWNERS) + self.plan.gateways, Ordering::Relaxed);
        for owner in 0..OWNERS {
            let machine = committee.world.machine(0);
            let client = Client::new(&shared, machine.clone(), self.random.fork());
            machine.spawn(client.owner(owner));
        }
        for gateway in 0..self.plan.gateways as u8 {
            let machine = committee.world.machine(0);
            let client = Client::new(&shared, machine.clone(), self.random.fork());
            machine.spawn(client.gateway(gateway));
        }
        shared
    }

    async fn suffer(&mut self, committee: &mut Committee, accident: Accident) {
        let ms = accident.lasts_ms();
        match accident {
            Accident::Kill { member, .. } => {
                committee.kill(member).await;
                committee.world.sleep_ms(ms).await;
                committee.start(member).await;
            }
            Accident::PowerFailure { member, .. } => {
                committee.fail_power(member).await;
                committee.world.sleep_ms(ms).await;
                committee.start(member).await;
            }
            Accident::DiskFull { member, .. } => {
                self.disks[member].set_full(true);
                committee.world.sleep_ms(ms).await;
                self.disks[member].set_full(false);
                // A coordinator that could not write has stopped; its operator makes room and starts it again.
                if committee.live.get(member).is_some_and(|coordinator| coordinator.fatal().is_some()) {
                    committee.kill(member).await;
                    committee.start(member).await;
                }
            }
            Accident::Partition { groups, .. } => {
                let groups: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
                committee.world.partition(&groups).await;
                committee.world.sleep_ms(ms).await;
                committee.world.heal().await;
            }
            Accident::Weather(link) => committee.world.weather(link).await,
        }
    }

    /// Members lose their disks, or get old copies of them.
    async fn fall(&mut self, committee: &mut Committee) {
        let treasons: Vec<_> = self.plan.treasons.iter().enumerate().filter_map(|(m, t)| Some((m, (*t)?))).collect();
        for (member, treason) in treasons {
            match treason {
                Treason::LoseDisk => committee.lose_disk(member).await,
                Treason::RollBack => {
                    let old = self.disks[member].copy();
                    committee.kill(member).await;
                    committee.start(member).await;
                    committee.world.sleep_ms(3_000).await;
                    // The ledger as it was; the votes as they are.
                    committee.kill(member).await;
                    old.kill();
                    committee.disks[member] = old;
                    committee.start(member).await;
                }
                _ => {}
            }
        }
    }

    async fn heal(&self, committee: &mut Committee) {
        committee.world.heal().await;
        committee.world.weather(CALM).await;
        for member in 0..self.plan.members {
            if committee.is_honest(member) && !committee.runs(member) {
                committee.start(member).await;
            }
        }
    }

    /// Waits until all honest ledgers are equally long.
    async fn level(&self, committee: &Committee) {
        let begun_ms = committee.world.now_ms();
        loop {
            let lengths: BTreeMap<_, _> = self
                .history
                .honest
                .iter()
                .map(|member| (*member, committee.live.get(*member).map(|coordinator| coordinator.last_seq())))
                .collect();
            let first = lengths.values().next().copied().flatten();
            if lengths.values().all(|length| *length == first) {
                return;
            }
            let waited_ms = committee.world.now_ms() - begun_ms;
            assert!(waited_ms < HEALED_MS_MAX, "honest ledgers stay of different lengths: {lengths:?}");
            committee.world.sleep_ms(100).await;
        }
    }
}
