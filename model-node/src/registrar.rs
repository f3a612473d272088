//! Making the newest loaded version known and current, once, when the node starts.
//!
//! Afterwards a node never activates its version again: an owner who activates another one has decided, and two nodes
//! with different versions must not undo each other's activations for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dropbear_certificates::{Digest, SecretKey};
use dropbear_consensus::{Activate, Entry, Publish, Register};
use dropbear_wire::client;
use dropbear_wire::convert::Attested;
use dropbear_wire::v1::{SubmitReply, SubmitRequest, submit_request};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::follow::Backoff;
use crate::standing::{Claim, LedgerView, NotReady};

/// A coordinator answers within this time, or another is asked too.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// The ledger view must show what a coordinator attested within this time.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Register,
    Publish,
    Activate,
    /// Wait for the ledger to move.
    Wait,
    /// The version is current, or will be without our doing.
    Done,
}

fn next(claim: &Claim, view: &LedgerView) -> Next {
    match claim.progress(view) {
        Ok(()) | Err(NotReady::Pending { .. }) => Next::Done,
        Err(NotReady::NotRegistered) => Next::Register,
        Err(NotReady::NotPublished(_)) => Next::Publish,
        Err(NotReady::NotActivated(_)) => Next::Activate,
        Err(_) => Next::Wait,
    }
}

/// Publishes and activates the newest loaded version of one owner.
#[derive(Debug)]
pub(crate) struct Registrar {
    pub(crate) claim: Claim,
    pub(crate) genesis: Digest,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) coordinators: Vec<SocketAddr>,
    /// How many coordinators are asked at once: f + 1, so that one of them is honest.
    pub(crate) fan_out: usize,
}

impl Registrar {
    /// Runs until the version is current, or its activation is under way.
    pub(crate) async fn run(mut self, mut view: watch::Receiver<LedgerView>) {
        let (mut backoff, mut serial) = (Backoff::default(), 0);
        loop {
            let next = next(&self.claim, &view.borrow_and_update());
            let entry = match next {
                Next::Done => return,
                Next::Wait => {
                    if view.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                // Ascends even if the clock does not.
                Next::Register | Next::Publish | Next::Activate => {
                    serial = unix_ms().max(serial + 1);
                    self.entry(next, serial)
                }
            };
            match self.submit(&entry).await {
                Some(seq) => {
                    info!(step = ?next, seq, version = %self.claim.newest().version, "the ledger took our entry");
                    let caught_up = view.wait_for(|view| view.seq >= seq);
                    // Whatever the view shows then decides.
                    let _ = tokio::time::timeout(CATCH_UP_TIMEOUT, caught_up).await;
                }
                None => {
                    let wait = backoff.next();
                    tokio::time::sleep(wait).await;
                }
            }
            self.coordinators.rotate_left(1);
        }
    }

    fn entry(&self, next: Next, serial: u64) -> Entry {
        let (Claim { group, key: owner, .. }, card) = (&self.claim, self.claim.newest());
        let (genesis, owner, group, version) = (self.genesis, *owner, group.clone(), card.version);
        match next {
            Next::Register => {
                let (model, licence, lineage) = (card.name.clone(), String::new(), String::new());
                Register { genesis, owner, serial, group, model, licence, lineage }.sign(&self.key)
            }
            Next::Publish => {
                let (model, label) = (card.name.clone(), card.label.clone());
                Publish { genesis, owner, serial, group, model, label, version }.sign(&self.key)
            }
            // In force as early as the charter's notice allows.
            _ => Activate { genesis, owner, serial, group, version, from_seq: 0 }.sign(&self.key),
        }
    }

    /// The block that holds the entry, if any coordinator attested one.
    async fn submit(&self, entry: &Entry) -> Option<u64> {
        let bytes = entry.to_bytes();
        let mut asked = JoinSet::new();
        for coordinator in self.coordinators.iter().take(self.fan_out) {
            let what = Some(submit_request::What::Entry(bytes.clone().into()));
            let timeout_ms = u64::try_from(SUBMIT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            let request = SubmitRequest { what, timeout_ms, want_leaves: false, patience_ms: 0 };
            let mut client = client::coordinator(*coordinator);
            let coordinator = *coordinator;
            asked.spawn(async move {
                let reply = tokio::time::timeout(SUBMIT_TIMEOUT, client.submit(request)).await;
                (coordinator, reply.map_err(|_| "no answer in time".to_owned()))
            });
        }
        while let Some(Ok((coordinator, reply))) = asked.join_next().await {
            let reply = reply.and_then(|reply| reply.map_err(|status| status.message().to_owned()));
            match reply.and_then(|reply| block(&reply.into_inner())) {
                Ok(seq) => return Some(seq),
                Err(reason) => warn!(%coordinator, %reason, "a coordinator did not take our entry"),
            }
        }
        None
    }
}

fn block(reply: &SubmitReply) -> Result<u64, String> {
    if let Some(refusal) = &reply.refusal {
        return Err(format!("{}: {}", refusal.code, refusal.message));
    }
    let attested = reply.attested.as_ref().ok_or("the reply names no block")?;
    Attested::try_from(attested).map(|attested| attested.header.seq).map_err(|error| error.to_string())
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
