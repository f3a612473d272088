//! Late ballots: owners that were asked and not needed may still answer for a while, so that it shows in their record.
//!
//! Bounded twice: in time, and in bytes of the batches that are kept for it.

use std::sync::Arc;

use dropbear_consensus::SubmittedRequest;
use tokio::time::{Duration, Instant, timeout_at};

use crate::lane::Lane;
use crate::round::Asking;

/// Kept per request besides its input, at most: statement, salts, answers.
const REQUEST_BYTES: usize = 2 << 10;
/// Kept per batch.
const BATCH_BYTES: usize = 16 << 10;

/// What a round leaves behind when everybody has their answer.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) asking: Asking,
    pub(crate) requests: Vec<SubmittedRequest>,
    /// Whose ballots were submitted, by place; none if nothing was.
    pub(crate) counted: Vec<usize>,
}

impl Leftover {
    fn bytes(&self) -> usize {
        BATCH_BYTES + self.asking.bytes + self.requests.len() * REQUEST_BYTES
    }
}

/// Waits for the ballots of owners that were asked, without keeping anybody; what has no room is not waited for.
pub(crate) fn await_ballots(lane: Arc<Lane>, mut leftover: Leftover) {
    if !leftover.asking.is_awaited() {
        return;
    }
    leftover.asking.forget_inputs();
    let bytes = u32::try_from(leftover.bytes()).unwrap_or(u32::MAX);
    let Ok(room) = Arc::clone(&lane.late_room).try_acquire_many_owned(bytes) else {
        return leftover.asking.give_up_waiting();
    };
    tokio::spawn(async move {
        collect(&lane, &mut leftover).await;
        drop(room);
    });
}

async fn collect(lane: &Lane, leftover: &mut Leftover) {
    let until = Instant::now() + Duration::from_millis(lane.limits.late_wait_ms);
    while let Ok(Some(answered)) = timeout_at(until, leftover.asking.answer()).await {
        leftover.asking.note(answered, false);
    }
    leftover.asking.give_up_waiting();
}
