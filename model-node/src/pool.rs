//! The threads that prepare inputs and run the model. They know no requests, keys or votes.
//!
//! Every input carries the handle on which its answer goes back. Whatever happens to a thread, a handle is either used
//! or dropped, so nobody waits in vain. A worker that hangs or dies is replaced alone ([`watchdog`]); its batch fails
//! alone.

mod decoder;
mod watchdog;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dropbear_wire::v1::Tensor;
use tokio::sync::oneshot;
use tracing::error;

use crate::batcher::{Batcher, Cancel, Limits, QueueFull, Step};
use crate::metrics::Metrics;
use crate::model::{Model, ModelError, Output, Unusable};

/// At most this many workers that hang are left behind; then the pool is stuck.
pub const HUNG_MAX: usize = 8;
/// A closing pool waits at most this long for a run of the model to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How many threads do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Threads that prepare inputs.
    pub decode: usize,
    /// Threads that run the model, each with its own session.
    pub workers: usize,
}

/// How long the model may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one run.
    pub infer: Duration,
    /// For loading.
    pub load: Duration,
}

/// What became of one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The model's output.
    Output(Output),
    /// The model can make nothing of the input.
    Unusable(Unusable),
    /// The model failed on this input, alone.
    Failed(ModelError),
    /// The model never came back from a run over this input and others: nobody knows which is to blame.
    Lost(ModelError),
}

/// One input's fate, and how long the run of the model took that decided it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What became of the input.
    pub fate: Fate,
    /// Microseconds in the model; zero if it did not run.
    pub compute_us: u64,
}

/// One input with the handle on which its answer goes back.
#[derive(Debug)]
pub struct Job<I> {
    /// The input.
    pub input: I,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answered>,
}

impl<I> Cancel for Job<I> {
    fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }
}

impl<I> Job<I> {
    fn answer(self, fate: Fate) {
        // Whoever asked may be gone.
        let _ = self.reply.send(Answered { fate, compute_us: 0 });
    }
}

/// Why inputs are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no room.
    #[error(transparent)]
    Full(#[from] QueueFull),
    /// Every worker hangs.
    #[error("{HUNG_MAX} workers hang in the model: restart the node, and look at the model")]
    Stuck,
}

/// A running pool. Dropping it drops what waits, and stops the threads; one whose model hangs is left behind.
pub struct Pool<M: Model> {
    shared: Arc<Shared<M>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<M: Model> {
    model: M,
    metrics: Metrics,
    workers: usize,
    timeouts: Timeouts,
    started: Instant,
    state: Mutex<State<M::Input>>,
    raw_ready: Condvar,
    batch_ready: Condvar,
    /// A thread ended, or the pool closes.
    ended: Condvar,
}

struct State<I> {
    batcher: Batcher<Job<Tensor>, Job<I>>,
    closing: bool,
    /// Decode threads that have not ended.
    decoding: usize,
    /// Workers that have neither ended nor been given up, by number, each with its place.
    live: BTreeMap<u64, usize>,
    /// Workers that were given up and have not ended.
    hung: BTreeSet<u64>,
    /// What live workers are doing.
    runs: BTreeMap<u64, Run>,
    next_worker: u64,
}

/// What a worker is doing, and who waits for it.
struct Run {
    since: Instant,
    limit: Duration,
    replies: Vec<oneshot::Sender<Answered>>,
}

impl<M: Model> Pool<M> {
    /// Starts the threads, and returns once every worker has loaded the model. Blocks.
    ///
    /// # Errors
    /// [`ModelError`] if a worker cannot load the model, or not in time.
    pub fn start(
        model: M,
        limits: Limits,
        threads: Threads,
        timeouts: Timeouts,
        metrics: Metrics,
    ) -> Result<Self, ModelError> {
        let state = State {
            batcher: Batcher::new(limits),
            closing: false,
            decoding: 0,
            live: BTreeMap::new(),
            hung: BTreeSet::new(),
            runs: BTreeMap::new(),
            next_worker: 0,
        };
        let shared = Arc::new(Shared {
            model,
            metrics,
            workers: threads.workers.max(1),
            timeouts,
            started: Instant::now(),
            state: Mutex::new(state),
            raw_ready: Condvar::new(),
            batch_ready: Condvar::new(),
            ended: Condvar::new(),
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for _ in 0..threads.decode.max(1) {
            pool.threads.push(decoder::spawn(&pool.shared).map_err(ModelError::new)?);
        }
        pool.load()?;
        let shared = Arc::clone(&pool.shared);
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || watchdog::watch(&shared));
        pool.threads.push(thread.map_err(ModelError::new)?);
        Ok(pool)
    }

    /// Starts the workers, and waits until each has loaded the model.
    fn load(&mut self) -> Result<(), ModelError> {
        let (loaded, loads) = mpsc::channel();
        for _ in 0..self.shared.workers {
            worker::spawn(&self.shared, Some(loaded.clone())).map_err(ModelError::new)?;
        }
        drop(loaded);
        let timeout = self.shared.timeouts.load;
        let due = Instant::now() + timeout;
        for _ in 0..self.shared.workers {
            match loads.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(result) => result?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(ModelError("the model panicked while it was loaded".into()));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.shared.lock().give_up_all();
                    return Err(ModelError(format!("the model did not load within {timeout:?}")));
                }
            }
        }
        Ok(())
    }

