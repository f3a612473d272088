//! Faults one at a time, with what must be said of each.

use std::sync::Arc;

use bytes::Bytes;
use dropbear_consensus::Entry;
use dropbear_coordinator::sim::{Answer, Attested, Coordinator, Disk};
use dropbear_engine::sim::{self, Simulation, World};
use futures_util::future::join_all;

use crate::committee::Committee;
use crate::history::History;
use crate::market;
use crate::offers::{self, OWNERS, Offers};
use crate::plan::{CALM, Plan, Treason};
use crate::random::Random;

/// Far longer than anything here takes.
const PATIENCE_MS: u64 = 60_000;
const LEADER_TIMEOUT_MS: u64 = 500;

/// A committee, and what owners and a gateway send to it.
struct Scene {
    committee: Committee,
    offers: Offers,
    serial: u64,
}

impl Scene {
    /// Everybody runs, and every owner has a version in force.
    async fn begin(world: World, plan: &Plan, disks: &[Disk]) -> Self {
        let market = offers::open(plan.members, 1);
        let honest = (0..plan.members).filter(|member| plan.treasons[*member].is_none()).collect();
        let history = History::new(Arc::clone(&market), honest);
        let committee = Committee::new(world, plan, disks.to_vec(), history, Random::new(plan.seed));
        let mut scene = Self { committee, offers: Offers { market }, serial: 0 };
        for member in 0..plan.members {
            scene.committee.start(member).await;
        }
        for owner in 0..OWNERS {
            let serial = scene.next();
            for entry in [
                scene.offers.register(owner, serial),
                scene.offers.publish(owner, 1, serial + 1),
                scene.offers.activate(owner, 1, serial + 2),
            ] {
                scene.order(&entry, &[0]).await;
            }
        }
        scene
    }

    /// Everybody runs again, on what their disks hold.
    async fn resume(world: World, plan: &Plan, disks: &[Disk], life: u64) -> Self {
        let market = offers::open(plan.members, 1);
        let history = History::new(Arc::clone(&market), (0..plan.members).collect());
        let committee = Committee::new(world, plan, disks.to_vec(), history, Random::new(plan.seed));
        let mut scene = Self { committee, offers: Offers { market }, serial: 1_000_000 * life };
        for member in 0..plan.members {
            scene.committee.start(member).await;
        }
        scene
    }

    fn next(&mut self) -> u64 {
        self.serial += 10;
        self.serial
    }

    fn member(&self, member: usize) -> Coordinator {
        self.committee.live.get(member).expect("it runs")
    }

    /// A request on which three owners agree.
    fn submission(&mut self) -> Entry {
        let nonce = self.next();
        let expiry_ms = self.offers.market.genesis.created_ms + self.committee.world.now_ms() + 50_000;
        let requests = vec![self.offers.request(0, nonce, expiry_ms)];
        let ballots = (0..3).map(|owner| self.offers.ballot(owner, 1, &requests, 7)).collect();
        self.offers.submission(0, requests, ballots)
    }

    /// Submits an entry to these members, and waits until each has it in its ledger.
    async fn order(&self, entry: &Entry, members: &[usize]) -> Vec<Attested> {
        let bytes = Bytes::from(entry.to_bytes());
        let asked = members.iter().map(|member| {
            let (coordinator, bytes) = (self.member(*member), bytes.clone());
            async move {
                match coordinator.submit(bytes, 0, PATIENCE_MS).await {
                    Answer::Applied(block) => *block,
                    other => panic!("not ordered: {other:?}"),
                }
            }
        });
        join_all(asked).await
    }

    /// Waits until a member's ledger is as long as another's.
    async fn level(&self, member: usize, with: usize) {
        let begun_ms = self.committee.world.now_ms();
        while self.member(member).last_seq() < self.member(with).last_seq() {
            assert!(self.committee.world.now_ms() - begun_ms < PATIENCE_MS, "member {member} does not catch up");
            self.committee.world.sleep_ms(50).await;
        }
    }
}

fn plan(seed: u64, treasons: &[(usize, Treason)]) -> Plan {
    let mut plan = Plan::of(seed);
    plan.members = 4;
    plan.link = CALM;
    plan.treasons = vec![None; 4];
    plan.clocks_ahead_ms = vec![0; 4];
    for (member, treason) in treasons {
        plan.treasons[*member] = Some(*treason);
    }
    plan
}

