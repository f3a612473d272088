//! Evidence: two ballots with which an owner contradicted itself, found in one batch or across gateways, reported to the
//! ledger.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dropbear_certificates::ballot::vote_leaf;
use dropbear_certificates::request::vote_commitment;
use dropbear_certificates::{Ballot, Digest, PublicKey, Record, Vote, merkle};
use dropbear_consensus::entry::{Evidence, SignedVote};
use dropbear_consensus::{Entry, Proposal, Submission};
use tokio::time::{Duration, Instant};

use crate::collect::{Equivocation, Wanted};
use crate::coordinators::Settled;
use crate::lane::Lane;
use crate::settle::Work;

const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// So many owners are remembered as reported; the ledger itself takes each only once an epoch.
const REPORTED_MAX: usize = 1024;

/// Owners that were reported: once is enough.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<BTreeSet<PublicKey>>);

impl Reported {
    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<PublicKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the owner is new here.
    fn begin(&self, owner: PublicKey) -> bool {
        let mut known = self.known();
        known.len() < REPORTED_MAX && known.insert(owner)
    }

    fn forget(&self, owner: &PublicKey) {
        self.known().remove(owner);
    }
}

/// One vote of a ballot over a batch, as its owner signed it; `None` for an abstention, which contradicts nothing.
fn signed_vote(ballot: &Ballot, batch: &[(Digest, Digest)], item: usize) -> Option<SignedVote> {
    let commitments = batch.iter().zip(&ballot.answers).map(|((_, salt), answer)| vote_commitment(salt, &answer.vote));
    let commitments: Vec<_> = commitments.collect();
    let leaf = |place: usize| vote_leaf(&batch[place].0, commitments[place].as_ref(), &ballot.answers[place].output);
    let leaves: Vec<_> = (0..commitments.len()).map(leaf).collect();
    Some(SignedVote {
        statement: ballot.statement.clone(),
        signature: ballot.signature,
        index: item as u64,
        commitment: (*commitments.get(item)?)?,
        output: ballot.answers[item].output,
        path: merkle::path(&leaves, item),
    })
}

/// Reports a contradiction that was found within one batch.
pub(crate) fn report(lane: &Arc<Lane>, wanted: &[Wanted], found: &Equivocation) {
    let batch: Vec<_> = wanted.iter().map(|wanted| (wanted.id, wanted.vote_salt)).collect();
    let [one, two] = &*found.ballots;
    let votes = (signed_vote(one, &batch, found.item), signed_vote(two, &batch, found.item));
    if let (Some(one), Some(two)) = votes {
        let lane = Arc::clone(lane);
        let request = batch[found.item].0;
        tokio::spawn(async move { submit(&lane, request, [one, two]).await });
    }
}

async fn submit(lane: &Lane, request: Digest, votes: [SignedVote; 2]) {
    let accused = votes[0].statement.owner;
    if !lane.reported.begin(accused) {
        return;
    }
    let evidence = Evidence { genesis: lane.market.trust.digest(), reporter: lane.market.public(), request, votes };
    let entry = evidence.sign(&lane.market.key).to_bytes();
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let work = Work { entry, ids: Vec::new(), own: None, patience: Duration::ZERO, deadline };
    match lane.coordinators.submit(&work).await {
        Ok(Settled::Attested(quorum, ..)) => {
            tracing::warn!(%accused, group = lane.group, seq = quorum.header.seq, "an owner's equivocation is on record");
        }
        Ok(Settled::Refused { code, message }) => {
            tracing::info!(%accused, group = lane.group, code, message, "evidence of equivocation was refused");
        }
        Err(problems) => {
            lane.reported.forget(&accused);
            tracing::warn!(%accused, ?problems, "evidence of equivocation could not be submitted");
        }
    }
}

/// A request was decided before, by whichever gateway: holds the ballots of this submission against the record, and
/// reports whoever said something else there.
pub(crate) fn compare(lane: &Arc<Lane>, ours: &Submission, record: &Record, seq: u64) {
    let Some(item) = ours.requests.iter().position(|submitted| submitted.request.id() == record.request) else {
        return;
    };
    let trusted = lane.market.trusted();
    let Some(charter) = trusted.charter(&record.charter) else { return };
    let contradicts = |ballot: &&Ballot| {
        let said = ballot.answers.get(item).and_then(|answer| commitment(ours, item, &answer.vote));
        let place = charter.place(&ballot.statement.owner);
        let recorded = place.and_then(|place| record.group_of(place)).and_then(|group| group.commitment);
        said.zip(recorded).is_some_and(|(said, recorded)| said != recorded)
    };
    let suspects: Vec<_> = ours.ballots.iter().filter(contradicts).cloned().collect();
    if suspects.is_empty() {
        return;
    }
    let (lane, request) = (Arc::clone(lane), record.request);
    let batch = batch_of(ours);
    tokio::spawn(async move {
        let Some(theirs) = recorded_submission(&lane, seq, &request).await else { return };
        let their_batch = batch_of(&theirs);
        let Some(their_item) = their_batch.iter().position(|(id, _)| *id == request) else { return };
        for ballot in suspects {
            let same = |other: &&Ballot| {
                (other.statement.owner, other.statement.version) == (ballot.statement.owner, ballot.statement.version)
            };
            let other = theirs.ballots.iter().find(same).and_then(|other| signed_vote(other, &their_batch, their_item));
            if let Some((one, two)) = other.zip(signed_vote(&ballot, &batch, item)) {
                submit(&lane, request, [one, two]).await;
            }
        }
    });
}

/// The submission that an entry is, if it is one.
pub(crate) fn submission(entry: &[u8]) -> Option<Submission> {
    match Entry::from_bytes(entry) {
        Ok(Entry::Submission(submission)) => Some(*submission),
        _ => None,
    }
}

fn commitment(of: &Submission, item: usize, vote: &Vote) -> Option<Digest> {
    vote_commitment(&of.requests[item].vote_salt, vote)
}

fn batch_of(submission: &Submission) -> Vec<(Digest, Digest)> {
    submission.requests.iter().map(|submitted| (submitted.request.id(), submitted.vote_salt)).collect()
}

/// The submission that decided a request, from the block in which it stands. Nothing of it is believed: evidence proves
/// itself.
async fn recorded_submission(lane: &Lane, seq: u64, request: &Digest) -> Option<Submission> {
    let payload = lane.coordinators.block_payload(seq, Instant::now() + REPORT_TIMEOUT).await?;
    let proposal = Proposal::from_bytes(&payload).ok()?;
    let decides =
        |submission: &Submission| submission.requests.iter().any(|submitted| submitted.request.id() == *request);
    proposal.entries.iter().filter_map(|entry| submission(entry)).find(decides)
}
