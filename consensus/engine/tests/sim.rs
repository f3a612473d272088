//! Four engines on a simulated clock, network and disk.

mod common;

use common::Toy;
use dropbear_engine::sim::{self, Fingerprint, Link, Plan, Simulation, World};
use dropbear_engine::{FaultKind, check_evidence};
use futures::future::join_all;

const GENESIS: [u8; 32] = [42; 32];

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        replicas: 4,
        genesis_digest: GENESIS,
        leader_timeout_ms: 1_000,
        link: Link { latency_ms: 10, jitter_ms: 5, loss_permille: 0 },
        time_limit_ms: 600_000,
    }
}

fn toys() -> Vec<Toy> {
    (0..4).map(|_| Toy::new(GENESIS)).collect()
}

async fn start_all(world: &mut World, toys: &[Toy]) {
    for (index, toy) in toys.iter().enumerate() {
        world.start(index, toy.clone()).await;
    }
}

/// Submits to all, waits for all.
async fn order(toys: &[Toy], entries: std::ops::Range<u64>) {
    for toy in toys {
        toy.submit(entries.clone());
    }
    join_all(toys.iter().map(|toy| toy.ordered(entries.clone()))).await;
}

fn assert_same_chain(toys: &[Toy]) {
    let chains: Vec<_> = toys.iter().map(Toy::digests).collect();
    let longest = chains.iter().max_by_key(|chain| chain.len()).unwrap();
    for chain in &chains {
        assert_eq!(chain[..], longest[..chain.len()]);
    }
}

fn busy_run(seed: u64, loss_permille: u64) -> (Fingerprint, Vec<[u8; 32]>) {
    let toys = toys();
    let mut plan = plan(seed);
    plan.link.loss_permille = loss_permille;
    let fingerprint = Simulation::new(plan).run(|mut world| {
        let toys = toys.clone();
        async move {
            start_all(&mut world, &toys).await;
            for step in 0..10 {
                order(&toys, step * 100..step * 100 + 50).await;
                world.sleep_ms(step * 37).await;
            }
        }
    });
    assert_same_chain(&toys);
    assert!(toys.iter().all(|toy| toy.state().faults.is_empty()));
    (fingerprint, toys[0].digests())
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (first, second, other) = (busy_run(1, 0), busy_run(1, 0), busy_run(2, 0));
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
}

#[test]
fn lost_messages_cost_time_and_nothing_else() {
    for seed in 0..3 {
        busy_run(seed, 50);
    }
}

#[test]
fn a_single_entry_becomes_final_without_any_further_ones() {
    // With a third of the messages lost, some block is notarized and its votes to finalize are not enough.
    for seed in 0..12 {
        let toys = toys();
        let mut plan = plan(seed);
        plan.link.loss_permille = 300;
        Simulation::new(plan).run(|mut world| {
            let toys = toys.clone();
            async move {
                start_all(&mut world, &toys).await;
                order(&toys, 0..1).await;
            }
        });
    }
}

#[test]
fn an_idle_committee_passes_turns_and_orders_at_once_when_asked() {
    let toys = toys();
    Simulation::new(plan(3)).run(|mut world| {
        let toys = toys.clone();
        async move {
            start_all(&mut world, &toys).await;
            world.sleep_ms(60_000).await;
            let status = world.status(0);
            assert_eq!((status.views_finalized, toys[0].height()), (0, 0));
            let turns = status.views_nullified;
            assert!((55..=67).contains(&turns), "one idle turn in about 920 ms: {turns} in a minute");
            // At whatever moment of a turn: no timeout is on the way of an entry.
            for entry in 0..40 {
                world.sleep_ms(1_009 + entry * 7).await;
                let begin = world.now_ms();
                order(&toys, entry..entry + 1).await;
                let took = world.now_ms() - begin;
                assert!(took < 200, "entry {entry} took {took} ms at 10 ms a hop");
            }
        }
    });
}

