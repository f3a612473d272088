//! The coordinator's gRPC service.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dropbear_consensus::{Registry, RequestResult, Storage as _};
use dropbear_engine::Ordering;
use dropbear_wire::convert::{digest, digest_bytes, refusal};
use dropbear_wire::registry::registry_view;
use dropbear_wire::v1;
use dropbear_wire::v1::coordinator_server::Coordinator;
use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;

use tonic::{Request, Response, Status};

use crate::core::{AttestedBlock, Outcome};
use crate::reader::{Reader, internal, leaf};
use crate::replica::{Progress, Untaken};

/// Nobody waits longer for an entry.
const WAIT_MS_MAX: u64 = 60_000;

pub(crate) struct Api {
    pub(crate) reader: Reader,
    /// Not held: a connection that lingers must not keep the engine from ending.
    pub(crate) engine: Weak<dyn Ordering>,
}

impl Api {
    fn applied(&self, block: &AttestedBlock, place: usize, want_leaves: bool) -> v1::SubmitReply {
        let result = &block.results[place];
        let outcome = |result: &RequestResult| v1::RequestOutcome {
            outcome: Some(match result {
                RequestResult::Recorded(leaf) => v1::request_outcome::Outcome::LeafIndex(*leaf),
                RequestResult::Refused(refused) => v1::request_outcome::Outcome::Refusal(refusal(refused)),
            }),
        };
        let (first, count) = result.leaves;
        let wanted = if want_leaves { first..first + count } else { 0..0 };
        v1::SubmitReply {
            refusal: None,
            attested: Some(self.reader.attested(block)),
            outcomes: result.requests.iter().map(outcome).collect(),
            leaves: wanted.filter_map(|index| leaf(block, index)).collect(),
        }
    }
}

#[tonic::async_trait]
impl Coordinator for Api {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let v1::SubmitRequest { what, timeout_ms, want_leaves, patience_ms } = request.into_inner();
        let entry = match what {
            Some(v1::submit_request::What::Entry(bytes)) => match self.reader.replica.take(bytes, patience_ms).await {
                Ok(entry) => entry,
                Err(Untaken::Refused(refused)) => {
                    let reply = v1::SubmitReply { refusal: Some(refusal(&refused)), ..Default::default() };
                    return Ok(Response::new(reply));
                }
                Err(Untaken::Invalid(invalid)) => return Err(Status::invalid_argument(invalid.to_string())),
                Err(Untaken::Full(full)) => return Err(Status::resource_exhausted(full.to_string())),
            },
            Some(v1::submit_request::What::Digest(bytes)) => digest(&bytes, "digest")?,
            None => return Err(Status::invalid_argument("give an entry or the digest of one")),
        };
        let outcome = self.reader.replica.core().watch(entry);
        let timeout = Duration::from_millis(timeout_ms.min(WAIT_MS_MAX));
        let waited = tokio::select! {
            waited = tokio::time::timeout(timeout, outcome) => waited,
            () = self.reader.replica.stopped() => return Err(Status::unavailable("the coordinator is stopping")),
        };
        match waited {
            Ok(Ok(Outcome::Applied(block, place))) => Ok(Response::new(self.applied(&block, place, want_leaves))),
            Ok(Ok(Outcome::Refused(refused))) => {
                Ok(Response::new(v1::SubmitReply { refusal: Some(refusal(&refused)), ..Default::default() }))
            }
            Ok(Err(_)) => Err(Status::unavailable("the coordinator is stopping")),
            Err(_) => Err(Status::deadline_exceeded("the entry was not ordered in time; it may still be")),
        }
    }

    async fn lookup(&self, request: Request<v1::LookupRequest>) -> Result<Response<v1::LookupReply>, Status> {
        let id = digest(&request.into_inner().request_id, "request_id")?;
        let place = self.reader.replica.0.store.decided(&id).map_err(internal)?;
        let Some(place) = place else { return Ok(Response::new(v1::LookupReply::default())) };
        let block =
            self.reader.block(place.seq)?.ok_or_else(|| Status::internal("a decided request without its block"))?;
        let leaf = leaf(&block, place.leaf_index);
        let leaf = leaf.ok_or_else(|| Status::internal("a decided request without its leaf"))?;
        let record = dropbear_certificates::Record::from_bytes(&leaf.data);
        let record = record.map_err(|error| Status::internal(format!("a damaged record: {error}")))?;
        let models = self.reader.replica.0.store.model_set(&record.model_set).map_err(internal)?;
        Ok(Response::new(v1::LookupReply {
            attested: Some(self.reader.attested(&block)),
            leaf: Some(leaf),
            model_set: models.unwrap_or_default().into(),
        }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let faults = self.reader.replica.0.faults.lock().map(|faults| faults.last().cloned()).unwrap_or_default();
        let fatal = self.reader.replica.0.fatal.borrow().clone();
        let market = &self.reader.replica.0.market;
        let views = self.engine.upgrade().map(|engine| engine.status());
        let refused = views.and_then(|views| views.refused_version).map(|(member, version)| {
            format!("member {member} speaks version {version} between coordinators, which this one does not know")
        });
        let core = self.reader.replica.core();
        Ok(Response::new(v1::StatusReply {
            member: self.reader.member as u32,
            name: market.genesis.committee.members[self.reader.member].name.clone(),
            seq: core.chain().state().seq,
            agreed_ms: core.chain().state().agreed_ms,
            waiting_entries: core.pool_len() as u64,
            views_finalized: views.map_or(0, |views| views.views_finalized),
            views_nullified: views.map_or(0, |views| views.views_nullified),
            last_error: fatal.or(refused).or(faults).unwrap_or_default(),
            genesis: digest_bytes(&market.digest),
            role: match self.reader.replica.follows() {
                Some(_) => v1::Role::Follower.into(),
                None if self.reader.replica.has_begun() => v1::Role::Voter.into(),
                None => v1::Role::Asking.into(),
            },
            follows_because: self.reader.replica.follows().unwrap_or_default().to_owned(),
        }))
    }

    type FollowStream = Pin<Box<dyn Stream<Item = Result<v1::LedgerUpdate, Status>> + Send>>;

    async fn follow(&self, _: Request<v1::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let mut last: Option<Arc<Registry>> = None;
        let update = move |progress: Progress| {
            let same = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &progress.registry));
            let registry = (!same).then(|| registry_view(&progress.registry));
            last = Some(progress.registry);
            Ok(v1::LedgerUpdate { seq: progress.seq, agreed_ms: progress.agreed_ms, registry })
        };
        let updates = WatchStream::new(self.reader.replica.0.progress.subscribe()).map(update);
        let updates = updates.take_until(Box::pin(self.reader.replica.stopped()));
        Ok(Response::new(Box::pin(updates)))
    }
}
