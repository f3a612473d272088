//! The threads that prepare inputs and run the model. They know no requests, keys or votes.
//!
//! Every input carries the handle on which its answer goes back. Whatever happens to a thread, a handle is either used
//! or dropped, so nobody waits in vain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dropbear_wire::v1::Tensor;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::batcher::{Batcher, Cancel, Limits, QueueFull, Step};
use crate::metrics::{self, Metrics};
use crate::model::{Model, ModelError, Output, Unusable};

/// A worker loads its model anew after this many failures in a row.
const FAILURES_MAX: u32 = 8;
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

/// What became of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The model's output.
    Output(Output),
    /// The model can make nothing of the input.
    Unusable(Unusable),
    /// The model failed on this input, alone.
    Failed(ModelError),
}

/// One input's fate, and how long the run of the model took that decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A running pool. Dropping it drops what waits, and stops the threads; one whose model hangs is left behind.
pub struct Pool<M: Model> {
    shared: Arc<Shared<M>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<M: Model> {
    model: M,
    metrics: Metrics,
    started: Instant,
    state: Mutex<State<M::Input>>,
    raw_ready: Condvar,
    batch_ready: Condvar,
    ended: Condvar,
}

struct State<I> {
    batcher: Batcher<Job<Tensor>, Job<I>>,
    closing: bool,
    /// Threads that have not ended.
    running: usize,
}

/// Counts one thread until it ends, however it ends.
struct Running<M: Model>(Arc<Shared<M>>);

impl<M: Model> Running<M> {
    fn new(shared: &Arc<Shared<M>>) -> Self {
        shared.lock().running += 1;
        Self(Arc::clone(shared))
    }
}

impl<M: Model> Drop for Running<M> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_all();
    }
}

impl<M: Model> Pool<M> {
    /// Starts the threads, and returns once every worker has loaded the model. Blocks.
    ///
    /// # Errors
    /// [`ModelError`] if a worker cannot load the model.
    pub fn start(model: M, limits: Limits, threads: Threads, metrics: Metrics) -> Result<Self, ModelError> {
        let shared = Arc::new(Shared {
            model,
            metrics,
            started: Instant::now(),
            state: Mutex::new(State { batcher: Batcher::new(limits), closing: false, running: 0 }),
            raw_ready: Condvar::new(),
            batch_ready: Condvar::new(),
            ended: Condvar::new(),
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for _ in 0..threads.decode.max(1) {
            pool.spawn("decode", |shared| decode(&shared))?;
        }
        let (loaded, loads) = mpsc::channel();
        for _ in 0..threads.workers.max(1) {
            let loaded = loaded.clone();
            pool.spawn("worker", move |shared| work(&shared, &loaded))?;
        }
        drop(loaded);
        let results: Vec<_> = loads.iter().take(threads.workers.max(1)).collect();
        if results.len() < threads.workers.max(1) {
            return Err(ModelError("the model panicked while it was loaded".into()));
        }
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(pool)
    }

    fn spawn(&mut self, role: &str, run: impl FnOnce(Arc<Shared<M>>) + Send + 'static) -> Result<(), ModelError> {
        let running = Running::new(&self.shared);
        let thread = std::thread::Builder::new().name(role.into()).spawn(move || run(Arc::clone(&running.0)));
        self.threads.push(thread.map_err(ModelError::new)?);
        Ok(())
    }

    /// What is served.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.shared.model
    }

    /// Queues all of `jobs`, or none.
    ///
    /// # Errors
    /// [`QueueFull`] if they do not fit.
    pub fn admit(&self, jobs: Vec<Job<Tensor>>) -> Result<(), QueueFull> {
        let alone = jobs.len() == 1;
        self.shared.lock().batcher.admit(jobs)?;
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
        let waited = self.shared.ended.wait_timeout_while(self.shared.lock(), END_TIMEOUT, |state| state.running > 0);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            error!("the model did not return within {END_TIMEOUT:?}; leaving its thread behind");
            return;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a thread of the pool panicked");
            }
        }
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

