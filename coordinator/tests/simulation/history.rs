//! What was seen of a run from outside, for the invariants to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dropbear_certificates::{Digest, Header};
use dropbear_consensus::StoredBlock;
use dropbear_consensus::state::Market;

/// An attestation that left a coordinator, with everything that it attests.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) member: usize,
    pub(crate) header: Header,
    pub(crate) leaves: Vec<Vec<u8>>,
}

/// A record that a gateway holds a certificate for.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    pub(crate) request: Digest,
    pub(crate) header: Header,
    pub(crate) leaf: Vec<u8>,
}

/// How a gateway's request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Certified,
    /// With a clear error.
    Refused,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) certified: Vec<Certified>,
    /// Requests that were submitted, and how they ended.
    pub(crate) requests: BTreeMap<Digest, Option<End>>,
    /// What honest members said of others: (who, of whom, what).
    pub(crate) blames: BTreeSet<(usize, usize, String)>,
    /// Honest members that came to follow without a vote, and why.
    pub(crate) demoted: BTreeMap<usize, String>,
    /// Ledgers of honest members, at the end and at their crashes.
    pub(crate) ledgers: Vec<(usize, Vec<StoredBlock>)>,
}

/// Everything about a run; clones share it.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) market: Arc<Market>,
    /// Members that are honest all the time.
    pub(crate) honest: Arc<BTreeSet<usize>>,
    seen: Arc<Mutex<Seen>>,
}

impl History {
    pub(crate) fn new(market: Arc<Market>, honest: BTreeSet<usize>) -> Self {
        Self { market, honest: Arc::new(honest), seen: Arc::default() }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What runs were made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) runs: u64,
    pub(crate) traitors: u64,
    pub(crate) kills: u64,
    pub(crate) power_failures: u64,
    pub(crate) full_disks: u64,
    pub(crate) partitions: u64,
    pub(crate) certificates: u64,
    pub(crate) blocks: u64,
    pub(crate) simulated_s: u64,
    pub(crate) fingerprints: Vec<String>,
}

impl Totals {
    pub(crate) fn add(&mut self, run: &Self) {
        self.runs += run.runs;
        self.traitors += run.traitors;
        self.kills += run.kills;
        self.power_failures += run.power_failures;
        self.full_disks += run.full_disks;
        self.partitions += run.partitions;
        self.certificates += run.certificates;
        self.blocks += run.blocks;
        self.simulated_s += run.simulated_s;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} s of simulated time: {} members broke the rules; {} kills, {} power failures, {} full disks, {} \
             partitions; {} blocks, {} certificates",
            self.runs,
            self.simulated_s,
            self.traitors,
            self.kills,
            self.power_failures,
            self.full_disks,
            self.partitions,
            self.blocks,
            self.certificates
        )
    }
}