fn simulation(plan: &Plan) -> Simulation {
    Simulation::new(sim::Plan {
        seed: plan.seed,
        replicas: plan.members,
        genesis_digest: offers::open(plan.members, 1).digest.0,
        leader_timeout_ms: LEADER_TIMEOUT_MS,
        link: plan.link,
        time_limit_ms: 3_600_000,
    })
}

fn disks() -> Vec<Disk> {
    (0..4).map(|_| Disk::default()).collect()
}

#[test]
fn an_empty_disk_catches_up_and_follows_without_a_vote_for_good() {
    let plan = plan(1, &[(3, Treason::LoseDisk)]);
    simulation(&plan).run(|world| async move {
        let mut scene = Scene::begin(world, &plan, &disks()).await;
        for _ in 0..30 {
            let entry = scene.submission();
            scene.order(&entry, &[0, 1, 2, 3]).await;
        }
        scene.committee.lose_disk(3).await;
        scene.level(3, 0).await;
        let why = scene.member(3).follows().expect("it has forgotten what it signed");
        assert!(why.contains("shows our signature"), "{why}");
        let entry = scene.submission();
        let blocks = scene.order(&entry, &[0, 1, 2, 3]).await;
        let signed: Vec<_> = blocks.iter().map(|block| block.signature.is_some()).collect();
        assert_eq!(signed, [true, true, true, false]);
        assert!(scene.member(3).ledger().unwrap().iter().all(|block| block.attestation.is_none()));

        // What it found out, it does not forget again.
        scene.committee.kill(3).await;
        scene.committee.start(3).await;
        let entry = scene.submission();
        let blocks = scene.order(&entry, &[0, 3]).await;
        assert_eq!((blocks[1].signature, &blocks[1].header), (None, &blocks[0].header));
    });
}

#[test]
fn a_ledger_from_an_old_copy_is_found_out() {
    let plan = plan(2, &[(3, Treason::RollBack)]);
    simulation(&plan).run(|world| async move {
        let mut scene = Scene::begin(world, &plan, &disks()).await;
        let old = scene.committee.disks[3].copy();
        let entry = scene.submission();
        scene.order(&entry, &[0, 1, 2, 3]).await;
        scene.committee.kill(3).await;
        old.kill();
        scene.committee.disks[3] = old;
        scene.committee.start(3).await;
        let entry = scene.submission();
        let blocks = scene.order(&entry, &[0, 3]).await;
        assert!(blocks[1].signature.is_none() && scene.member(3).follows().is_some());
    });
}

#[test]
fn whoever_comes_back_with_their_disk_votes_again() {
    let plan = plan(3, &[]);
    let (mut simulation, all_disks) = (simulation(&plan), disks());
    for life in 0..3 {
        let (plan, disks) = (plan.clone(), all_disks.clone());
        simulation.run(|world| async move {
            let mut scene = match life {
                0 => Scene::begin(world, &plan, &disks).await,
                _ => Scene::resume(world, &plan, &disks, life).await,
            };
            for member in 0..4 {
                scene.committee.fail_power(member).await;
                scene.committee.start(member).await;
                let entry = scene.submission();
                let blocks = scene.order(&entry, &[0, 1, 2, 3]).await;
                assert!(blocks.iter().all(|block| block.signature.is_some()), "all of them attest");
            }
        });
        all_disks.iter().for_each(|disk| disk.fail_power(|| false));
    }
}

#[test]
fn nothing_starts_on_a_ledger_that_rotted() {
    let plan = plan(4, &[]);
    let disks = disks();
    simulation(&plan).run(|world| {
        let disks = disks.clone();
        async move {
            let mut scene = Scene::begin(world, &plan, &disks).await;
            let entry = scene.submission();
            let block = scene.order(&entry, &[0]).await.remove(0);
            // Of a block at the end a crash might have lost the rest.
            for _ in 0..5 {
                let entry = scene.submission();
                scene.order(&entry, &[0]).await;
            }
            scene.committee.kill(0).await;
            let leaf = block.leaves.last().expect("it has leaves");
            let places = disks[0].find(leaf);
            assert!(!places.is_empty(), "the leaf is on the disk");
            places.iter().for_each(|place| disks[0].rot(place + leaf.len() / 2));
            let (market, machine) = (Arc::clone(&scene.offers.market), scene.committee.world.machine(0));
            let Err(error) = Coordinator::open(market, market::key(2, 0), machine, &disks[0]) else {
                panic!("it starts on a damaged ledger");
            };
            let text = error.to_string();
            assert!(text.contains("move the data directory aside"), "it says what to do: {text}");
        }
    });
}

