//! How far coordinators are.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_wire::{client, v1};
use futures_util::future::join_all;

/// A coordinator that runs answers at once; a paused one does not.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts to reach a coordinator that nobody announces.
const RETRY: Duration = Duration::from_millis(20);

/// Its last block; `None` if it does not answer.
pub(super) async fn seq(address: SocketAddr) -> Option<u64> {
    let mut coordinator = client::coordinator(address);
    let status = tokio::time::timeout(STATUS_TIMEOUT, coordinator.status(v1::StatusRequest {})).await;
    Some(status.ok()?.ok()?.into_inner().seq)
}

/// The last block of any of these; 0 if none answers.
pub(super) async fn seq_max(coordinators: &[SocketAddr]) -> u64 {
    join_all(coordinators.iter().copied().map(seq)).await.into_iter().flatten().max().unwrap_or(0)
}

/// Returns once the coordinator's ledger holds this block.
pub(super) async fn reached(address: SocketAddr, seq: u64) {
    while !follow(address, seq).await.unwrap_or(false) {
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow(address: SocketAddr, seq: u64) -> Result<bool, tonic::Status> {
    let mut updates = client::coordinator(address).follow(v1::FollowRequest {}).await?.into_inner();
    while let Some(update) = updates.message().await? {
        if update.seq >= seq {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the last block once all have it and no entry waits, after the load has ended.
///
/// # Errors
/// If that does not come to be within `timeout`.
pub(super) async fn settled(coordinators: &[SocketAddr], timeout: Duration) -> anyhow::Result<u64> {
    let settle = async {
        loop {
            let last = seq_max(coordinators).await;
            join_all(coordinators.iter().map(|address| reached(*address, last))).await;
            if last > 0 && is_quiet(coordinators, last).await {
                return last;
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let settled = tokio::time::timeout(timeout, settle).await;
    settled.with_context(|| format!("coordinators are not at the same block {timeout:?} after the load ended"))
}

async fn is_quiet(coordinators: &[SocketAddr], last: u64) -> bool {
    for address in coordinators {
        match client::coordinator(*address).status(v1::StatusRequest {}).await {
            Ok(status) if status.get_ref().seq == last && status.get_ref().waiting_entries == 0 => {}
            _ => return false,
        }
    }
    true
}

/// While a part of the committee is cut off: who orders, and who does not.
pub(super) struct Cut {
    /// The last block of any coordinator when it began.
    edge: u64,
    victims: Vec<SocketAddr>,
    others: Vec<SocketAddr>,
    quorum: usize,
}

/// Blocks that may become final by votes that were sent before a cut.
const UNDER_WAY_BLOCKS_MAX: u64 = 2;

impl Cut {
    /// The cut is made now.
    pub(super) async fn begun(victims: Vec<SocketAddr>, others: Vec<SocketAddr>, quorum: usize) -> Self {
        let edge = seq_max(&victims).await.max(seq_max(&others).await);
        Self { edge, victims, others, quorum }
    }

    /// Just before it is healed: a side without a quorum has ordered nothing, a side with one goes on.
    pub(super) async fn ends(&self) -> anyhow::Result<String> {
        let mut said = Vec::new();
        for side in [&self.victims, &self.others] {
            let ordered = seq_max(side).await.saturating_sub(self.edge);
            let has_quorum = side.len() >= self.quorum;
            if has_quorum && ordered <= UNDER_WAY_BLOCKS_MAX {
                bail!("{} coordinators are a quorum, but ordered only {ordered} blocks on their own", side.len());
            }
            if !has_quorum && ordered > UNDER_WAY_BLOCKS_MAX {
                bail!("{} coordinators are no quorum, but ordered {ordered} blocks on their own", side.len());
            }
            said.push(format!("{} ordered {ordered} blocks", side.len()));
        }
        Ok(said.join(", the other "))
    }
}
