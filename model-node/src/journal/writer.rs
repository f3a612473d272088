//! The thread that writes: all ballots that wait share one durable commit.

use dropbear_certificates::Answer;
use tokio::sync::mpsc;
use tracing::error;

use super::store::Store;
use super::{JournalError, Reply, Write};

/// One commit covers at most this many ballots.
const GROUP_MAX: usize = 256;

pub(super) fn run(store: &Store, mut waiting: mpsc::Receiver<Write>) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        commit(store, &mut group);
    }
}

fn commit(store: &Store, group: &mut Vec<Write>) {
    let mut replies = Vec::with_capacity(group.len());
    let ballots = group.drain(..).map(|Write { now_ms, votes, reply }| {
        replies.push(reply);
        (now_ms, votes)
    });
    match store.settle(ballots) {
        Ok(results) => replies.into_iter().zip(results).for_each(|(reply, result)| tell(reply, result)),
        Err(error) => {
            error!(%error, "votes were not kept");
            replies.into_iter().for_each(|reply| tell(reply, Err(error.clone())));
            // Ballots that the file never got to see are told by their dropped handles.
        }
    }
}

fn tell(reply: Reply, result: Result<Vec<Answer>, JournalError>) {
    // Whoever asked may be gone; the vote stands nevertheless.
    let _ = reply.send(result);
}
