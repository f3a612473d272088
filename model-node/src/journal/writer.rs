//! The thread that writes: all ballots that wait share one durable commit.

use tokio::sync::mpsc;
use tracing::error;

use super::store::Store;
use super::{JournalError, Write};

/// One commit covers at most this many ballots.
const GROUP_MAX: usize = 256;

pub(super) fn run(store: &Store, mut waiting: mpsc::Receiver<Write>) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        commit(store, &mut group);
    }
}

fn commit(store: &Store, group: &mut Vec<Write>) {
    let results = store.settle(group.iter().map(|write| (write.now_ms, write.votes.as_slice())));
    let mut results = results.map(Vec::into_iter);
    if let Err(error) = &results {
        error!(%error, ballots = group.len(), "votes were not kept");
    }
    for write in group.drain(..) {
        let result = match &mut results {
            Ok(results) => results.next().unwrap_or(Err(JournalError::Full)),
            Err(error) => Err(error.clone()),
        };
        // Whoever asked may be gone; the vote stands nevertheless.
        let _ = write.reply.send(result);
    }
}
