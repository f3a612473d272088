//! Settling: a submission through the committee, and the certificates of what it recorded.

use std::sync::{Arc, OnceLock};

use dropbear_certificates::{Digest, ModelSet, Vote};
use dropbear_consensus::{Entry, Submission};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, sleep};

use crate::ask::{Answer, Failure};
use crate::assemble;
use crate::coordinators::{Fate, Found, Settled};
use crate::evidence;
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
    /// The ballots were given under a charter that is not in force any more.
    StaleCharter,
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
    /// The entry itself, where its leaves are wanted.
    pub(crate) own: Option<Entry>,
    /// How long it may wait for others to share its block.
    pub(crate) patience: Duration,
    /// When nobody waits for it any more.
    pub(crate) deadline: Instant,
}

/// A submission on its way.
struct Submitted {
    lane: Arc<Lane>,
    /// What was submitted.
    entry: Vec<u8>,
    /// The same, read when it is first needed.
    read: OnceLock<Option<Submission>>,
    deadline: Instant,
}

/// Submits and settles `claims`.
pub(crate) async fn run(lane: Arc<Lane>, work: Work, claims: Vec<Claim>) -> Vec<Settlement> {
    let begun = Instant::now();
    let settled = lane.coordinators.submit(&work).await;
    let submitted = Submitted { lane, entry: work.entry, read: OnceLock::new(), deadline: work.deadline };
    match settled {
        Err(problems) => vec![Settlement::Nothing(problems)],
        Ok(Settled::Refused { code, message }) => submitted.refused_whole(claims, &code, &message).await,
        Ok(Settled::Attested(quorum, fates, _)) => {
            submitted.lane.metrics.stages.took(metrics::ORDER, begun.elapsed());
            submitted.lane.follower.reached(quorum.header.seq);
            submitted.attested(quorum, fates, claims).await
        }
    }
}

impl Submitted {
    async fn attested(&self, quorum: Quorum, fates: Vec<Fate>, claims: Vec<Claim>) -> Vec<Settlement> {
        let (mut recorded, mut settlements) = (Vec::new(), Vec::new());
        for claim in claims {
            match fates[claim.item].clone() {
                Fate::Recorded(proven) => recorded.push((claim, *proven)),
                Fate::Refused { code, message } => settlements.push(self.refused(claim, &code, &message).await),
            }
        }
        settlements.extend(self.certify(quorum, recorded).await);
        settlements
    }

    /// Assembles and verifies, off the threads that serve sockets.
    async fn certify(&self, quorum: Quorum, recorded: Vec<(Claim, ProvenRecord)>) -> Vec<Settlement> {
        let lane = &self.lane;
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
    async fn refused_whole(&self, claims: Vec<Claim>, code: &str, message: &str) -> Vec<Settlement> {
        let mut settlements = Vec::with_capacity(claims.len());
        for claim in claims {
            settlements.push(self.refused(claim, code, message).await);
        }
        settlements
    }

    async fn refused(&self, claim: Claim, code: &str, message: &str) -> Settlement {
        let answer = match code {
            "insufficient" => return Settlement::Insufficient,
            "stale-charter" => return Settlement::StaleCharter,
            "already-decided" => self.first_answer(&claim).await,
            // No request of the batch could be recorded, each for its own reason: perhaps this one was decided before.
            "nothing" | "other" => match self.lookup(&claim).await {
                Ok(Some(found)) => self.answer(&claim, found).await,
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

    async fn lookup(&self, claim: &Claim) -> Result<Option<Found>, Vec<String>> {
        self.lane.coordinators.lookup(&claim.minted.naming.request_id, self.deadline).await
    }

    /// The answer that a request was given before: at least one honest coordinator says that there is one.
    async fn first_answer(&self, claim: &Claim) -> Result<Answer, Failure> {
        loop {
            match self.lookup(claim).await {
                Ok(Some(found)) => return self.answer(claim, found).await,
                Ok(None) if Instant::now() + LOOK_AGAIN_AFTER < self.deadline => sleep(LOOK_AGAIN_AFTER).await,
                Ok(None) => return Err(Failure::Unattested(Vec::new())),
                Err(problems) => return Err(Failure::Unattested(problems)),
            }
        }
    }

    /// An answer that was recorded before; whoever told this gateway something else is reported.
    async fn answer(&self, claim: &Claim, found: Found) -> Result<Answer, Failure> {
        if let Some(ours) = self.read.get_or_init(|| evidence::submission(&self.entry)) {
            evidence::compare(&self.lane, ours, &found.proven.record, found.quorum.header.seq);
        }
        answer_of(&self.lane.market, claim, found.quorum, found.proven, found.models).await
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