#[test]
fn a_full_disk_stops_its_coordinator_and_contradicts_nothing() {
    let plan = plan(5, &[]);
    let disks = disks();
    simulation(&plan).run(|world| {
        let disks = disks.clone();
        async move {
            let mut scene = Scene::begin(world, &plan, &disks).await;
            disks[2].set_full(true);
            let entry = scene.submission();
            scene.order(&entry, &[0, 1, 3]).await;
            scene.committee.world.sleep_ms(1_000).await;
            let why = scene.member(2).fatal().expect("it cannot go on");
            assert!(why.contains("cannot be read or written"), "{why}");
            disks[2].set_full(false);
            scene.committee.kill(2).await;
            scene.committee.start(2).await;
            let entry = scene.submission();
            let blocks = scene.order(&entry, &[0, 1, 2, 3]).await;
            assert!(blocks.iter().all(|block| block.header == blocks[0].header && block.signature.is_some()));
        }
    });
}

#[test]
fn an_entry_waits_for_an_honest_leader_and_no_longer() {
    // With a leader that proposes nothing, and one that is not there.
    for treason in [Treason::Censor, Treason::Silent] {
        let plan = plan(6, &[(1, treason)]);
        simulation(&plan).run(|world| async move {
            let mut scene = Scene::begin(world, &plan, &disks()).await;
            for pause_ms in 0..40 {
                scene.committee.world.sleep_ms(37 * pause_ms).await;
                let begun_ms = scene.committee.world.now_ms();
                let entry = scene.submission();
                scene.order(&entry, &[0, 2, 3]).await;
                let took_ms = scene.committee.world.now_ms() - begun_ms;
                // Views of the one that does not propose end by a timeout; its peers' follow at once.
                assert!(took_ms < 2 * LEADER_TIMEOUT_MS, "{treason:?}: {took_ms} ms");
            }
        });
    }
}

#[test]
fn a_member_that_attests_twice_is_named_by_all_others() {
    let plan = plan(7, &[(3, Treason::AttestTwice)]);
    simulation(&plan).run(|world| async move {
        let mut scene = Scene::begin(world, &plan, &disks()).await;
        let entry = scene.submission();
        let block = scene.order(&entry, &[0, 1, 2, 3]).await.remove(3);
        let header = dropbear_certificates::Header { agreed_ms: block.header.agreed_ms + 1, ..block.header };
        let seq = header.seq;
        scene.member(3).relay(Coordinator::attestation(header, &market::key(2, 3)));
        scene.committee.world.sleep_ms(500).await;
        for member in 0..3 {
            let faults = scene.member(member).faults();
            assert_eq!(faults, [format!("member 3 attested another header at seq {seq}")], "at member {member}");
        }
    });
}

/// How long a certificate takes between continents, in round trips: printed, for `README.md`.
#[test]
fn a_certificate_between_three_sites() {
    // One way, in milliseconds, between the sites of members 0 and 1, of 2, and of 3.
    let distance = |a: usize, b: usize| match (a.min(b), a.max(b)) {
        (0, 1) => 1,
        (0 | 1, 2) => 10,
        (0 | 1, 3) => 40,
        _ => 80,
    };
    let plan = plan(8, &[]);
    simulation(&plan).run(|world| async move {
        let mut scene = Scene::begin(world, &plan, &disks()).await;
        scene.committee.world.distances(distance).await;
        let mut took_ms: Vec<u64> = Vec::new();
        for pause_ms in 0..60 {
            scene.committee.world.sleep_ms(700 + 13 * pause_ms).await;
            let begun_ms = scene.committee.world.now_ms();
            let entry = scene.submission();
            // The gateway is at the first site and needs three attestations: of both there, and of the nearest other.
            scene.order(&entry, &[0, 1, 2]).await;
            took_ms.push(scene.committee.world.now_ms() - begun_ms + distance(0, 2));
        }
        took_ms.sort_unstable();
        let round_trip_ms = 2 * distance(0, 2);
        let (median, most) = (took_ms[took_ms.len() / 2], took_ms[took_ms.len() - 1]);
        println!(
            "three sites, a quorum within {round_trip_ms} ms of round trip: a certificate takes {median} ms (median), \
             {most} ms (most), which is {:.1} round trips at the median",
            median as f64 / round_trip_ms as f64
        );
        assert!(median < 2 * LEADER_TIMEOUT_MS, "no timeout is on the way");
    });
}
