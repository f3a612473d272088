//! Takes a node's errands to the coordinators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dropbear_certificates::charter::DISCLOSURE_BYTES_MAX;
use dropbear_certificates::{Digest, SecretKey};
use dropbear_consensus::entry::{LICENCE_BYTES_MAX, REASON_BYTES_MAX};
use dropbear_consensus::{Activate, Endpoints, Entry, Publish, Register, Withdraw};
use dropbear_wire::convert::Attested;
use dropbear_wire::v1::{SubmitReply, SubmitRequest, submit_request};
use dropbear_wire::{ENTRY_PATIENCE, client};
use tokio::task::JoinSet;
use tracing::warn;

use crate::errand::{Bootstrap, Errand};

/// A coordinator that takes longer to say what became of an entry is not waited for.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Signs and submits entries for one owner in one group.
#[derive(Clone, Debug)]
pub(crate) struct Clerk {
    pub(crate) genesis: Digest,
    pub(crate) group: String,
    pub(crate) coordinators: Vec<SocketAddr>,
    /// How many coordinators are asked at once: f + 1, so that one of them is honest.
    pub(crate) fan_out: usize,
}

impl Clerk {
    /// The entry that says it; none if it is about a version that the node does not bring along.
    pub(crate) fn entry(
        &self,
        errand: Errand,
        bootstrap: Option<&Bootstrap>,
        key: &Arc<SecretKey>,
        serial: u64,
    ) -> Option<Entry> {
        let (genesis, owner, group) = (self.genesis, key.public(), self.group.clone());
        Some(match errand {
            Errand::Register => {
                let Bootstrap { card, licence, lineage } = bootstrap?;
                let (licence, lineage) = (cut(licence, LICENCE_BYTES_MAX), cut(lineage, DISCLOSURE_BYTES_MAX));
                Register { genesis, owner, serial, group, model: card.name.clone(), licence, lineage }.sign(key)
            }
            Errand::Publish => {
                let card = &bootstrap?.card;
                let (model, label, version) = (card.name.clone(), card.label.clone(), card.version);
                Publish { genesis, owner, serial, group, model, label, version }.sign(key)
            }
            // In force as early as the charter's notice allows.
            Errand::Activate => {
                let version = bootstrap?.card.version;
                Activate { genesis, owner, serial, group, version, from_seq: 0 }.sign(key)
            }
            Errand::Withdraw(version, reason) => {
                let reason = cut(&reason, REASON_BYTES_MAX);
                Withdraw { genesis, owner, serial, group, version, permanent: false, reason }.sign(key)
            }
            Errand::Endpoints(endpoints) => Endpoints { genesis, owner, serial, group, endpoints }.sign(key),
        })
    }

    /// The block that holds the entry, if any coordinator attested one.
    pub(crate) async fn submit(self, entry: Entry) -> Option<u64> {
        let bytes = entry.to_bytes();
        let mut asked = JoinSet::new();
        for coordinator in self.coordinators.iter().take(self.fan_out) {
            let what = Some(submit_request::What::Entry(bytes.clone().into()));
            let timeout_ms = u64::try_from(SUBMIT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            let request =
                SubmitRequest { what, timeout_ms, want_leaves: false, patience_ms: ENTRY_PATIENCE.as_millis() as u64 };
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

/// The beginning of a text that is longer than the ledger takes: at most so many bytes, whole characters.
fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short", 64), "short");
        assert_eq!(cut("naïve", 3), "na");
        assert_eq!(cut("naïve", 4), "naï");
    }
}