#[test]
fn a_dead_leader_is_passed_over_even_after_long_idleness() {
    let toys = toys();
    Simulation::new(plan(4)).run(|mut world| {
        let toys = toys.clone();
        async move {
            start_all(&mut world, &toys).await;
            order(&toys, 0..10).await;
            world.crash(1).await;
            world.sleep_ms(300_000).await;
            let alive = [&toys[0], &toys[2], &toys[3]].map(Clone::clone);
            for entry in 100..140 {
                let begin = world.now_ms();
                order(&alive, entry..entry + 1).await;
                let took = world.now_ms() - begin;
                assert!(took < 300, "entry {entry} took {took} ms with one of four dead");
                world.sleep_ms(entry * 11).await;
            }
            world.start(1, toys[1].clone()).await;
            toys[1].ordered(100..140).await;
        }
    });
    assert_same_chain(&toys);
}

#[test]
fn a_cut_off_minority_orders_nothing_and_catches_up_when_healed() {
    let toys = toys();
    Simulation::new(plan(5)).run(|mut world| {
        let toys = toys.clone();
        async move {
            start_all(&mut world, &toys).await;
            order(&toys, 0..10).await;
            world.partition(&[&[0, 1, 2]]).await;
            let height = toys[3].height();
            toys[3].submit([999]);
            order(&toys[..3], 100..1_500).await;
            world.sleep_ms(20_000).await;
            assert_eq!(toys[3].height(), height);

            world.partition(&[&[0, 1], &[2, 3]]).await;
            let heights: Vec<_> = toys.iter().map(Toy::height).collect();
            for toy in &toys {
                toy.submit([7_777]);
            }
            world.sleep_ms(30_000).await;
            let after: Vec<_> = toys.iter().map(Toy::height).collect();
            // What was final before the cut may still arrive; halves make nothing new.
            assert!(after.iter().max() <= heights.iter().max());

            world.heal().await;
            join_all(toys.iter().map(|toy| toy.ordered([999, 7_777]))).await;
        }
    });
    assert_same_chain(&toys);
}

#[test]
fn after_a_power_failure_everybody_continues_the_same_chain() {
    let toys = toys();
    let mut simulation = Simulation::new(plan(6));
    for life in 0..4 {
        simulation.run(|mut world| {
            let toys = toys.clone();
            async move {
                start_all(&mut world, &toys).await;
                order(&toys, life * 100..life * 100 + 50).await;
                // The power fails in the middle of further work.
                for toy in &toys {
                    toy.submit(life * 100 + 50..life * 100 + 99);
                }
                toys[0].ordered([life * 100 + 60]).await;
            }
        });
        assert_same_chain(&toys);
    }
    assert!(toys.iter().all(|toy| toy.state().faults.is_empty()));
}

#[test]
fn a_proposal_that_everybody_refuses_is_not_ordered() {
    let toys = toys();
    Simulation::new(plan(7)).run(|mut world| {
        let toys = toys.clone();
        async move {
            for toy in &toys[1..] {
                toy.change(|state| state.refuses = true);
            }
            start_all(&mut world, &toys).await;
            toys[0].submit([5]);
            world.sleep_ms(30_000).await;
            assert_eq!(toys[0].height(), 0);
            for toy in &toys {
                toy.change(|state| state.refuses = false);
            }
            toys[0].ordered([5]).await;
        }
    });
}

#[test]
fn whoever_votes_twice_is_convicted_by_the_votes_alone() {
    let toys = toys();
    Simulation::new(plan(8)).run(|mut world| {
        let toys = toys.clone();
        async move {
            for (index, toy) in toys.iter().enumerate().skip(1) {
                world.start(index, toy.clone()).await;
            }
            world.contradict(0).await;
            for toy in &toys[1..] {
                toy.until(|state| (!state.faults.is_empty()).then_some(())).await;
            }
            order(&toys[1..], 0..10).await;
        }
    });
    let fault = toys[1].state().faults[0].clone();
    assert_eq!((fault.culprit, fault.kind, fault.view), (0, FaultKind::ConflictingNotarize, 1));
    let keys = sim::keys(4);
    let check = |namespace, keys: &[_], evidence| check_evidence(namespace, keys, evidence).unwrap();
    assert_eq!(check(sim::NAMESPACE, &keys, fault.evidence.clone()), Some(fault.clone()));
    assert_eq!(check(b"another", &keys, fault.evidence.clone()), None);
    let mut tampered = fault.evidence.to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(check(sim::NAMESPACE, &keys, tampered.into()), None);
}
