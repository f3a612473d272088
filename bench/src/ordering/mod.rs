//! What ordering costs alone: how many certified results a second a committee of coordinators makes of signed ballots
//! that are ready, and how much CPU each result takes of it.
//!
//! Gateways submit as real ones do: an entry to f + 1 coordinators, the wait for it to the others, one of them asked for
//! the leaves. A result counts as certified when q attestations over the header that holds it have come and their
//! signatures hold; of every submission one record is made a certificate, and verified. Submissions are made before the
//! time that counts, so that no signing of theirs is in it: what the generator uses besides is printed, not charged.

mod gateway;
mod report;
mod usage;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dropbear_certificates::{Digest, TrustRoot};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use report::Report;

use crate::flame::{self, FlameError};
use crate::load::LoadError;
use crate::process::Process;
use gateway::Gateway;
use report::Round;
use usage::{Usage, own_cpu_s};

/// The load lasts so long before anything counts, of the time that counts.
const RAMP: u32 = 4;

/// Why a run is worthless.
#[derive(Debug, thiserror::Error)]
pub enum OrderingError {
    /// A coordinator's metrics cannot be read.
    #[error(transparent)]
    Scrape(#[from] LoadError),
    /// A coordinator did not do what it was asked.
    #[error("{0} failed: {1}")]
    Coordinator(String, String),
    /// A submission ended without a certified record of each of its requests.
    #[error("a submission was not certified whole: {0}")]
    Uncertified(String),
    /// A certificate does not verify.
    #[error("a certificate does not verify: {0}")]
    Certificate(#[from] dropbear_certificates::Refusal),
    /// A task panicked.
    #[error("a part of the load generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Nothing was certified in the time that counts.
    #[error("too few submissions to tell how many there are: measure for longer")]
    Short,
    /// A data folder cannot be read.
    #[error("cannot read {0}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// No stacks.
    #[error(transparent)]
    Flame(#[from] FlameError),
}

/// A submission that is ready to go.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The entry's encoding.
    pub entry: Bytes,
    /// The entry's name.
    pub digest: Digest,
    /// The ids of its requests, in order.
    pub requests: Vec<Digest>,
}

/// Makes submissions of so many requests together, at least. Called on a thread that may block.
pub type Supply = Arc<dyn Fn(usize) -> Vec<Prepared> + Send + Sync>;

/// One coordinator.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its process.
    pub process: Process,
    /// Where it takes entries.
    pub address: SocketAddr,
    /// Its metrics.
    pub metrics: String,
    /// Its ledger and its engine's journals.
    pub data_dir: PathBuf,
}

/// What to measure.
#[derive(Clone)]
pub struct Plan {
    /// Against which certificates are verified; its committee is the members.
    pub trust: TrustRoot,
    /// By place in the committee.
    pub members: Vec<Member>,
    /// Makes what is submitted.
    pub supply: Supply,
    /// Requests that are made for each second of a round: where it does not suffice, a round ends early.
    pub supply_per_s: usize,
    /// Requests in a submission.
    pub batch: usize,
    /// Gateways, each with connections of its own.
    pub gateways: usize,
    /// Submissions that each gateway has under way at once.
    pub in_flight: usize,
    /// How long submissions may wait for others to share their block.
    pub patience: Duration,
    /// Rounds.
    pub rounds: usize,
    /// Length of one round, without its ramp.
    pub duration: Duration,
    /// One more round, which does not count, samples the first coordinator's stacks into this file.
    pub flame: Option<PathBuf>,
}

/// A submission that is certified.
#[derive(Clone, Copy, Debug)]
struct Certified {
    at: Instant,
    latency: Duration,
    results: usize,
}

/// Runs the plan.
///
/// # Errors
/// [`OrderingError`] at the first submission that is not certified whole.
pub async fn measure(plan: &Plan) -> Result<Report, OrderingError> {
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(round(plan).await?);
    }
    if let Some(file) = &plan.flame {
        let lasting = plan.duration / RAMP + plan.duration;
        let recording = flame::record(plan.members[0].process.pid, lasting, file);
        let (recorded, _) = tokio::join!(recording, round(plan));
        recorded?;
    }
    Ok(Report::of(plan, rounds))
}

async fn round(plan: &Plan) -> Result<Round, OrderingError> {
    let ramp = plan.duration / RAMP;
    let (stock, signing_cpu_s) = stock(plan, ramp + plan.duration).await?;
    let made: usize = stock.iter().map(|prepared| prepared.requests.len()).sum();
    let load = Load::start(plan, stock);
    let counted = async {
        load.runs_for(ramp).await;
        let before = Usage::take(plan).await?;
        load.runs_for(plan.duration).await;
        let after = Usage::take(plan).await?;
        Ok::<_, OrderingError>((before, after))
    };
    let counted = counted.await;
    let certified = load.end().await?;
    let (before, after) = counted?;
    Round::of(&certified, &before, &after, signing_cpu_s / f64::max(made as f64, 1.0)).ok_or(OrderingError::Short)
}

/// Submissions for so long, and the CPU seconds that making them took.
async fn stock(plan: &Plan, lasting: Duration) -> Result<(VecDeque<Prepared>, f64), OrderingError> {
    let wanted = (plan.supply_per_s as f64 * lasting.as_secs_f64()) as usize;
    let (supply, before) = (Arc::clone(&plan.supply), own_cpu_s());
    let made = tokio::task::spawn_blocking(move || supply(wanted)).await?;
    Ok((made.into(), own_cpu_s() - before))
}

/// Gateways at work.
struct Load {
    workers: JoinSet<Result<Vec<Certified>, OrderingError>>,
    /// Turns true when nobody is to begin another submission: it is over, a worker failed or the stock is gone.
    ending: watch::Sender<bool>,
}

impl Load {
    fn start(plan: &Plan, stock: VecDeque<Prepared>) -> Self {
        let (ending, stock) = (watch::Sender::new(false), Arc::new(Mutex::new(stock)));
        let mut workers = JoinSet::new();
        for _ in 0..plan.gateways {
            let gateway = Arc::new(Gateway::new(plan));
            for _ in 0..plan.in_flight {
                workers.spawn(work(Arc::clone(&gateway), Arc::clone(&stock), ending.clone()));
            }
        }
        Self { workers, ending }
    }

    /// Waits, but not beyond the load's own end.
    async fn runs_for(&self, duration: Duration) {
        let mut ending = self.ending.subscribe();
        // Both ways it is time to look.
        let _ = tokio::time::timeout(duration, ending.wait_for(|ending| *ending)).await;
    }

    /// Lets everything that is under way end.
    async fn end(mut self) -> Result<Vec<Certified>, OrderingError> {
        self.ending.send_replace(true);
        let mut certified = Vec::new();
        while let Some(worker) = self.workers.join_next().await {
            certified.extend(worker??);
        }
        Ok(certified)
    }
}

/// Submits one after the other.
async fn work(
    gateway: Arc<Gateway>,
    stock: Arc<Mutex<VecDeque<Prepared>>>,
    ending: watch::Sender<bool>,
) -> Result<Vec<Certified>, OrderingError> {
    let mut certified = Vec::new();
    while !*ending.borrow() {
        let next = stock.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(prepared) = next else { break };
        let begun = Instant::now();
        match gateway.certify(&prepared).await {
            Ok(results) => certified.push(Certified { at: Instant::now(), latency: begun.elapsed(), results }),
            Err(error) => {
                ending.send_replace(true);
                return Err(error);
            }
        }
    }
    ending.send_replace(true);
    Ok(certified)
}
