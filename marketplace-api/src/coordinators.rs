//! The committee's coordinators as this gateway reaches them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dropbear_wire::client;
use dropbear_wire::v1::coordinator_client::CoordinatorClient;
use dropbear_wire::v1::ledger_client::LedgerClient;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel;

use crate::market::Market;

mod lookup;
mod reach;
mod read;
mod submit;

pub(crate) use lookup::Found;
pub(crate) use reach::Reach;
pub(crate) use read::Accounts;
pub(crate) use submit::{Fate, Settled};

/// One member's coordinator.
#[derive(Debug)]
struct Coordinator {
    name: String,
    client: CoordinatorClient<Channel>,
    ledger: LedgerClient<Channel>,
    /// Whether its last call failed, or was not answered while others' were: it is then asked last.
    failing: AtomicBool,
}

/// All of them, by place in the committee.
#[derive(Debug)]
pub(crate) struct Coordinators {
    market: Arc<Market>,
    members: Vec<Coordinator>,
    turn: AtomicUsize,
    resubmit_after: Duration,
}

impl Coordinators {
    pub(crate) fn new(market: Arc<Market>, addresses: &[SocketAddr], resubmit_after: Duration) -> Self {
        let member = |(member, address): (&dropbear_certificates::genesis::Member, &SocketAddr)| Coordinator {
            name: member.name.clone(),
            client: client::coordinator(*address),
            ledger: client::ledger(*address),
            failing: AtomicBool::new(false),
        };
        let members = market.committee().members.iter().zip(addresses).map(member).collect();
        Self { market, members, turn: AtomicUsize::new(0), resubmit_after }
    }

    /// Every place: those that answered last first, and among them another one first each time.
    fn order(&self) -> Vec<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let mut order: Vec<_> = (0..count).map(|place| (place + turn) % count).collect();
        order.sort_by_key(|place| self.members[*place].failing.load(Ordering::Relaxed));
        order
    }

    fn client(&self, place: usize) -> CoordinatorClient<Channel> {
        self.members[place].client.clone()
    }

    /// Notes how a call went; gives the problem in words.
    fn note(&self, place: usize, problem: Option<&Status>) -> Option<String> {
        let member = &self.members[place];
        let was_failing = member.failing.swap(problem.is_some(), Ordering::Relaxed);
        let status = problem?;
        if !was_failing {
            tracing::warn!(coordinator = member.name, problem = status.message(), "a coordinator does not answer");
        }
        Some(format!("coordinator {}: {}", member.name, status.message()))
    }

    /// Notes that a coordinator said nothing for so long that others did its part.
    fn miss(&self, place: usize) {
        let member = &self.members[place];
        if !member.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(coordinator = member.name, "a coordinator keeps silent while a quorum answers");
        }
    }

    /// Notes that a coordinator sent something that no honest one sends.
    fn blame(&self, place: usize, fault: &crate::quorum::ReplyFault) -> String {
        let member = &self.members[place];
        member.failing.store(true, Ordering::Relaxed);
        tracing::warn!(coordinator = member.name, %fault, "a coordinator is at fault");
        format!("coordinator {} is at fault: {fault}", member.name)
    }
}

/// A request that gives up at `deadline`, here and at the other side.
fn timed<T>(message: T, deadline: Instant) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    request
}
