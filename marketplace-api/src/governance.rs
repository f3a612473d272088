//! Keeping up with changed charters: each is trusted once a quorum of coordinators proved it.

use std::net::SocketAddr;
use std::sync::Arc;

use dropbear_certificates::Refusal;
use dropbear_wire::client;
use dropbear_wire::follow::LedgerView;
use dropbear_wire::governance::chain;
use dropbear_wire::v1::{GovernanceReply, GovernanceRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use crate::market::Market;

const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// What nobody proves is asked for again after this long, doubling: a coordinator may tell of charters that do not exist.
const AGAIN_AFTER_MIN: Duration = Duration::from_millis(50);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);

/// Extends what the gateway trusts whenever the followed ledger names a charter that is not proven yet; until the
/// follower ends.
pub(crate) async fn keep(market: Arc<Market>, coordinators: Vec<SocketAddr>, mut view: watch::Receiver<LedgerView>) {
    let mut again_after = AGAIN_AFTER_MIN;
    while view.has_changed().is_ok() {
        let unknown = names_unknown(&market, &view.borrow_and_update());
        if !unknown && view.changed().await.is_err() {
            return;
        }
        if !unknown || learn(&market, &coordinators).await {
            again_after = AGAIN_AFTER_MIN;
        } else {
            sleep(again_after).await;
            again_after = (2 * again_after).min(AGAIN_AFTER_MAX);
        }
    }
}

/// Whether a charter in force or pending is not proven yet.
fn names_unknown(market: &Market, view: &LedgerView) -> bool {
    let trusted = market.trusted();
    view.registry.groups.values().any(|group| {
        // What went before the charter in force stands in nobody's way.
        let first = group.terms.iter().rposition(|term| term.from_seq <= view.seq.saturating_add(1));
        let terms = &group.terms[first.unwrap_or(0)..];
        terms.iter().any(|term| !trusted.knows(&term.digest, term.from_seq))
    })
}

/// Asks all coordinators until a quorum has proven something new; whether it did.
async fn learn(market: &Market, coordinators: &[SocketAddr]) -> bool {
    let from_seq = market.trusted().root.governance_seq();
    let mut calls = JoinSet::new();
    for address in coordinators {
        let mut client = client::ledger(*address);
        calls.spawn(async move { timeout(ASK_TIMEOUT, client.governance(GovernanceRequest { from_seq })).await });
    }
    let mut replies = Vec::new();
    while let Some(reply) = calls.join_next().await {
        let Ok(Ok(Ok(reply))) = reply else { continue };
        replies.push(reply.into_inner());
        match take(market, &replies) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(refusal) => tracing::warn!(%refusal, "coordinators prove charters that do not follow from genesis"),
        }
    }
    false
}

/// Whether the replies prove what was not known.
fn take(market: &Market, replies: &[GovernanceReply]) -> Result<bool, Refusal> {
    let trusted = market.trusted();
    let extended = trusted.extended(chain(replies, market.committee()))?;
    let more = extended.link_count() > trusted.link_count();
    if more {
        tracing::info!(governance_seq = extended.root.governance_seq(), "a changed charter is proven");
        market.trust_more(extended);
    }
    Ok(more)
}
