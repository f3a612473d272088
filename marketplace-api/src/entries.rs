//! Owners' entries on their way to the ledger: the gateway passes them on, and can neither make nor change one.

use bytes::Bytes;
use dropbear_certificates::Digest;
use dropbear_consensus::entry::entry_digest;
use dropbear_consensus::{Checked, Entry, Invalid};
use dropbear_wire::ENTRY_PATIENCE;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant};

use crate::ask::Failure;
use crate::coordinators::Settled;
use crate::core::Core;
use crate::settle::Work;

/// How long an entry may take to be ordered and attested.
const ENTRY_TIMEOUT: Duration = Duration::from_secs(15);

/// So long an answer waits for the gateway to show what the entry changed, so that whoever asks next sees it.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// What became of an entry.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What the entry is called: `publish`, `activate`, …
    pub(crate) kind: &'static str,
    /// Its name in the ledger.
    pub(crate) digest: Digest,
    /// The block in which a quorum attests it.
    pub(crate) seq: u64,
    /// Its leaf there.
    pub(crate) leaf: u64,
    /// From which block a charter that it brought about is in force.
    pub(crate) charter_from: Option<u64>,
    pub(crate) agreed_ms: u64,
}

/// Checks an entry and submits it; answers once a quorum attests its block.
///
/// # Errors
/// [`Failure`]: what the entry's signer can do about it.
pub(crate) async fn submit(core: &Core, bytes: Bytes) -> Result<Taken, Failure> {
    let _permit = core.admit_entry()?;
    let genesis = core.market.trust.digest();
    let copy = bytes.to_vec();
    let checked = spawn_blocking(move || check(copy, &genesis)).await;
    let entry = checked.map_err(|_| Failure::Internal("checking an entry failed"))??;
    let kind = kind_of(&entry)?;
    let digest = entry_digest(&bytes);
    let deadline = Instant::now() + ENTRY_TIMEOUT;
    let work = Work { entry: bytes.into(), ids: Vec::new(), own: Some(entry), patience: ENTRY_PATIENCE, deadline };
    match core.submit(&work).await.map_err(Failure::Unattested)? {
        Settled::Attested(quorum, _, own) => {
            let own = own.ok_or(Failure::Internal("an entry has no leaf"))?;
            let (seq, agreed_ms) = (quorum.header.seq, quorum.header.agreed_ms);
            core.has_followed(seq, FOLLOWED_WITHIN).await;
            Ok(Taken { kind, digest, seq, leaf: own.index, charter_from: own.charter_from, agreed_ms })
        }
        Settled::Refused { code, message } => Err(Failure::EntryRefused(code, message)),
    }
}

/// Checks an owner's entry. What is no owner's is turned away before its many signatures cost anything.
fn check(bytes: Vec<u8>, genesis: &Digest) -> Result<Entry, Failure> {
    let entry = Entry::from_bytes(&bytes).map_err(|invalid| refused(&invalid))?;
    kind_of(&entry)?;
    Checked::from_bytes(bytes, genesis).map(|_| entry).map_err(|invalid| refused(&invalid))
}

fn refused(invalid: &Invalid) -> Failure {
    Failure::EntryInvalid(invalid.to_string())
}

fn kind_of(entry: &Entry) -> Result<&'static str, Failure> {
    let statement = entry.statement().map(|(statement, _)| statement.name());
    statement.ok_or_else(|| Failure::EntryInvalid("submissions come from gateways alone, not through them".into()))
}
