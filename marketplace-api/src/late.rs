//! Late ballots: owners that were asked and not needed may still answer for a while, and it counts in their record.
//!
//! Bounded three times: in time, in bytes of the batches that are kept for it, and in entries that are submitted at once.

use std::sync::Arc;

use dropbear_certificates::{Ballot, StatementType};
use dropbear_consensus::{Entry, Submission, SubmittedRequest};
use tokio::time::{Duration, Instant, timeout_at};

use crate::coordinators::Settled;
use crate::lane::Lane;
use crate::round::Asking;
use crate::settle::Work;

/// Kept per request besides its input, at most: statement, salts, answers.
const REQUEST_BYTES: usize = 2 << 10;
/// Kept per batch.
const BATCH_BYTES: usize = 16 << 10;
/// Nobody waits for a record: it may share a block with much else.
const PATIENCE: Duration = Duration::from_secs(1);
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a round leaves behind when everybody has their answer.
#[derive(Debug)]
pub(crate) struct Leftover {
    pub(crate) asking: Asking,
    pub(crate) requests: Vec<SubmittedRequest>,
    /// Whose ballots were submitted, by place; `None` if the ledger decided nothing.
    pub(crate) counted: Option<Vec<usize>>,
}

impl Leftover {
    fn bytes(&self) -> usize {
        BATCH_BYTES + self.asking.bytes + self.requests.len() * REQUEST_BYTES
    }

    /// The ballots that came and were not submitted.
    fn late(&self) -> Vec<Ballot> {
        let Some(counted) = &self.counted else { return Vec::new() };
        let late = self.asking.collector.counted().filter(|(place, _)| !counted.contains(place));
        late.map(|(_, ballot)| ballot.clone()).collect()
    }
}

/// Waits for the ballots of owners that were asked, without keeping anybody; what has no room is not waited for.
pub(crate) fn await_ballots(lane: Arc<Lane>, mut leftover: Leftover) {
    if !leftover.asking.is_awaited() && leftover.late().is_empty() {
        return;
    }
    leftover.asking.forget_inputs();
    let bytes = u32::try_from(leftover.bytes()).unwrap_or(u32::MAX);
    let Ok(room) = Arc::clone(&lane.late_room).try_acquire_many_owned(bytes) else {
        return leftover.asking.give_up_waiting();
    };
    tokio::spawn(async move {
        let until = Instant::now() + Duration::from_millis(lane.limits.late_wait_ms);
        while let Ok(Some(answered)) = timeout_at(until, leftover.asking.answer()).await {
            leftover.asking.note(answered, false);
        }
        leftover.asking.give_up_waiting();
        if lane.certified {
            submit(&lane, leftover).await;
        }
        drop(room);
    });
}

/// Tells the ledger who was late, in its turn.
async fn submit(lane: &Lane, leftover: Leftover) {
    let ballots = leftover.late();
    if ballots.is_empty() {
        return;
    }
    let in_turn = Instant::now() + Duration::from_millis(lane.limits.late_wait_ms);
    let Ok(Ok(_turn)) = timeout_at(in_turn, lane.late_turns.acquire()).await else {
        return tracing::debug!(group = lane.group, "late ballots stay off the record: too many wait");
    };
    let (market, charter) = (&lane.market, leftover.asking.collector.charter());
    let (genesis, group) = (market.trust.digest(), lane.group.clone());
    let late = Submission::sign(StatementType::Late, genesis, &market.key, group, charter, leftover.requests, ballots);
    let entry = Entry::Late(Box::new(late)).to_bytes();
    let deadline = Instant::now() + SUBMIT_TIMEOUT;
    let work = Work { entry, ids: Vec::new(), own: None, patience: PATIENCE, deadline };
    match lane.coordinators.submit(&work).await {
        Ok(Settled::Attested(..)) => {}
        Ok(Settled::Refused { code, message }) => {
            tracing::debug!(group = lane.group, code, message, "late ballots stay off the record");
        }
        Err(problems) => tracing::info!(group = lane.group, ?problems, "late ballots could not be submitted"),
    }
}
