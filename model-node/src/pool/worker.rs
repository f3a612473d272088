//! A worker: one thread with its own session of the model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::{Answered, Fate, Run, Shared, micros};
use crate::metrics;
use crate::model::{Model, ModelError, Output};

/// A worker loads its model anew after this many failures in a row.
pub(super) const FAILURES_MAX: u32 = 8;

/// Where a worker of the first hour tells whether it has loaded the model.
pub(super) type Loaded = mpsc::Sender<Result<(), ModelError>>;

/// Starts a worker.
pub(super) fn spawn<M: Model>(shared: &Arc<Shared<M>>, loaded: Option<Loaded>) -> std::io::Result<()> {
    let mut state = shared.lock();
    let (id, place) = state.enlist();
    drop(state);
    let live = Live { shared: Arc::clone(shared), id, place };
    std::thread::Builder::new().name("worker".into()).spawn(move || work(&live, loaded)).map(drop)
}

/// A worker that has not ended, however it will end.
struct Live<M: Model> {
    shared: Arc<Shared<M>>,
    id: u64,
    place: usize,
}

impl<M: Model> Drop for Live<M> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.hung.remove(&self.id);
        state.runs.remove(&self.id);
        let died = state.live.remove(&self.id).is_some() && std::thread::panicking();
        drop(state);
        if died {
            error!(worker = self.id, "a worker died; replacing it");
            self.shared.metrics.worker_replaced("panic");
        }
        self.shared.ended.notify_all();
    }
}

impl<M: Model> Live<M> {
    /// The worker begins something that may take `limit`; whether it is still wanted.
    fn begin(&self, limit: Duration) -> bool {
        let mut state = self.shared.lock();
        let wanted = state.live.contains_key(&self.id);
        if wanted {
            let run = state.runs.entry(self.id);
            let run = run.or_insert(Run { since: Instant::now(), limit, replies: Vec::new() });
            (run.since, run.limit) = (Instant::now(), limit);
        }
        wanted
    }

    /// The worker ends what it began; none if it was given up meanwhile.
    fn end(&self) -> Option<Run> {
        self.shared.lock().runs.remove(&self.id)
    }
}

fn work<M: Model>(live: &Live<M>, loaded: Option<Loaded>) {
    let shared = &*live.shared;
    let mut worker = Worker { live, session: None, failures: 0 };
    let result = worker.session().map(|_| ());
    if live.end().is_none() {
        return;
    }
    if let Err(error) = &result {
        error!(worker = live.id, %error, "a worker cannot load the model");
    }
    if let Some(loaded) = loaded {
        let failed = result.is_err();
        // Nobody listens only if the pool gave up starting.
        let _ = loaded.send(result);
        if failed {
            return;
        }
    }
    while let Some(inputs) = shared.next_batch(live.id) {
        let started = Instant::now();
        let fates = worker.run(&inputs);
        let Some(run) = live.end() else {
            warn!(worker = live.id, took = ?started.elapsed(), "the model came back after its worker was given up");
            return;
        };
        shared.metrics.stages.took(metrics::INFER, started.elapsed());
        shared.metrics.batch(inputs.len());
        let compute_us = micros(started);
        for (fate, reply) in fates.into_iter().zip(run.replies) {
            // Whoever asked may be gone.
            let _ = reply.send(Answered { fate, compute_us });
        }
    }
}

/// One thread's session, loaded anew when it may be broken.
struct Worker<'a, M: Model> {
    live: &'a Live<M>,
    session: Option<M::Session>,
    failures: u32,
}

impl<M: Model> Worker<'_, M> {
    fn session(&mut self) -> Result<&mut M::Session, ModelError> {
        if self.session.is_none() {
            self.begin(self.live.shared.timeouts.load)?;
            let model = &self.live.shared.model;
            let session = catch_unwind(AssertUnwindSafe(|| model.open(self.live.place)));
            let panicked = || Err(ModelError("the model panicked while loading".into()));
            self.session = Some(session.unwrap_or_else(|_| panicked())?);
        }
        self.session.as_mut().ok_or_else(|| ModelError("the model has no session".into()))
    }

    fn begin(&self, limit: Duration) -> Result<(), ModelError> {
        if self.live.begin(limit) { Ok(()) } else { Err(ModelError("the worker was given up".into())) }
    }

    /// Runs the model on a batch; if that fails, on each input alone, so that one input cannot fail its neighbours.
    fn run(&mut self, inputs: &[M::Input]) -> Vec<Fate> {
        match self.attempt(inputs) {
            Ok(outputs) => outputs.into_iter().map(Fate::Output).collect(),
            Err(error) if inputs.len() == 1 => vec![Fate::Failed(error)],
            Err(error) => {
                warn!(%error, inputs = inputs.len(), "the model failed on a batch; trying its inputs one by one");
                inputs.chunks(1).map(|input| self.alone(input)).collect()
            }
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
        self.session()?;
        self.begin(self.live.shared.timeouts.infer)?;
        let model = &self.live.shared.model;
        let session = self.session.as_mut().ok_or_else(|| ModelError("the model has no session".into()))?;
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
