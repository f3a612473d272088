//! Sending an entry to the committee, or to a gateway that passes it on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use dropbear_certificates::{Digest, GovernanceEntry, SecretKey};
use dropbear_consensus::{Activate, Approve, Endpoints, Entry, Leave, Propose, Publish, Register, Withdraw};
use dropbear_wire::convert::Attested;
use dropbear_wire::{ENTRY_PATIENCE, client, v1};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::{Desk, Owner, Through};

/// A coordinator has this long to order an entry.
const ORDER_TIMEOUT: Duration = Duration::from_secs(20);
/// And to say so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// The refusal of an entry that is in the ledger already, perhaps through another coordinator a moment ago.
const REPLAYED: &str = "replayed";
/// So often an entry is signed anew because another one of its owner was faster.
const OVERTAKEN_MAX: usize = 3;

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) seq: u64,
    pub(crate) leaf: u64,
    /// From which block a charter that it brought about is in force.
    pub(crate) charter_from: Option<u64>,
}

/// That the committee refuses an entry, and why.
#[derive(Debug)]
pub(super) struct Refused(pub(super) v1::Refusal);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused ({}): {}", self.0.code, self.0.message)
    }
}

impl std::error::Error for Refused {}

/// What one coordinator said.
enum Said {
    Applied(Digest, Applied),
    Refused(v1::Refusal),
    Failed(String),
}

impl Desk {
    /// Sends a signed entry, and waits until it stands in the ledger.
    pub(crate) async fn send(&self, entry: &Entry) -> anyhow::Result<Applied> {
        match &self.through {
            Through::Coordinators(addresses) => self.send_to_all(addresses, &entry.to_bytes()).await,
            Through::Gateway(gateway) => gateway.send(entry.to_bytes()).await,
        }
    }

    /// Sends an entry to every coordinator, and waits until enough of them say where it stands, or why not.
    async fn send_to_all(&self, addresses: &[SocketAddr], entry: &[u8]) -> anyhow::Result<Applied> {
        let mut answers: FuturesUnordered<_> =
            addresses.iter().map(|address| submit(*address, entry.to_vec())).collect();
        let mut applied: BTreeMap<(Digest, u64), usize> = BTreeMap::new();
        let (mut refused, mut failed) = (Vec::<v1::Refusal>::new(), Vec::new());
        while let Some(said) = answers.next().await {
            match said {
                Said::Applied(header, place) => {
                    let count = applied.entry((header, place.leaf)).or_default();
                    *count += 1;
                    if *count >= self.enough() {
                        return Ok(place);
                    }
                }
                Said::Refused(refusal) => {
                    let same = 1 + refused.iter().filter(|other| other.code == refusal.code).count();
                    if refusal.code != REPLAYED && same >= self.enough() {
                        return Err(Refused(refusal).into());
                    }
                    refused.push(refusal);
                }
                Said::Failed(problem) => failed.push(problem),
            }
        }
        match (refused.first(), failed.first()) {
            (Some(refusal), _) if refused.len() >= self.enough() && applied.is_empty() => {
                Err(Refused(refusal.clone()).into())
            }
            (_, Some(problem)) => bail!(
                "too few coordinators answered ({problem}); the entry may still be ordered: look with `dropbear model history`, \
                 and see `dropbear status`"
            ),
            _ => bail!("the coordinators contradict each other about this entry: see `dropbear status`"),
        }
    }
}

impl Owner {
    /// Sends a signed entry and waits until it is in the ledger. The owner's model nodes sign with the same key: where one
    /// of them was faster, the entry is signed anew under a later serial.
    pub(crate) async fn send(&self, entry: &Entry) -> anyhow::Result<Applied> {
        let mut entry = entry.clone();
        for _ in 0..OVERTAKEN_MAX {
            let sent = self.desk.send(&entry).await;
            let refused = sent.as_ref().err().and_then(|error| error.downcast_ref::<Refused>());
            if refused.is_none_or(|refused| refused.0.code != REPLAYED) {
                return sent;
            }
            let serial = self.serial(&self.desk.view().await?)?;
            let Some(later) = signed_anew(entry, serial, &self.key) else { return sent };
            entry = later;
        }
        self.desk.send(&entry).await
    }
}

/// The same entry under another serial; none where its owner's signature is not all that it takes.
fn signed_anew(entry: Entry, serial: u64, key: &SecretKey) -> Option<Entry> {
    Some(match entry {
        Entry::Register(entry, _) => Register { serial, ..entry }.sign(key),
        Entry::Publish(entry, _) => Publish { serial, ..entry }.sign(key),
        Entry::Activate(entry, _) => Activate { serial, ..entry }.sign(key),
        Entry::Withdraw(entry, _) => Withdraw { serial, ..entry }.sign(key),
        Entry::Endpoints(entry, _) => Endpoints { serial, ..entry }.sign(key),
        Entry::Propose(entry, _) => Propose { serial, ..entry }.sign(key),
        Entry::Approve(entry, _) => Approve { serial, ..entry }.sign(key),
        Entry::Leave(entry, _) => Leave { serial, ..entry }.sign(key),
        Entry::Rekey(..) | Entry::Evidence(..) | Entry::Submission(_) | Entry::Late(_) => return None,
    })
}

async fn submit(address: SocketAddr, entry: Vec<u8>) -> Said {
    let request = v1::SubmitRequest {
        what: Some(v1::submit_request::What::Entry(entry.into())),
        timeout_ms: ORDER_TIMEOUT.as_millis() as u64,
        want_leaves: true,
        patience_ms: ENTRY_PATIENCE.as_millis() as u64,
    };
    let mut client = client::coordinator(address);
    match tokio::time::timeout(ANSWER_TIMEOUT, client.submit(request)).await {
        Ok(Ok(reply)) => understand(&reply.into_inner()).unwrap_or_else(|| Said::Failed("a malformed answer".into())),
        // What can never be valid is refused before any rule of the ledger is asked.
        Ok(Err(status)) if status.code() == tonic::Code::InvalidArgument => Said::Refused(v1::Refusal {
            code: "invalid".into(),
            message: status.message().into(),
            seq: 0,
            leaf_index: 0,
        }),
        Ok(Err(status)) => Said::Failed(format!("{address}: {}", status.message())),
        Err(_) => Said::Failed(format!("{address}: no answer within {ANSWER_TIMEOUT:?}")),
    }
}

fn understand(reply: &v1::SubmitReply) -> Option<Said> {
    if let Some(refusal) = &reply.refusal {
        return Some(Said::Refused(refusal.clone()));
    }
    let Attested { header, .. } = Attested::try_from(reply.attested.as_ref()?).ok()?;
    let leaf = reply.leaves.first()?.index;
    let charters = reply.leaves.iter().filter_map(|leaf| GovernanceEntry::from_bytes(&leaf.data).ok());
    let charter_from = charters.filter_map(|entry| match entry {
        GovernanceEntry::Charter(charter) => Some(charter.from_seq),
        GovernanceEntry::Config(_) => None,
    });
    let applied = Applied { seq: header.seq, leaf, charter_from: charter_from.min() };
    Some(Said::Applied(Digest::of(&header.to_bytes()), applied))
}
