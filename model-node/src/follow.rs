//! Following the ledger: one coordinator at a time, the next one when it fails.
//!
//! A coordinator that lies about the registry can make the node refuse, or sign ballots that no ledger counts; it cannot
//! make the node contradict itself.

use std::net::SocketAddr;
use std::time::Duration;

use dropbear_wire::client;
use dropbear_wire::v1::FollowRequest;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::standing::{BadUpdate, LedgerView};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long to wait after failures in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_MIN)
    }
}

impl Backoff {
    /// The next wait: twice the last one, within bounds.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(BACKOFF_MAX);
        wait
    }
}

/// Why a coordinator is left.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("it cannot be followed: {0}")]
    Failed(#[from] Box<tonic::Status>),
    #[error("it ended the stream")]
    Ended,
    #[error(transparent)]
    BadUpdate(#[from] BadUpdate),
}

/// Keeps `view` up to date until the task is aborted.
pub(crate) async fn follow(coordinators: Vec<SocketAddr>, group: String, view: watch::Sender<LedgerView>) {
    let mut backoff = Backoff::default();
    for coordinator in coordinators.iter().cycle() {
        let mut updates = 0;
        let Err(left) = follow_one(*coordinator, &group, &view, &mut updates).await;
        if updates > 0 {
            backoff = Backoff::default();
        }
        warn!(%coordinator, updates, reason = %left, "left a coordinator; following the next");
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn follow_one(
    coordinator: SocketAddr,
    group: &str,
    view: &watch::Sender<LedgerView>,
    updates: &mut u64,
) -> Result<std::convert::Infallible, Left> {
    let stream = client::coordinator(coordinator).follow(FollowRequest {}).await;
    let mut stream = stream.map_err(Box::new)?.into_inner();
    loop {
        let update = stream.message().await.map_err(Box::new)?.ok_or(Left::Ended)?;
        let current = view.borrow().clone();
        let next = match *updates {
            0 => LedgerView::first(&update, group)?,
            _ => current.next(&update, group)?,
        };
        if *updates == 0 {
            info!(%coordinator, seq = next.seq, "following a coordinator");
        }
        *updates += 1;
        view.send_replace(next);
    }
}
