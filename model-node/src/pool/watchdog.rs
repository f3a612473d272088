//! The watchdog: replaces workers that hang or die, so that a model's bad moment costs one batch.
//!
//! A thread that hangs in a native library cannot be stopped. It is given up: whoever waits for its batch is told, a
//! new worker takes its place, and if it ever comes back it finds that nobody waits, and ends. At most [`HUNG_MAX`] are
//! left behind like this.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use super::{Answered, Fate, HUNG_MAX, Run, Shared, worker};
use crate::model::{Model, ModelError};

/// How often it looks: this part of the shortest time that something may take.
const LOOKS: u32 = 4;
const TICK_MAX: Duration = Duration::from_secs(1);

pub(super) fn watch<M: Model>(shared: &Arc<Shared<M>>) {
    let tick = (shared.timeouts.infer.min(shared.timeouts.load) / LOOKS).min(TICK_MAX);
    let mut state = shared.lock();
    while !state.closing {
        let now = Instant::now();
        let is_overdue = |run: &Run| now.saturating_duration_since(run.since) > run.limit;
        let overdue: Vec<u64> = state.runs.iter().filter(|(_, run)| is_overdue(run)).map(|(id, _)| *id).collect();
        for worker in overdue {
            state.live.remove(&worker);
            state.hung.insert(worker);
            shared.metrics.worker_replaced("hang");
            if let Some(run) = state.runs.remove(&worker) {
                error!(worker, inputs = run.replies.len(), limit = ?run.limit, "the model hangs; giving the worker up");
                tell(run);
            }
            shared.ended.notify_all();
        }
        let missing = shared.workers.saturating_sub(state.live.len());
        let spawned = missing.min(HUNG_MAX.saturating_sub(state.hung.len()));
        if state.is_stuck() {
            // Nobody will run them.
            state.batcher.clear();
        }
        drop(state);
        for _ in 0..spawned {
            if let Err(error) = worker::spawn(shared, None) {
                error!(%error, "a worker cannot be replaced");
            }
        }
        state = shared.lock();
        if !state.closing {
            state = shared.ended.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Tells whoever waits for a run that it will not end.
fn tell(run: Run) {
    let error = ModelError(format!("the model did not answer within {:?}", run.limit));
    // An input that makes the model hang all by itself is to blame.
    let fate = if run.replies.len() == 1 { Fate::Failed(error) } else { Fate::Lost(error) };
    let compute_us = u64::try_from(run.since.elapsed().as_micros()).unwrap_or(u64::MAX);
    for reply in run.replies {
        // Whoever asked may be gone.
        let _ = reply.send(Answered { fate: fate.clone(), compute_us });
    }
}
