//! The vote journal: what this owner has voted, durable before anybody hears of it.
//!
//! The first vote for a (request, version) wins for ever; every later one is answered with it, after a restart too. A
//! node therefore never contradicts itself, whatever its model computes the second time.
//!
//! Votes are forgotten some time after their request has expired, and with them goes the right to vote: the journal
//! keeps the latest expiry that it forgot (the *floor*), and takes no vote for a request that expires no later. So not
//! even a clock that runs backwards makes a node vote twice.

mod store;
mod writer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use dropbear_certificates::{Answer, Digest, PublicKey};
use tokio::sync::{mpsc, oneshot};

use store::Store;

use crate::siblings::keeper::Keeper;

/// Votes are forgotten this long after their request has expired.
pub const JOURNAL_MARGIN_MS: u64 = 60_000;
/// The journal holds at most this many votes, about 150 bytes each.
pub const JOURNAL_VOTES_MAX: u64 = 4_000_000;
/// At most this many ballots wait to be written.
const WAITING_MAX: usize = 1024;

/// What a vote is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteKey {
    /// When the request expires; part of what its id digests, so one id has one expiry.
    pub expiry_ms: u64,
    /// The request.
    pub id: Digest,
    /// The model version.
    pub version: Digest,
}

/// Why a vote cannot be kept; no ballot may then leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the vote journal failed, so no ballot was given: {0}; check the disk and restart the node")]
    Storage(String),
    /// The file belongs to another key or market.
    #[error(
        "the vote journal belongs to another owner key or market: use another data_dir, and never delete the journal \
         of a key that is in use"
    )]
    Foreign,
    /// The journal holds [`JOURNAL_VOTES_MAX`] votes.
    #[error("the vote journal is full; votes are forgotten as their requests expire, ask again later")]
    Full,
    /// The sibling that keeps the journal did not say that the votes are kept.
    #[error(
        "the owner's vote journal at {0} did not keep the votes, so no ballot was given: {1}; check that the node \
         named by `journal_of` runs"
    )]
    Keeper(SocketAddr, String),
    /// The request expired so long ago that its votes are forgotten.
    #[error("request {} expired so long ago that its vote may be forgotten", .0.short())]
    Forgotten(Digest),
}

/// An open journal. Reads block shortly; writes of concurrent ballots share one commit.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Open>);

#[derive(Debug)]
struct Open {
    store: Arc<Store>,
    /// Both are there until the journal closes.
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Open {
    /// Writes what waits, so that the file is free when the journal is gone.
    fn drop(&mut self) {
        self.writes = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of the vote journal panicked");
        }
    }
}

/// Where an owner's votes are kept: here, or at a sibling.
#[derive(Clone, Debug)]
pub enum Votes {
    /// In this node's own journal.
    Own(Journal),
    /// In the journal of the sibling.
    Keeper(Box<Keeper>),
}

impl Votes {
    /// The answers that are known to have been given before, one per key. A sibling's are not asked for: what stands is
    /// said when votes are settled. Blocks shortly.
    ///
    /// # Errors
    /// As for [`Journal::find`].
    pub fn find(&self, keys: impl Iterator<Item = VoteKey>) -> Result<Vec<Option<Answer>>, JournalError> {
        match self {
            Self::Own(journal) => journal.find(keys),
            Self::Keeper(_) => Ok(keys.map(|_| None).collect()),
        }
    }

    /// Keeps the votes; gives, one per vote, the answer that stands. When this returns, they are durable.
    ///
    /// # Errors
    /// [`JournalError`]; none of the votes may then be sent.
    pub async fn settle(&self, now_ms: u64, votes: Vec<(VoteKey, Answer)>) -> Result<Vec<Answer>, JournalError> {
        match self {
            Self::Own(journal) => journal.settle(now_ms, votes).await,
            Self::Keeper(_) if votes.is_empty() => Ok(Vec::new()),
            Self::Keeper(keeper) => keeper.settle(&votes).await,
        }
    }
}

/// The votes of one ballot, to be kept together.
#[derive(Debug)]
struct Write {
    now_ms: u64,
    votes: Vec<(VoteKey, Answer)>,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<Vec<Answer>, JournalError>>;

impl Journal {
    /// Opens or creates the journal of an owner in the market `genesis`. Any of the owner's keys opens it; it is then
    /// that of all of them, for a new key takes over what the old one voted. Blocks.
    ///
    /// # Errors
    /// [`JournalError`] if the file cannot be used: damaged, in use by another process, or somebody else's.
    pub fn open(path: &Path, keys: &[PublicKey], genesis: &Digest) -> Result<Self, JournalError> {
        let store = Arc::new(Store::open(path, keys, genesis)?);
        let (writes, waiting) = mpsc::channel(WAITING_MAX);
        let writing = Arc::clone(&store);
        let writer = std::thread::Builder::new().name("journal".into());
        let writer = writer.spawn(move || writer::run(&writing, waiting));
        let writer = writer.map_err(|error| JournalError::Storage(error.to_string()))?;
        Ok(Self(Arc::new(Open { store, writes: Some(writes), writer: Some(writer) })))
    }

    /// The answers that were given before, one per key. Blocks shortly.
    ///
    /// # Errors
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn find(&self, keys: impl Iterator<Item = VoteKey>) -> Result<Vec<Option<Answer>>, JournalError> {
        self.0.store.find(keys)
    }

    /// Keeps the votes and returns, one per vote, the answer that stands: the first that was ever kept. When this
    /// returns, they are durable.
    ///
    /// # Errors
    /// [`JournalError`]; none of the votes may then be sent.
    pub async fn settle(&self, now_ms: u64, votes: Vec<(VoteKey, Answer)>) -> Result<Vec<Answer>, JournalError> {
        if votes.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, settled) = oneshot::channel();
        let gone = || JournalError::Storage("the write was given up".into());
        let writes = self.0.writes.as_ref().ok_or_else(gone)?;
        writes.send(Write { now_ms, votes, reply }).await.map_err(|_| gone())?;
        settled.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests;