    /// What is served.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.shared.model
    }

    /// Whether any worker will ever run what is queued.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.shared.lock().is_stuck()
    }

    /// Queues all of `jobs`, or none.
    ///
    /// # Errors
    /// [`Refusal`] if they do not fit, or nobody would ever run them.
    pub fn admit(&self, jobs: Vec<Job<Tensor>>) -> Result<(), Refusal> {
        let alone = jobs.len() == 1;
        let mut state = self.shared.lock();
        if state.is_stuck() {
            return Err(Refusal::Stuck);
        }
        state.batcher.admit(jobs)?;
        drop(state);
        if alone {
            self.shared.raw_ready.notify_one();
        } else {
            self.shared.raw_ready.notify_all();
        }
        Ok(())
    }
}

impl<M: Model> Drop for Pool<M> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        state.batcher.clear();
        drop(state);
        self.shared.raw_ready.notify_all();
        self.shared.batch_ready.notify_all();
        self.shared.ended.notify_all();
        let working = |state: &mut State<M::Input>| state.decoding > 0 || !state.live.is_empty();
        let waited = self.shared.ended.wait_timeout_while(self.shared.lock(), END_TIMEOUT, working);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            error!("the model did not return within {END_TIMEOUT:?}; leaving its thread behind");
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the pool panicked");
            }
        }
    }
}

impl<I> State<I> {
    /// A new worker, in the first place that is free.
    fn enlist(&mut self) -> (u64, usize) {
        let id = self.next_worker;
        self.next_worker += 1;
        let taken: BTreeSet<usize> = self.live.values().copied().collect();
        let place = (0..).find(|place| !taken.contains(place)).unwrap_or_default();
        self.live.insert(id, place);
        (id, place)
    }

    fn is_stuck(&self) -> bool {
        self.live.is_empty() && self.hung.len() >= HUNG_MAX
    }

    fn give_up_all(&mut self) {
        self.hung.extend(std::mem::take(&mut self.live).into_keys());
        self.runs.clear();
    }
}

impl<M: Model> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, State<M::Input>> {
        // No invariant of the state spans a call that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        micros(self.started)
    }

    /// The next input to prepare; none when the pool closes.
    fn next_raw(&self) -> Option<Job<Tensor>> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            if let Some(job) = state.batcher.next_raw() {
                return Some(job);
            }
            // Cancelled inputs may have been dropped: a waiting worker has nothing to wait for.
            self.batch_ready.notify_one();
            state = self.raw_ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn prepared(&self, job: Option<Job<M::Input>>) {
        self.lock().batcher.prepared(self.now_us(), job);
        self.batch_ready.notify_one();
    }

    /// The next batch for an idle worker, which then has a run; none when the pool closes.
    fn next_batch(&self, worker: u64) -> Option<Vec<M::Input>> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let now_us = self.now_us();
            state = match state.batcher.step(now_us) {
                Step::Run(jobs) => {
                    let (inputs, replies) = jobs.into_iter().map(|job| (job.input, job.reply)).unzip();
                    state.runs.insert(worker, Run { since: Instant::now(), limit: self.timeouts.infer, replies });
                    return Some(inputs);
                }
                Step::Idle => self.batch_ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Step::WaitUntil(due_us) => {
                    let timeout = Duration::from_micros(due_us.saturating_sub(now_us));
                    self.batch_ready.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
