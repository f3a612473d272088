//! Settling: a submission through the committee, and the certificates of what it recorded.

use std::sync::Arc;

use dropbear_certificates::{Digest, ModelSet, Vote};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, sleep};

use crate::ask::{Answer, Failure};
use crate::assemble;
use crate::coordinators::{Fate, Settled};
use crate::lane::Lane;
use crate::market::Market;
use crate::metrics;
use crate::mint::Minted;
use crate::quorum::{ProvenRecord, Quorum};

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A decided request for which an answer is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Its place in the batch.
    pub(crate) item: usize,
    pub(crate) minted: Arc<Minted>,
    /// The votes that its owners gave.
    pub(crate) known: Vec<Vote>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Settlement {
    /// The request at this place has its answer.
    Answered(usize, Box<Result<Answer, Failure>>),
    /// The request at this place was decided before, upon votes that are not at hand; the failure says so.
    Closed(usize, Box<Failure>),
    /// The ledger wants more ballots for a request that seemed decided: its registry is ahead of this gateway's view.
    Insufficient,
    /// Nothing is known before the deadline.
    Nothing(Vec<String>),
}

/// What is submitted.
#[derive(Debug)]
pub(crate) struct Work {
    /// The submission's encoding.
    pub(crate) entry: Vec<u8>,
    /// Its request ids, in order.
    pub(crate) ids: Vec<Digest>,
    /// How long it may wait for others to share its block.
    pub(crate) patience: Duration,
    /// When nobody waits for it any more.
    pub(crate) deadline: Instant,
}

/// Submits and settles `claims`.
pub(crate) async fn run(lane: Arc<Lane>, work: Work, claims: Vec<Claim>) -> Vec<Settlement> {
    let (deadline, begun) = (work.deadline, Instant::now());
    match lane.coordinators.submit(&work).await {
        Err(problems) => vec![Settlement::Nothing(problems)],
        Ok(Settled::Refused { code, message }) => refused_whole(&lane, claims, &code, &message, deadline).await,
        Ok(Settled::Attested(quorum, fates)) => {
            lane.metrics.stages.took(metrics::ORDER, begun.elapsed());
            lane.follower.reached(quorum.header.seq);
            attested(&lane, quorum, fates, claims, deadline).await
        }
    }
}

async fn attested(
    lane: &Arc<Lane>,
    quorum: Quorum,
    fates: Vec<Fate>,
    claims: Vec<Claim>,
    deadline: Instant,
) -> Vec<Settlement> {
    let (mut recorded, mut settlements) = (Vec::new(), Vec::new());
    for claim in claims {
        match fates[claim.item].clone() {
            Fate::Recorded(proven) => recorded.push((claim, *proven)),
            Fate::Refused { code, message } => {
                settlements.push(refused(lane, claim, &code, &message, deadline).await);
            }
        }
    }
    settlements.extend(certify(lane, quorum, recorded).await);
    settlements
}

/// Assembles and verifies, off the threads that serve sockets.
async fn certify(lane: &Arc<Lane>, quorum: Quorum, recorded: Vec<(Claim, ProvenRecord)>) -> Vec<Settlement> {
    let models = lane.group_view(&lane.view().borrow()).map(|group| group.model_set(quorum.header.seq));
    let (market, begun) = (Arc::clone(&lane.market), Instant::now());
    let work = spawn_blocking(move || {
        let one = |(claim, proven): (Claim, ProvenRecord)| {
            let answer = assemble::answer(&market, &claim.minted, &quorum, proven, &claim.known, models.clone());
            Settlement::Answered(claim.item, Box::new(answer))
        };
        recorded.into_iter().map(one).collect()
    });
    let settlements = work.await.unwrap_or_default();
    lane.metrics.stages.took(metrics::CERTIFY, begun.elapsed());
    settlements
}

/// The submission was refused as a whole.
async fn refused_whole(
    lane: &Arc<Lane>,
    claims: Vec<Claim>,
    code: &str,
    message: &str,
    deadline: Instant,
) -> Vec<Settlement> {
    let mut settlements = Vec::with_capacity(claims.len());
    for claim in claims {
        settlements.push(refused(lane, claim, code, message, deadline).await);
    }
    settlements
}

async fn refused(lane: &Arc<Lane>, claim: Claim, code: &str, message: &str, deadline: Instant) -> Settlement {
    let answer = match code {
        "insufficient" => return Settlement::Insufficient,
        "already-decided" => first_answer(lane, &claim, deadline).await,
        // No request of the batch could be recorded, each for its own reason: perhaps this one was decided before.
        "nothing" | "other" => match lane.coordinators.lookup(&claim.minted.naming.request_id, deadline).await {
            Ok(Some(found)) => answer_of(&lane.market, &claim, found.quorum, found.proven, found.models).await,
            Ok(None) => return Settlement::Insufficient,
            Err(problems) => Err(Failure::Unattested(problems)),
        },
        code => Err(Failure::Refused(code.to_owned(), message.to_owned())),
    };
    match answer {
        Err(failure @ Failure::Closed(_)) => Settlement::Closed(claim.item, Box::new(failure)),
        answer => Settlement::Answered(claim.item, Box::new(answer)),
    }
}

/// The answer that a request was given before: at least one honest coordinator says that there is one.
async fn first_answer(lane: &Arc<Lane>, claim: &Claim, deadline: Instant) -> Result<Answer, Failure> {
    loop {
        match lane.coordinators.lookup(&claim.minted.naming.request_id, deadline).await {
            Ok(Some(found)) => return answer_of(&lane.market, claim, found.quorum, found.proven, found.models).await,
            Ok(None) if Instant::now() + LOOK_AGAIN_AFTER < deadline => sleep(LOOK_AGAIN_AFTER).await,
            Ok(None) => return Err(Failure::Unattested(Vec::new())),
            Err(problems) => return Err(Failure::Unattested(problems)),
        }
    }
}

/// A claim's answer, assembled and verified off the threads that serve sockets.
pub(crate) async fn answer_of(
    market: &Arc<Market>,
    claim: &Claim,
    quorum: Quorum,
    proven: ProvenRecord,
    models: Option<ModelSet>,
) -> Result<Answer, Failure> {
    let (market, claim) = (Arc::clone(market), claim.clone());
    let work = spawn_blocking(move || assemble::answer(&market, &claim.minted, &quorum, proven, &claim.known, models));
    work.await.unwrap_or(Err(Failure::Internal("assembling a certificate failed")))
}
