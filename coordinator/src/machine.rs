//! The machine that a coordinator runs on: its clock and its threads. In simulations both are made up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

/// A clock, tasks, and threads for what blocks.
pub(crate) trait Machine: Send + Sync + 'static {
    /// Unix time, milliseconds.
    fn now_ms(&self) -> u64;

    /// Resolves after so long, whichever runtime polls it.
    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()>;

    /// Runs a task beside the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that blocks or takes long where it delays no task; resolves when it is done.
    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// [`Machine::block`] for work with a result.
pub(crate) async fn block<T: Send + 'static>(machine: &dyn Machine, work: impl FnOnce() -> T + Send + 'static) -> T {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let work = move || {
        let result = work();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    };
    machine.block(Box::new(work)).await;
    let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.expect("work that is done has a result")
}

/// This process, on a tokio runtime.
pub(crate) struct Process(Handle);

impl Process {
    /// On the caller's runtime.
    pub(crate) fn current() -> Self {
        Self(Handle::current())
    }
}

impl Machine for Process {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep_ms(&self, ms: u64) -> BoxFuture<'static, ()> {
        // The timer lives in our runtime; the engine polls it from its own.
        let _ours = self.0.enter();
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let done = self.0.spawn_blocking(work);
        Box::pin(async move {
            if let Err(join) = done.await {
                std::panic::resume_unwind(join.into_panic());
            }
        })
    }
}
