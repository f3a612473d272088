//! The threads of one model, and their memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::aligned::Aligned;
use super::kernels::{Instructions, Kernel};

/// Threads that share one operation's work. A single one is the caller's own.
#[derive(Debug)]
pub struct Workers {
    instructions: Instructions,
    pool: Option<ThreadPool>,
    /// What each thread keeps between tasks.
    scratch: Vec<Mutex<Aligned>>,
    /// What lies between the halves of one operation.
    between: Mutex<Aligned>,
}

impl Workers {
    /// As many threads as this, at least one.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let pool = match threads {
            1 => None,
            _ => Some(ThreadPoolBuilder::new().num_threads(threads).build().map_err(Error::wrap)?),
        };
        let scratch = (0..threads).map(|_| Mutex::default()).collect();
        Ok(Self { instructions: Instructions::of_this_processor(), pool, scratch, between: Mutex::default() })
    }

    #[cfg(test)]
    pub(super) fn with(threads: usize, instructions: Instructions) -> Result<Self> {
        Ok(Self { instructions, ..Self::new(threads)? })
    }

    /// Runs `work` on one of the threads: operations within it wake the others alone.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.scratch.len()
    }

    /// Does each of `tasks` once.
    pub(super) fn run<T: Send>(&self, tasks: Vec<T>, work: impl Fn(&mut Aligned, T) + Sync) {
        let Some(pool) = &self.pool else {
            let mut scratch = lock(&self.scratch[0]);
            tasks.into_iter().for_each(|task| work(&mut scratch, task));
            return;
        };
        let tasks = Mutex::new(tasks.into_iter());
        pool.broadcast(|context| {
            let mut scratch = lock(&self.scratch[context.index()]);
            loop {
                let task = lock(&tasks).next();
                match task {
                    Some(task) => work(&mut scratch, task),
                    None => return,
                }
            }
        });
    }

    /// Runs an inner loop on this thread.
    pub(super) fn dispatch(&self, kernel: impl Kernel) {
        self.instructions.run(kernel);
    }

    pub(super) fn between(&self) -> MutexGuard<'_, Aligned> {
        lock(&self.between)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
