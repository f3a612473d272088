//! Whole committees on simulated clocks, networks and disks: one seed is one run, with its own faults and traitors.
//!
//! `DROPBEAR_SIM_SEEDS` is the number of seeds (8 if absent: debug builds are slow here), `DROPBEAR_SIM_FIRST` the first of them. A run that breaks an
//! invariant prints the command that repeats it.

mod committee;
mod directed;
mod gateway;
mod history;
mod invariant;
#[path = "../../../consensus/tests/market/mod.rs"]
#[allow(dead_code, reason = "a module of several test crates, each of which uses its own part")]
mod market;
mod offers;
mod plan;
mod random;
mod run;
mod traitor;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use history::Totals;

fn variable(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// Runs one seed in a thread's own simulation; prints how to repeat it if it fails.
fn seed(seed: u64) -> Option<Totals> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run::run(&plan::Plan::of(seed))));
    outcome.inspect_err(|_| println!("seed {seed} fails; repeat it with: just sim {seed}")).ok()
}

#[test]
fn no_seed_breaks_an_invariant() {
    let (first, count) = (variable("DROPBEAR_SIM_FIRST", 0), variable("DROPBEAR_SIM_SEEDS", 8));
    let (next, totals) = (AtomicU64::new(first), Mutex::new((Totals::default(), Vec::new())));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let chosen = next.fetch_add(1, Ordering::Relaxed);
                    if chosen >= first + count {
                        return;
                    }
                    let ended = seed(chosen);
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    match ended {
                        Some(run) => totals.0.add(&run),
                        None => totals.1.push(chosen),
                    }
                }
            });
        }
    });
    let (totals, failed) = totals.into_inner().unwrap();
    println!("{totals}; {} seeds failed", failed.len());
    assert!(failed.is_empty(), "seeds {failed:?} break an invariant");
    assert!(count < 10 || totals.certificates > count, "runs are of use only where something is certified");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let plan = plan::Plan::of(3);
    let (first, second) = (run::run(&plan), run::run(&plan));
    assert_eq!(first.fingerprints, second.fingerprints);
    assert_ne!(first.fingerprints, run::run(&plan::Plan::of(4)).fingerprints);
}
