//! What an engine signed before it started: by its own journal, and by what its peers heard.
//!
//! A journal that is lost, or came back from an old copy, is *amnesia*: the next vote could contradict one that is
//! forgotten. So a starting engine asks its peers for its own newest votes and signs nothing before a quorum, itself
//! included, has answered. A peer proves amnesia by a vote of ours that our journal should have and has not; whoever
//! lies can at most keep silent. An engine that forgot is itself one of the f faulty peers. Among those that answer,
//! one is then honest and also among those who made the last certificate that needed our vote.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::Viewable as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Artifact, Attributable as _, Vote};
use commonware_consensus::types::View;
use commonware_cryptography::certificate::{Scheme as _, Verifier as _};
use commonware_cryptography::sha256::Digest;
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Metrics, ReadOptions, Storage};
use commonware_storage::journal::segmented::variable::{Config, Journal};
use futures::future::{Either, pending, select};
use futures::pin_mut;
use rand_core::CryptoRng;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::config::{Committee, Setup};
use crate::replica::{DynReplica, Memory, Role};
use crate::stack::{REPLAY_BUFFER_BYTES, WRITE_BUFFER_BYTES, nz};

/// How long a starting engine waits for answers before it asks again.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

type Ballot = Vote<Scheme, Digest>;

/// One peer's answer.
pub(crate) struct Testimony {
    pub(crate) from: usize,
    pub(crate) vote: Bytes,
    pub(crate) shown: Bytes,
}

/// The newest vote that was heard of every peer, in committee order.
#[derive(Clone)]
pub(crate) struct Heard(Arc<Mutex<Vec<Option<Ballot>>>>);

impl Heard {
    pub(crate) fn new(committee: &Committee) -> Self {
        Self(Arc::new(Mutex::new(vec![None; committee.keys.len()])))
    }

    pub(crate) fn vote(&self, peer: usize, vote: Ballot) {
        let mut newest = self.0.lock().expect("no holder of the votes panics");
        let slot = &mut newest[peer];
        if slot.as_ref().is_none_or(|old| old.view() <= vote.view()) {
            *slot = Some(vote);
        }
    }

    /// A peer's newest vote, encoded; empty if none was heard.
    pub(crate) fn of(&self, peer: usize) -> Bytes {
        let newest = self.0.lock().expect("no holder of the votes panics");
        newest[peer].as_ref().map_or_else(Bytes::new, |vote| vote.encode())
    }
}

/// What the vote journal holds of our own.
#[derive(Debug, Default)]
pub(crate) struct Journaled {
    is_empty: bool,
    /// The highest view that is known to be final: we vote in none up to it any more.
    finalized: Option<View>,
    /// Our votes, encoded.
    votes: BTreeSet<Bytes>,
}

impl Journaled {
    /// Reads the journal, before the protocol opens it.
    pub(crate) async fn read<E: Storage + Metrics>(context: E, setup: &Setup, page_cache: CacheRef) -> Self {
        let config = Config {
            partition: setup.votes_partition(),
            compression: None,
            codec_config: setup.scheme.certificate_codec_config(),
            page_cache,
            write_buffer: nz(WRITE_BUFFER_BYTES),
        };
        let journal = Journal::<_, Artifact<Scheme, Digest>>::init(context, config).await;
        let journal = journal.unwrap_or_else(|error| panic!("the vote journal cannot be opened: {error}"));
        let replay = journal.replay(0, 0, nz(REPLAY_BUFFER_BYTES), ReadOptions::DONT_CACHE).await;
        let mut replay = replay.unwrap_or_else(|error| panic!("the vote journal cannot be read: {error}"));
        let mut journaled = Self { is_empty: true, ..Self::default() };
        while let Some(artifact) = replay.next().await {
            let (_, _, _, artifact) = artifact.unwrap_or_else(|error| panic!("the vote journal is damaged: {error}"));
            journaled.is_empty = false;
            match artifact {
                Artifact::Notarize(vote) => drop(journaled.votes.insert(Ballot::Notarize(vote).encode())),
                Artifact::Nullify(vote) => drop(journaled.votes.insert(Ballot::Nullify(vote).encode())),
                Artifact::Finalize(vote) => drop(journaled.votes.insert(Ballot::Finalize(vote).encode())),
                Artifact::Finalization(certificate) => {
                    journaled.finalized = journaled.finalized.max(Some(certificate.view()));
                }
                Artifact::Notarization(_) | Artifact::Certification(..) | Artifact::Nullification(_) => {}
            }
        }
        journaled
    }

    /// Whether a vote of ours is one that this journal should have and has not.
    fn lacks(&self, vote: &Ballot) -> bool {
        // Votes in views that are final may be pruned, and none follows them.
        self.finalized < Some(vote.view()) && !self.votes.contains(&vote.encode())
    }
}

/// Decides the engine's role.
pub(crate) struct Examination<R> {
    pub(crate) rng: R,
    pub(crate) setup: Setup,
    pub(crate) journaled: Journaled,
    pub(crate) replica: Arc<dyn DynReplica>,
    pub(crate) answers: mpsc::Receiver<Testimony>,
}

impl<R: CryptoRng> Examination<R> {
    /// Asks, by `ask`, until the role is decided.
    pub(crate) async fn decide(mut self, clock: &impl Clock, mut ask: impl FnMut()) -> Role {
        let forgot = |what: &str| {
            error!(what, "this coordinator has forgotten what it signed and only follows");
            Role::Follower(what.to_owned())
        };
        match self.replica.memory() {
            Memory::Lost => return forgot("it was found before that this disk lacks signatures that were given"),
            Memory::Kept if self.journaled.is_empty => return forgot("the journal of votes is missing"),
            Memory::Kept | Memory::Fresh => {}
        }
        let peers = self.setup.committee.keys.len();
        let quorum = peers - (peers - 1) / 3;
        let mut answered = BTreeSet::new();
        while answered.len() + 1 < quorum {
            ask();
            let pause = clock.sleep(ASK_INTERVAL);
            pin_mut!(pause);
            while answered.len() + 1 < quorum {
                let answer = {
                    let answer = self.answers.recv();
                    pin_mut!(answer);
                    match select(answer, &mut pause).await {
                        Either::Left((answer, _)) => answer,
                        Either::Right(_) => break,
                    }
                };
                // Without a sender the engine is ending.
                let Some(testimony) = answer else { return pending().await };
                if self.is_forgotten(&testimony.vote) || self.replica.has_forgotten(testimony.shown) {
                    let from = testimony.from;
                    return forgot(&format!("member {from} shows our signature under what we do not know of"));
                }
                answered.insert(testimony.from);
            }
        }
        info!(answered = answered.len(), "no peer knows of a signature that is forgotten here");
        Role::Voter
    }

    fn is_forgotten(&mut self, vote: &Bytes) -> bool {
        let Ok(vote) = Ballot::decode(vote.clone()) else { return false };
        let (scheme, rng) = (&self.setup.scheme, &mut self.rng);
        let (signer, is_valid) = match &vote {
            Vote::Notarize(vote) => (vote.signer(), vote.verify(rng, scheme, &Sequential)),
            Vote::Nullify(vote) => (vote.signer(), vote.verify::<_, Digest>(rng, scheme, &Sequential)),
            Vote::Finalize(vote) => (vote.signer(), vote.verify(rng, scheme, &Sequential)),
        };
        let is_ours = scheme.me().is_some_and(|me| me.index() == signer);
        is_ours && is_valid && self.journaled.lacks(&vote)
    }
}
