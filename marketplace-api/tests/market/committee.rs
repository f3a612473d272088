//! A committee whose members share one ledger: each orders nothing, but attests with its own key.

mod reading;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dropbear_certificates::{Charter, Digest, Genesis, Header};
use dropbear_consensus::chain::check_entry;
use dropbear_consensus::{
    Activate, Chain, Checked, CheckedProposal, Executed, Market, Publish, Refused, Register, RequestResult,
};
use dropbear_wire::convert::refusal;
use dropbear_wire::registry::registry_view;
use dropbear_wire::v1;
use dropbear_wire::v1::coordinator_server::{Coordinator, CoordinatorServer};
use dropbear_wire::v1::ledger_server::LedgerServer;
use dropbear_wire::v1::submit_request::What;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tonic::{Response, Status};

use super::{key, now_ms, owner, version};

/// Owners that a test may have, also such as join later.
const OWNERS_MAX: usize = 6;

/// How a coordinator behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    Honest,
    /// Refuses every connection.
    Dead,
    /// Takes connections and never answers.
    Mute,
    /// Attests with a key that is not its own.
    Forger,
    /// Refuses every submission.
    Refuser,
    /// Sends leaves that are not in the block.
    LeafForger,
    /// Says what became of an entry this many milliseconds after it is in a block.
    Slow(u64),
}

struct State {
    chain: Chain,
    blocks: u64,
    /// Blocks by seq.
    executed: BTreeMap<u64, Arc<Executed>>,
    /// Entries: the block, and the place in it.
    entries: BTreeMap<Digest, (u64, usize)>,
    refused: BTreeMap<Digest, v1::Refusal>,
    serial: u64,
    /// Which version each owner's node serves.
    served: [u8; OWNERS_MAX],
    /// Each block as it was ordered.
    payloads: BTreeMap<u64, Vec<u8>>,
}

/// The one ledger, which every coordinator shows.
pub(crate) struct Ledger {
    state: Mutex<State>,
    updates: watch::Sender<v1::LedgerUpdate>,
    /// Changes with every submission, so that waiters look again.
    news: watch::Sender<u64>,
    /// How often each owner's nodes were asked, and how often they answered.
    asked: watch::Sender<[u32; OWNERS_MAX]>,
    answered: watch::Sender<[u32; OWNERS_MAX]>,
}

impl Ledger {
    pub(crate) fn start(genesis: Genesis) -> Arc<Self> {
        let chain = Chain::new(Arc::new(Market::new(genesis)), [0xff; 32]);
        let state = State {
            chain,
            blocks: 0,
            executed: BTreeMap::new(),
            entries: BTreeMap::new(),
            refused: BTreeMap::new(),
            serial: 0,
            served: [0; OWNERS_MAX],
            payloads: BTreeMap::new(),
        };
        let updates = watch::Sender::new(state.update());
        let counts = || watch::Sender::new([0; OWNERS_MAX]);
        let (news, asked, answered) = (watch::Sender::new(0), counts(), counts());
        Arc::new(Self { state: Mutex::new(state), updates, news, asked, answered })
    }

    pub(crate) fn count_ask(&self, place: usize) {
        self.asked.send_modify(|asked| asked[place] += 1);
    }

    /// How often each owner's nodes were asked.
    pub(crate) fn asked(&self) -> [u32; 4] {
        *self.asked.borrow().first_chunk().unwrap()
    }

    /// Returns once the owner's node has been asked.
    pub(crate) async fn has_been_asked(&self, place: usize) {
        self.asked.subscribe().wait_for(|asked| asked[place] > 0).await.unwrap();
    }

    /// The charter of a group that is in force in the next block.
    pub(crate) fn charter(&self, group: &str) -> Charter {
        let state = self.state.lock().unwrap();
        let (registry, seq) = (&state.chain.state().registry, state.chain.state().seq);
        (*registry.group(group).unwrap().term(seq + 1).unwrap().charter).clone()
    }

    /// What the owner at `place` did in a group.
    pub(crate) fn account(&self, group: &str, place: usize) -> dropbear_consensus::Account {
        self.state.lock().unwrap().chain.state().accounts.get(group, &owner(place).public())
    }

    /// Returns once the ledger is as `holds` says.
    pub(crate) async fn comes_to(&self, holds: impl Fn(&dropbear_consensus::State) -> bool) {
        let mut news = self.news.subscribe();
        while !holds(self.state.lock().unwrap().chain.state()) {
            news.changed().await.unwrap();
        }
    }

    /// Makes blocks that change nothing that matters, until the ledger stands at `seq`.
    pub(crate) fn pass_to(&self, seq: u64) {
        while self.seq() < seq {
            self.register("echo", 0);
        }
    }

    pub(crate) fn count_answer(&self, place: usize) {
        self.answered.send_modify(|answered| answered[place] += 1);
    }

    /// Returns once the owner's node has answered.
    pub(crate) async fn has_answered(&self, place: usize) {
        self.answered.subscribe().wait_for(|answered| answered[place] > 0).await.unwrap();
    }

