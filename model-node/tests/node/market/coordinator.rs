//! A coordinator that orders alone: every entry becomes a block of the real ledger at once.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use dropbear_certificates::Genesis;
use dropbear_consensus::chain::check_entry;
use dropbear_consensus::{Chain, Checked, CheckedProposal, Entry, Executed, Market, Refused};
use dropbear_wire::registry::registry_view;
use dropbear_wire::v1::coordinator_server::{Coordinator as Service, CoordinatorServer};
use dropbear_wire::v1::{self, LedgerUpdate, submit_request};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::now_ms;

/// A running coordinator, and its ledger.
pub(crate) struct Coordinator {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
}

pub(crate) struct Ledger {
    chain: Mutex<Chain>,
    updates: watch::Sender<LedgerUpdate>,
    entries: Mutex<Vec<Entry>>,
}

impl Coordinator {
    pub(crate) async fn start(genesis: Genesis) -> Self {
        let chain = Chain::new(Arc::new(Market::new(genesis)), [0xff; 32]);
        let (updates, _) = watch::channel(update(&chain));
        let ledger = Arc::new(Ledger { chain: Mutex::new(chain), updates, entries: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = CoordinatorServer::new(Handler(Arc::clone(&ledger)));
        let router = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, ledger }
    }
}

impl Ledger {
    /// Orders one entry in a block of its own.
    pub(crate) fn order(&self, entry: Checked) -> Result<Arc<Executed>, Refused> {
        let mut chain = self.chain.lock().unwrap();
        let tip = chain.tip();
        let (proposal, refused) = chain.build(&tip, now_ms(), [&entry].into_iter());
        if let Some((_, refused)) = refused.first() {
            return Err(*refused);
        }
        let payload = proposal.unwrap().to_bytes();
        let block = [chain.state().seq as u8; 32];
        let genesis = chain.market().digest;
        let proposal =
            CheckedProposal::from_payload(&payload, |bytes| check_entry(bytes, &genesis).map(Arc::new)).unwrap();
        chain.execute(tip, block, &proposal, None).unwrap();
        let executed = chain.finalize(block).unwrap().unwrap();
        self.entries.lock().unwrap().push(entry.entry().clone());
        self.updates.send_replace(update(&chain));
        Ok(executed)
    }

    /// Waits until what was ordered is like this.
    pub(crate) async fn until(&self, is: impl Fn(&[Entry]) -> bool) {
        let mut updates = self.updates.subscribe();
        while !is(&self.entries()) {
            updates.changed().await.unwrap();
        }
    }

    /// Everything that was ordered.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }
}

fn update(chain: &Chain) -> LedgerUpdate {
    let state = chain.state();
    LedgerUpdate { seq: state.seq, agreed_ms: state.agreed_ms, registry: Some(registry_view(&state.registry)) }
}

struct Handler(Arc<Ledger>);

#[tonic::async_trait]
impl Service for Handler {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<LedgerUpdate, Status>> + Send>>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let Some(submit_request::What::Entry(bytes)) = request.into_inner().what else {
            return Err(Status::unimplemented("entries only"));
        };
        let genesis = self.0.chain.lock().unwrap().market().digest;
        let entry = check_entry(&bytes, &genesis).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut reply = v1::SubmitReply::default();
        match self.0.order(entry) {
            Ok(executed) => {
                let header = executed.header.to_bytes().into();
                reply.attested = Some(v1::Attested { header, member: 0, signature: Default::default() });
            }
            Err(refused) => {
                reply.refusal = Some(v1::Refusal { message: refused.to_string(), ..v1::Refusal::default() });
            }
        }
        Ok(Response::new(reply))
    }

    async fn follow(&self, _: Request<v1::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let updates = WatchStream::new(self.0.updates.subscribe());
        Ok(Response::new(Box::pin(updates.map(Ok))))
    }

    async fn lookup(&self, _: Request<v1::LookupRequest>) -> Result<Response<v1::LookupReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}
