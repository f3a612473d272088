//! The gRPC service: the path of one batch from request to ballot.
//!
//! ```text
//! InferRequest ──admit──▶ AdmittedBatch ──journal──▶ known votes ─────────────┐
//!                                          └─▶ Pool ──▶ fates ──▶ new votes ──┴─▶ journal ──▶ Ballot
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dropbear_certificates::ballot::votes_root;
use dropbear_certificates::request::output_commitment;
use dropbear_certificates::{Answer, Ballot, BallotStatement, Digest, Vote};
use dropbear_wire::convert::{self, GroupView, digest_bytes};
use dropbear_wire::v1;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use tracing::{debug, warn};

use crate::admission::{AdmittedBatch, AdmittedItem, Terms, admit};
use crate::clerk::unix_ms;
use crate::fleet::Lease;
use crate::journal::{VoteKey, Votes};
use crate::metrics::{self, Metrics};
use crate::model::{ModelCard, vote_of};
use crate::pool::{Answered, Fate, Job, Refusal};
use crate::serving::Serving;
use crate::siblings::serve::journal_status;
use crate::standing::Standing;

/// What all calls share.
pub(crate) struct Service {
    pub(crate) serving: Arc<Serving>,
    pub(crate) genesis: Digest,
    pub(crate) lifetime_ms_max: u64,
    pub(crate) votes: Votes,
    pub(crate) metrics: Metrics,
}

/// One item's answer, and how it came about.
#[derive(Clone, Debug)]
struct Computed {
    answer: Answer,
    /// Whether the answer came from the journal.
    again: bool,
    /// The full output; empty if the answer came from the journal or is an abstention.
    output: Bytes,
    compute_us: u64,
}

fn key_of(item: &AdmittedItem, version: Digest) -> VoteKey {
    VoteKey { expiry_ms: item.expiry_ms, id: item.id, version }
}

fn refusal_status(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Full(_) => Status::resource_exhausted(refusal.to_string()),
        Refusal::Stuck => Status::unavailable(refusal.to_string()),
    }
}

impl Service {
    async fn serving(&self, asked: Option<&Digest>) -> Result<(Standing, Lease), Status> {
        let soon = self.serving.soon(asked).await;
        soon.map_err(|problem| Status::failed_precondition(format!("the node is not ready: {problem}")))
    }

    /// Admission hashes every input and the journal reads a file: both off the async threads.
    async fn admit(
        self: &Arc<Self>,
        request: v1::InferRequest,
        standing: &Standing,
    ) -> Result<(AdmittedBatch, Vec<Option<Answer>>), Status> {
        let (service, charter, version) = (Arc::clone(self), standing.group.digest, standing.version);
        let begun = Instant::now();
        let admitting = tokio::task::spawn_blocking(move || {
            let terms = Terms {
                genesis: &service.genesis,
                group: &service.serving.claim.group,
                charter: &charter,
                lifetime_ms_max: service.lifetime_ms_max,
                now_ms: unix_ms(),
            };
            let batch = admit(request, &terms)?;
            let known = service.votes.find(batch.items.iter().map(|item| key_of(item, version)));
            Ok((batch, known.map_err(journal_status)?))
        });
        let admitted = admitting.await.map_err(|_| Status::internal("admission failed; send the batch again"))?;
        self.metrics.stages.took(metrics::ADMIT, begun.elapsed());
        admitted
    }

    /// Runs the model on the items whose answer is not known.
    async fn compute(
        &self,
        batch: &mut AdmittedBatch,
        known: Vec<Option<Answer>>,
        standing: &Standing,
        engine: &Lease,
    ) -> Result<Vec<Computed>, Status> {
        let (mut jobs, mut waiting) = (Vec::new(), Vec::with_capacity(known.len()));
        for (item, known) in batch.items.iter_mut().zip(known) {
            waiting.push(known.ok_or_else(|| {
                let (reply, answered) = oneshot::channel();
                jobs.push(Job { input: std::mem::take(&mut item.input), reply });
                answered
            }));
        }
        let (asked, begun) = (jobs.len(), Instant::now());
        engine.admit(jobs).map_err(refusal_status)?;
        let (mut computed, mut failed) = (Vec::with_capacity(waiting.len()), 0);
        for (item, waiting) in batch.items.iter().zip(waiting) {
            computed.push(match waiting {
                Ok(answer) => Computed { answer, again: true, output: Bytes::new(), compute_us: 0 },
                Err(answered) => {
                    let gone = |_| Status::unavailable("the worker is gone, or the node is stopping; ask again");
                    let answered = answered.await.map_err(gone)?;
                    if let Fate::Lost(error) = &answered.fate {
                        return Err(Status::unavailable(format!("{error}; ask again")));
                    }
                    failed += usize::from(matches!(answered.fate, Fate::Failed(_)));
                    judge(item, answered, &standing.group)
                }
            });
        }
        let compute_us = computed.iter().map(|computed| computed.compute_us).max().unwrap_or(0);
        self.metrics.stages.took(metrics::QUEUE, begun.elapsed().saturating_sub(Duration::from_micros(compute_us)));
        // Where the model works, an input on which it fails is to blame; where it fails on all, the model is.
        if failed > 0 && failed == asked {
            return Err(Status::unavailable("the model failed on every request of the batch; ask again later"));
        }
        Ok(computed)
    }