    pub(crate) fn genesis(&self) -> Digest {
        self.state.lock().unwrap().chain.market().digest
    }

    pub(crate) fn seq(&self) -> u64 {
        self.state.lock().unwrap().chain.state().seq
    }

    /// Which version the owner's node serves.
    pub(crate) fn served(&self, place: usize) -> u8 {
        self.state.lock().unwrap().served[place]
    }

    /// The owner's node serves another version from now on.
    pub(crate) fn serve_version(&self, place: usize, version: u8) {
        self.state.lock().unwrap().served[place] = version;
    }

    /// Publishes and activates version 0 of every owner in a group.
    pub(crate) fn publish_all(&self, group: &str) {
        for place in 0..4 {
            self.register(group, place);
            self.publish(group, place, 0);
            self.activate(group, place, 0);
        }
    }

    pub(crate) fn serial(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.serial += 1;
        state.serial
    }

    /// Nothing for an owner's first model of a group, else what makes the name of the next one another.
    fn another(&self, dash: &str, group: &str, place: usize) -> String {
        let state = self.state.lock().unwrap();
        let holding = state.chain.state().registry.group(group).and_then(|group| group.holding(&owner(place).public()));
        let models = holding.map_or(0, |holding| holding.models.len());
        if models == 0 { String::new() } else { format!("{dash}{models}") }
    }

    fn register(&self, group: &str, place: usize) {
        let register = Register {
            genesis: self.genesis(),
            owner: owner(place).public(),
            serial: self.serial(),
            group: group.into(),
            model: format!("model-{place}{}", self.another("-", group, place)),
            licence: "Apache-2.0".into(),
            lineage: String::new(),
        };
        self.apply(&register.sign(&owner(place)).check(&self.genesis()).unwrap()).unwrap();
    }

    pub(crate) fn publish(&self, group: &str, place: usize, of: u8) {
        let publish = Publish {
            genesis: self.genesis(),
            owner: owner(place).public(),
            serial: self.serial(),
            group: group.into(),
            model: format!("model-{place}"),
            label: format!("v{of}"),
            version: version(place, of),
        };
        self.apply(&publish.sign(&owner(place)).check(&self.genesis()).unwrap()).unwrap();
    }

    pub(crate) fn activate(&self, group: &str, place: usize, of: u8) {
        let activate = Activate {
            genesis: self.genesis(),
            owner: owner(place).public(),
            serial: self.serial(),
            group: group.into(),
            version: version(place, of),
            from_seq: 0,
        };
        self.apply(&activate.sign(&owner(place)).check(&self.genesis()).unwrap()).unwrap();
    }

    /// One block with this entry, unless it is refused.
    pub(crate) fn apply(&self, entry: &Checked) -> Result<(), Refused> {
        let outcome = self.state.lock().unwrap().apply(entry);
        self.updates.send_replace(self.state.lock().unwrap().update());
        self.news.send_modify(|news| *news += 1);
        outcome
    }
}

impl State {
    fn apply(&mut self, entry: &Checked) -> Result<(), Refused> {
        if self.entries.contains_key(&entry.digest()) {
            return Ok(());
        }
        let (proposal, refused) = self.chain.build(&self.chain.tip(), now_ms(), [entry].into_iter());
        if let Some((digest, reason)) = refused.into_iter().next() {
            self.refused.insert(digest, refusal(&reason));
            return Err(reason);
        }
        self.blocks += 1;
        let (block, genesis) = (Digest::of(&self.blocks.to_be_bytes()).0, self.chain.market().digest);
        let payload = proposal.unwrap().to_bytes();
        let check = |bytes: &[u8]| Ok(Arc::new(check_entry(bytes, &genesis)?));
        let proposal = CheckedProposal::from_payload(&payload, check).unwrap();
        self.chain.execute(self.chain.tip(), block, &proposal, Some(now_ms())).unwrap();
        let executed = self.chain.finalize(block).unwrap().unwrap();
        self.entries.insert(entry.digest(), (executed.header.seq, 0));
        self.refused.remove(&entry.digest());
        self.payloads.insert(executed.header.seq, payload);
        self.executed.insert(executed.header.seq, executed);
        Ok(())
    }

    fn update(&self) -> v1::LedgerUpdate {
        let state = self.chain.state();
        let registry = Some(registry_view(&state.registry));
        v1::LedgerUpdate { seq: state.seq, agreed_ms: state.agreed_ms, registry }
    }
}

struct Member {
    ledger: Arc<Ledger>,
    place: usize,
    conduct: Conduct,
}

pub(crate) async fn serve(ledger: Arc<Ledger>, place: usize, conduct: Conduct) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if conduct != Conduct::Dead {
        let member = Arc::new(Member { ledger, place, conduct });
        let server = tonic::transport::Server::builder().add_service(CoordinatorServer::from_arc(Arc::clone(&member)));
        let server = server.add_service(LedgerServer::from_arc(member));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    }
    address
}

