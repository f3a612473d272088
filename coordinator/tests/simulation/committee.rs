//! The members of a simulated committee, through their lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dropbear_coordinator::sim::{Coordinator, Disk};
use dropbear_engine::Ordering;
use dropbear_engine::sim::World;

use crate::history::History;
use crate::market;
use crate::plan::{Plan, Treason};
use crate::random::Random;
use crate::traitor::Censor;

/// The coordinators that run now, by place; clones share them. Gateways ask these.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<Mutex<Vec<Option<Coordinator>>>>);

impl Live {
    fn all(&self) -> MutexGuard<'_, Vec<Option<Coordinator>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, member: usize) -> Option<Coordinator> {
        self.all().get(member).cloned().flatten()
    }
}

/// All members, their disks and machines.
pub(crate) struct Committee {
    pub(crate) world: World,
    pub(crate) live: Live,
    pub(crate) disks: Vec<Disk>,
    history: History,
    plan: Plan,
    /// Engines hold their owners weakly.
    relays: Vec<Option<Arc<dyn Ordering>>>,
    random: Random,
}

impl Committee {
    pub(crate) fn new(world: World, plan: &Plan, disks: Vec<Disk>, history: History, random: Random) -> Self {
        let live = Live::default();
        live.all().resize(plan.members, None);
        let relays = (0..plan.members).map(|_| None).collect();
        Self { world, live, disks, history, plan: plan.clone(), relays, random }
    }

    pub(crate) fn is_honest(&self, member: usize) -> bool {
        self.history.honest.contains(&member)
    }

    /// Opens a member's ledger, as a process does at its start.
    fn open(&self, member: usize, disk: &Disk) -> Coordinator {
        let machine = self.world.machine(self.plan.clocks_ahead_ms[member]);
        let key = market::key(2, member as u8);
        let opened = Coordinator::open(Arc::clone(&self.history.market), key, machine, disk);
        opened.unwrap_or_else(|error| panic!("member {member} cannot start: {error}"))
    }

    pub(crate) async fn start(&mut self, member: usize) {
        match self.plan.treasons[member] {
            Some(Treason::Silent) => return,
            Some(Treason::Garbage) => return self.world.garbage(member).await,
            Some(Treason::Replay) => return self.world.replay(member).await,
            Some(Treason::Equivocate) => return self.world.equivocate(member).await,
            Some(Treason::Twins) => return self.twins(member).await,
            None | Some(Treason::AttestTwice | Treason::Censor | Treason::LoseDisk | Treason::RollBack) => {}
        }
        let coordinator = self.open(member, &self.disks[member].clone());
        let relay = match self.plan.treasons[member] {
            Some(Treason::Censor) => self.world.start(member, Censor(coordinator.replica())).await,
            _ => self.world.start(member, coordinator.replica()).await,
        };
        let relay: Arc<dyn Ordering> = Arc::new(relay);
        coordinator.connect(&relay);
        self.relays[member] = Some(relay);
        self.live.all()[member] = Some(coordinator);
    }

    async fn twins(&mut self, member: usize) {
        let mut others: Vec<_> = (0..self.plan.members).filter(|other| *other != member).collect();
        self.random.shuffle(&mut others);
        let twins = [Disk::default(), Disk::default()].map(|disk| self.open(member, &disk));
        let half = &others[..others.len() / 2];
        let relays = self.world.twins(member, [twins[0].replica(), twins[1].replica()], half).await;
        for (twin, relay) in twins.iter().zip(relays) {
            let relay: Arc<dyn Ordering> = Arc::new(relay);
            twin.connect(&relay);
            self.relays.push(Some(relay));
        }
        let seen = self.random.index(2);
        let [first, second] = twins;
        self.live.all()[member] = Some(if seen == 0 { first } else { second });
    }

    /// Whether the member runs an engine of its own.
    pub(crate) fn runs(&self, member: usize) -> bool {
        self.world.is_running(member)
    }

    /// The process is gone. Its disk stays as it wrote it.
    pub(crate) async fn kill(&mut self, member: usize) {
        self.end(member).await;
        self.disks[member].kill();
    }

    /// The power is gone: of what was not synced, some is lost.
    pub(crate) async fn fail_power(&mut self, member: usize) {
        self.end(member).await;
        let random = &mut self.random;
        self.disks[member].fail_power(|| random.percent(50));
    }

    async fn end(&mut self, member: usize) {
        self.look(member);
        self.world.crash(member).await;
        let ended = self.live.all()[member].take();
        if let Some(coordinator) = ended {
            coordinator.stop();
        }
        self.relays[member] = None;
    }

    pub(crate) async fn lose_disk(&mut self, member: usize) {
        self.kill(member).await;
        self.world.lose_disk(member);
        self.disks[member] = Disk::default();
        self.start(member).await;
    }

    /// Notes what can be seen of an honest member before it goes.
    pub(crate) fn look(&self, member: usize) {
        let Some(coordinator) = self.live.get(member).filter(|_| self.is_honest(member)) else { return };
        // A full disk still reads.
        let ledger = coordinator.ledger().unwrap_or_else(|error| panic!("member {member}: {error}"));
        let mut seen = self.history.seen();
        seen.ledgers.push((member, ledger));
        for fault in coordinator.faults() {
            let blamed = fault.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("faults name a member");
            seen.blames.insert((member, blamed, fault));
        }
        if let Some(why) = coordinator.follows() {
            seen.demoted.insert(member, why);
        }
    }
}
