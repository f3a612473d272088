//! A decode thread: makes the model's inputs of tensors, which are hostile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::{Fate, Job, Shared};
use crate::metrics;
use crate::model::{Model, Unusable};

/// Starts a decode thread.
pub(super) fn spawn<M: Model>(shared: &Arc<Shared<M>>) -> std::io::Result<JoinHandle<()>> {
    shared.lock().decoding += 1;
    let decoding = Decoding(Arc::clone(shared));
    std::thread::Builder::new().name("decode".into()).spawn(move || decode(&decoding.0))
}

/// Counts one decode thread until it ends, however it ends.
struct Decoding<M: Model>(Arc<Shared<M>>);

impl<M: Model> Drop for Decoding<M> {
    fn drop(&mut self) {
        self.0.lock().decoding -= 1;
        self.0.ended.notify_all();
    }
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