impl Member {
    fn attested(&self, header: &Header) -> v1::Attested {
        let signer = if self.conduct == Conduct::Forger { key(9, 9) } else { key(2, self.place) };
        let signature = header.attest(&signer);
        v1::Attested {
            header: header.to_bytes().into(),
            member: self.place as u32,
            signature: Bytes::copy_from_slice(&signature),
        }
    }

    fn leaf(&self, executed: &Executed, index: u64) -> v1::Leaf {
        let path = executed.tree.path(index).unwrap();
        let mut data = executed.leaves[index as usize].clone();
        if self.conduct == Conduct::LeafForger {
            *data.last_mut().unwrap() ^= 1;
        }
        let path: Vec<u8> = path.iter().flat_map(|node| node.0).collect();
        v1::Leaf { index, data: data.into(), path: path.into() }
    }

    fn reply(&self, digest: &Digest, want_leaves: bool) -> Option<v1::SubmitReply> {
        let state = self.ledger.state.lock().unwrap();
        if let Some(refusal) = state.refused.get(digest) {
            return Some(v1::SubmitReply { refusal: Some(refusal.clone()), ..Default::default() });
        }
        let (seq, place) = state.entries.get(digest)?;
        let executed = &state.executed[seq];
        let result = &executed.results[*place];
        let outcome = |result: &RequestResult| v1::RequestOutcome {
            outcome: Some(match result {
                RequestResult::Recorded(leaf) => v1::request_outcome::Outcome::LeafIndex(*leaf),
                RequestResult::Refused(reason) => v1::request_outcome::Outcome::Refusal(refusal(reason)),
            }),
        };
        let leaves = if want_leaves { result.leaves.0..result.leaves.0 + result.leaves.1 } else { 0..0 };
        Some(v1::SubmitReply {
            refusal: None,
            attested: Some(self.attested(&executed.header)),
            outcomes: result.requests.iter().map(outcome).collect(),
            leaves: leaves.map(|index| self.leaf(executed, index)).collect(),
        })
    }
}

#[tonic::async_trait]
impl Coordinator for Member {
    async fn submit(&self, request: tonic::Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        if self.conduct == Conduct::Mute {
            std::future::pending::<()>().await;
        }
        let request = request.into_inner();
        let refused = |code: &str| {
            let refusal = v1::Refusal { code: code.into(), message: code.into(), ..Default::default() };
            Ok(Response::new(v1::SubmitReply { refusal: Some(refusal), ..Default::default() }))
        };
        if self.conduct == Conduct::Refuser {
            return refused("unknown-gateway");
        }
        let digest = match request.what.unwrap() {
            What::Entry(bytes) => {
                let checked = check_entry(&bytes, &self.ledger.genesis())
                    .map_err(|error| Status::invalid_argument(error.to_string()))?;
                let _ = self.ledger.apply(&checked);
                checked.digest()
            }
            What::Digest(digest) => Digest::from_slice(&digest).unwrap(),
        };
        let mut news = self.ledger.news.subscribe();
        let wait = async {
            loop {
                if let Some(reply) = self.reply(&digest, request.want_leaves) {
                    return reply;
                }
                news.changed().await.unwrap();
            }
        };
        match timeout(Duration::from_millis(request.timeout_ms), wait).await {
            Ok(reply) => {
                if let Conduct::Slow(after_ms) = self.conduct {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                }
                Ok(Response::new(reply))
            }
            Err(_) => refused("timeout"),
        }
    }

    async fn lookup(&self, request: tonic::Request<v1::LookupRequest>) -> Result<Response<v1::LookupReply>, Status> {
        if self.conduct == Conduct::Mute {
            std::future::pending::<()>().await;
        }
        let id = Digest::from_slice(&request.get_ref().request_id).unwrap();
        let state = self.ledger.state.lock().unwrap();
        let place = state.executed.values().find_map(|executed| executed.decided.get(&id).map(|decided| decided.place));
        let Some(place) = place else { return Ok(Response::new(v1::LookupReply::default())) };
        let executed = &state.executed[&place.seq];
        let record = dropbear_certificates::Record::from_bytes(&executed.leaves[place.leaf_index as usize]).unwrap();
        let models = executed.state.registry.group(&record.group).unwrap().model_set(place.seq);
        Ok(Response::new(v1::LookupReply {
            attested: Some(self.attested(&executed.header)),
            leaf: Some(self.leaf(executed, place.leaf_index)),
            model_set: models.to_bytes().into(),
        }))
    }

    async fn status(&self, _: tonic::Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Ok(Response::new(v1::StatusReply::default()))
    }

    type FollowStream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::LedgerUpdate, Status>> + Send>>;

    async fn follow(&self, _: tonic::Request<v1::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        if self.conduct == Conduct::Mute {
            std::future::pending::<()>().await;
        }
        let updates = WatchStream::new(self.ledger.updates.subscribe());
        Ok(Response::new(Box::pin(updates.map(Ok))))
    }
}