    /// Makes the new votes durable; gives the answers that stand, and the outputs of those that are new.
    async fn settle(
        &self,
        batch: &AdmittedBatch,
        version: Digest,
        computed: Vec<Computed>,
    ) -> Result<(Vec<Answer>, Vec<Bytes>), Status> {
        let (mut votes, mut waiting) = (Vec::new(), Vec::with_capacity(computed.len()));
        for (item, Computed { answer, again, output, .. }) in batch.items.iter().zip(computed) {
            if again {
                waiting.push((Ok(answer), output));
            } else {
                waiting.push((Err(answer.output), output));
                votes.push((key_of(item, version), answer));
            }
        }
        let begun = Instant::now();
        let mut kept = self.votes.settle(unix_ms(), votes).await.map_err(journal_status)?.into_iter();
        self.metrics.stages.took(metrics::JOURNAL, begun.elapsed());
        let stands = |(item, (waiting, output)): (&AdmittedItem, (Result<Answer, Digest>, Bytes))| match waiting {
            Ok(answer) => Ok((answer, output)),
            Err(computed) => {
                let answer = kept.next().ok_or_else(|| Status::internal("the journal lost a vote; ask again"))?;
                let output = if answer.output == computed { output } else { contradicted(item) };
                Ok((answer, output))
            }
        };
        batch.items.iter().zip(waiting).map(stands).collect()
    }

    fn ballot(&self, batch: &AdmittedBatch, standing: &Standing, answers: Vec<Answer>) -> Ballot {
        let salted = batch.items.iter().map(|item| (&item.id, &item.vote_salt));
        let statement = BallotStatement {
            genesis: self.genesis,
            group: standing.group.charter.group.clone(),
            charter: standing.group.digest,
            batch: batch.root,
            count: batch.items.len() as u64,
            version: standing.version,
            owner: standing.key.public(),
            expiry_ms: batch.items.iter().map(|item| item.expiry_ms).max().unwrap_or(0),
            votes: votes_root(salted, &answers),
        };
        Ballot::sign(statement, answers, &standing.key)
    }

    async fn answer(self: &Arc<Self>, request: v1::InferRequest) -> Result<v1::InferReply, Status> {
        let received = Instant::now();
        // Admission refuses what names no charter.
        let (asked, want_outputs) = (convert::digest(&request.charter, "charter").ok(), request.want_outputs);
        let (standing, engine) = self.serving(asked.as_ref()).await?;
        let (mut batch, known) = self.admit(request, &standing).await?;
        let computed = self.compute(&mut batch, known, &standing, &engine).await?;
        // An unloaded version waits for its batches alone, not for the disk.
        drop(engine);
        let again = computed.iter().filter(|computed| computed.again).count();
        let compute_us = computed.iter().map(|computed| computed.compute_us).max().unwrap_or(0);
        let (answers, outputs) = self.settle(&batch, standing.version, computed).await?;
        let abstained = answers.iter().filter(|answer| answer.vote == Vote::Abstain).count();
        self.metrics.requests("again", again);
        self.metrics.requests("abstained", abstained);
        self.metrics.requests("voted", answers.len().saturating_sub(again + abstained));
        self.metrics.stages.took(metrics::TOTAL, received.elapsed());
        let ballot = self.ballot(&batch, &standing, answers);
        let total_us = u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX);
        debug!(batch = %batch.root, requests = batch.items.len(), again, total_us, compute_us, "gave a ballot");
        let outputs = if want_outputs { outputs } else { Vec::new() };
        Ok(v1::InferReply { ballot: ballot.to_bytes().into(), outputs, total_us, compute_us })
    }
}

/// The output to show where another vote stands: none, for it is not the one that the ballot commits to.
fn contradicted(item: &AdmittedItem) -> Bytes {
    warn!(request = %item.id, "the model answered differently before; the first vote stands");
    Bytes::new()
}

/// The answer that one fate stands for. Abstentions commit to the empty output.
fn judge(item: &AdmittedItem, answered: Answered, group: &GroupView) -> Computed {
    let (vote, output) = match answered.fate {
        Fate::Output(output) => (vote_of(&output, &group.charter), output.bytes().clone()),
        Fate::Unusable(reason) => {
            debug!(request = %item.id, %reason, "abstaining: the input is unusable");
            (Vote::Abstain, Bytes::new())
        }
        Fate::Failed(error) | Fate::Lost(error) => {
            warn!(request = %item.id, %error, "abstaining: the model failed on this input alone");
            (Vote::Abstain, Bytes::new())
        }
    };
    let answer = Answer { vote, output: output_commitment(&item.output_salt, &output) };
    Computed { answer, again: false, output, compute_us: answered.compute_us }
}

/// What tonic serves.
pub(crate) struct Handler(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl v1::model_node_server::ModelNode for Handler {
    async fn infer(&self, request: Request<v1::InferRequest>) -> Result<Response<v1::InferReply>, Status> {
        let request = request.into_inner();
        let requests = request.items.len();
        let answer = self.0.answer(request).await;
        if let Err(status) = &answer {
            self.0.metrics.requests("refused", requests);
            debug!(code = ?status.code(), reason = status.message(), "refused a batch");
        }
        answer.map(Response::new)
    }

    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeReply>, Status> {
        let serving = &self.0.serving;
        let (claim, now) = (&serving.claim, serving.now(None));
        let problem = now.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let (key, card) = match &now {
            Ok((standing, lease)) => (standing.key.public(), Some(lease.card().clone())),
            Err(_) => (claim.key(), serving.fleet.cards().pop()),
        };
        let of_card = |text: fn(&ModelCard) -> String| card.as_ref().map(text).unwrap_or_default();
        Ok(Response::new(v1::DescribeReply {
            owner: claim.owner.clone(),
            owner_key: Bytes::copy_from_slice(key.as_bytes()),
            group: claim.group.clone(),
            model: of_card(|card| card.name.clone()),
            label: of_card(|card| card.label.clone()),
            version: card.as_ref().map(|card| digest_bytes(&card.version)).unwrap_or_default(),
            backend: of_card(|card| card.backend.into()),
            ready: problem.is_empty(),
            problem,
        }))
    }
}