    /// The next batch for an idle worker; none when the pool closes.
    fn next_batch(&self) -> Option<Vec<Job<M::Input>>> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let now_us = self.now_us();
            state = match state.batcher.step(now_us) {
                Step::Run(jobs) => return Some(jobs),
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

fn decode<M: Model>(shared: &Shared<M>) {
    let mut preparer = shared.model.preparer();
    while let Some(Job { input, reply }) = shared.next_raw() {
        let begun = Instant::now();
        // After a panic the preparer is replaced, so no broken one is used again.
        let prepared = catch_unwind(AssertUnwindSafe(|| shared.model.prepare(&mut preparer, input)));
        let prepared = prepared.unwrap_or_else(|_| {
            preparer = shared.model.preparer();
            Err(Unusable("the decoder gave up on the input".into()))
        });
        shared.metrics.stages.took(metrics::PREPARE, begun.elapsed());
        match prepared {
            Ok(input) => shared.prepared(Some(Job { input, reply })),
            Err(unusable) => {
                shared.prepared(None);
                Job { input: (), reply }.answer(Fate::Unusable(unusable));
            }
        }
    }
}

fn work<M: Model>(shared: &Shared<M>, loaded: &mpsc::Sender<Result<(), ModelError>>) {
    let mut worker = Worker { model: &shared.model, metrics: &shared.metrics, session: None, failures: 0 };
    let result = worker.session().map(|_| ());
    let failed = result.is_err();
    // Nobody listens only if the pool gave up starting.
    let _ = loaded.send(result);
    while !failed && let Some(jobs) = shared.next_batch() {
        worker.run(jobs);
    }
}

/// One thread's session, loaded anew when it may be broken.
struct Worker<'a, M: Model> {
    model: &'a M,
    metrics: &'a Metrics,
    session: Option<M::Session>,
    failures: u32,
}

impl<M: Model> Worker<'_, M> {
    fn session(&mut self) -> Result<&mut M::Session, ModelError> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                let session = catch_unwind(AssertUnwindSafe(|| self.model.open()));
                Ok(none.insert(session.unwrap_or_else(|_| Err(ModelError("the model panicked while loading".into())))?))
            }
        }
    }

    /// Runs the model on a batch; if that fails, on each input alone, so that one input cannot fail its neighbours.
    fn run(&mut self, jobs: Vec<Job<M::Input>>) {
        let (inputs, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.input, job.reply)).unzip();
        let started = Instant::now();
        let fates: Vec<_> = match self.attempt(&inputs) {
            Ok(outputs) => outputs.into_iter().map(Fate::Output).collect(),
            Err(error) if inputs.len() == 1 => vec![Fate::Failed(error)],
            Err(error) => {
                warn!(%error, inputs = inputs.len(), "the model failed on a batch; trying its inputs one by one");
                inputs.chunks(1).map(|input| self.alone(input)).collect()
            }
        };
        self.metrics.stages.took(metrics::INFER, started.elapsed());
        self.metrics.batch(inputs.len());
        let compute_us = micros(started);
        for (fate, reply) in fates.into_iter().zip(replies) {
            // Whoever asked may be gone.
            let _ = reply.send(Answered { fate, compute_us });
        }
    }

    fn alone(&mut self, input: &[M::Input]) -> Fate {
        match self.attempt(input).map(|outputs| outputs.into_iter().next()) {
            Ok(Some(output)) => Fate::Output(output),
            Ok(None) => Fate::Failed(ModelError("the model gave no output".into())),
            Err(error) => Fate::Failed(error),
        }
    }

    fn attempt(&mut self, inputs: &[M::Input]) -> Result<Vec<Output>, ModelError> {
        let model = self.model;
        let session = self.session()?;
        // After a panic the session is dropped, so no broken one is used again.
        let outputs = catch_unwind(AssertUnwindSafe(|| model.infer(session, inputs)));
        let panicked = outputs.is_err();
        let outputs = outputs.unwrap_or_else(|_| Err(ModelError("the model panicked".into())));
        let outputs = outputs.and_then(|outputs| match outputs.len() {
            count if count == inputs.len() => Ok(outputs),
            count => Err(ModelError(format!("the model gave {count} outputs for {} inputs", inputs.len()))),
        });
        self.failures = if outputs.is_ok() { 0 } else { self.failures + 1 };
        if panicked || self.failures >= FAILURES_MAX {
            error!("loading the model anew");
            (self.session, self.failures) = (None, 0);
        }
        outputs
    }
}

#[cfg(test)]
mod tests;
