//! A market of one owner: its genesis, a coordinator that keeps a real ledger, models, and what a gateway sends.

pub(crate) mod coordinator;
pub(crate) mod models;
pub(crate) mod owner;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dropbear_certificates::charter::Seat;
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::genesis_json::{LabelTables, to_json};
use dropbear_certificates::request::{Field, input_digest};
use dropbear_certificates::{
    Assurance, Ballot, Charter, Committee, Digest, Genesis, Origin, Policy, Request, RequestOpening, SecretKey, Seed,
};
use dropbear_model_node::batcher::Limits;
use dropbear_model_node::pool::{Threads, Timeouts};
use dropbear_model_node::{Model, Node, Settings};
use dropbear_wire::client;
use dropbear_wire::files::write_seed;
use dropbear_wire::v1::{InferItem, InferReply, InferRequest, Tensor};
use tempfile::TempDir;

pub(crate) use coordinator::Coordinator;
pub(crate) use owner::Desk;

pub(crate) const OWNER: &str = "acme";
pub(crate) const GROUP: &str = "group";

fn seed(role: u8, place: u8) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place]);
    seed
}

pub(crate) fn key(role: u8, place: u8) -> SecretKey {
    SecretKey::from_seed(&seed(role, place))
}

fn owner_seed() -> [u8; 32] {
    seed(1, 0)
}

pub(crate) fn owner() -> SecretKey {
    SecretKey::from_seed(&owner_seed())
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

pub(crate) fn genesis(task: &str, classes: u32) -> Genesis {
    let seat = Seat { owner: OWNER.into(), key: owner().public(), party: String::new(), lineage: String::new() };
    let member = |place: u8| Member {
        name: format!("coordinator-{place}"),
        attestation: key(2, place).public(),
        engine: key(3, place).public(),
    };
    Genesis {
        market: "test".into(),
        created_ms: now_ms(),
        rules: Rules { request_lifetime_ms_max: 600_000, clock_skew_ms_max: 5_000 },
        committee: Committee { epoch: 0, members: (0..4).map(member).collect() },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: key(4, 0).public() }],
        charters: vec![Charter {
            group: GROUP.into(),
            task: task.into(),
            classes,
            labels: None,
            roster: vec![seat],
            policy: if task == "identity" { Policy::Exact { quorum: 1 } } else { Policy::Plurality },
            faults: 0,
            assurance: Assurance::Supported,
            notice_blocks: 1,
            approvals: 1,
            fee: 0,
        }],
    }
}

/// A market in which nodes can be started.
pub(crate) struct Market {
    pub(crate) genesis: Genesis,
    pub(crate) coordinator: Coordinator,
    pub(crate) folder: TempDir,
}

impl Market {
    pub(crate) async fn open(task: &str, classes: u32) -> Self {
        Self::under(task, classes, |_| ()).await
    }

    /// A market whose charter is changed before it opens.
    pub(crate) async fn under(task: &str, classes: u32, change: impl FnOnce(&mut Charter)) -> Self {
        let mut genesis = genesis(task, classes);
        change(&mut genesis.charters[0]);
        let coordinator = Coordinator::start(genesis.clone()).await;
        Self { genesis, coordinator, folder: TempDir::new().unwrap() }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            owner: OWNER.into(),
            key: Arc::new(owner()),
            next_key: None,
            group: GROUP.into(),
            genesis: self.genesis.clone(),
            metrics_listen: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            coordinators: vec![self.coordinator.address],
            data_dir: self.data_dir().join("data"),
            journal_of: None,
            endpoints: None,
            memory_bytes_max: None,
            spare_versions: 1,
            limits: Limits { batch_size_max: 4, batch_delay_us: 100, queue_items_max: 16 },
            threads: Threads { decode: 2, workers: 2 },
            timeouts: Timeouts { infer: Duration::from_secs(30), load: Duration::from_secs(30) },
        }
    }

    /// A node that is ready.
    pub(crate) async fn node(&self, model: impl Model) -> Node {
        let node = Node::start(self.settings(), model).await.unwrap();
        node.ready().await;
        node
    }

    pub(crate) fn ask(&self, nonce: u8, tensor: Tensor) -> Asked {
        let seed = Seed([nonce; 32]);
        let input = input_digest(&tensor.name, &tensor.datatype, &tensor.shape, &tensor.data);
        let request = Request {
            genesis: self.genesis.digest(),
            group: GROUP.into(),
            key: key(5, 0).public(),
            origin: Origin::ClientSigned,
            nonce: [nonce; 16],
            commitment: RequestOpening::new(&seed, input).commitment(),
            expiry_ms: self.genesis.created_ms + 60_000,
            demand: Assurance::Supported,
        };
        Asked { request, seed, tensor }
    }

    pub(crate) fn batch(&self, asked: &[Asked]) -> InferRequest {
        InferRequest {
            group: GROUP.into(),
            charter: Bytes::copy_from_slice(self.genesis.charters[0].digest().as_bytes()),
            items: asked.iter().map(Asked::item).collect(),
            want_outputs: true,
        }
    }

    /// What the node at `address` answers.
    pub(crate) async fn infer(&self, address: SocketAddr, asked: &[Asked]) -> Result<Answer, tonic::Status> {
        send(address, self.batch(asked), asked).await
    }
}

/// A request that a client asks, with what the gateway must know to pass it on.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) seed: Seed,
    pub(crate) tensor: Tensor,
}

impl Asked {
    fn item(&self) -> InferItem {
        InferItem {
            request: self.request.statement().into(),
            signature: self.request.sign(&key(5, 0)).to_vec().into(),
            seed: Bytes::copy_from_slice(&self.seed.0),
            input: Some(self.tensor.clone()),
        }
    }

    pub(crate) fn salt(&self, field: Field) -> Digest {
        self.seed.salt(field)
    }
}

/// A reply whose ballot checks.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ballot: Ballot,
    pub(crate) reply: InferReply,
}

/// Sends a batch to a node, and checks the ballot as every coordinator does.
pub(crate) async fn send(address: SocketAddr, request: InferRequest, asked: &[Asked]) -> Result<Answer, tonic::Status> {
    let reply = client::model_node(address).infer(request).await?.into_inner();
    let ballot = Ballot::from_bytes(&reply.ballot).unwrap();
    let salted: Vec<_> = asked.iter().map(|asked| (asked.request.id(), asked.salt(Field::Vote))).collect();
    ballot.check(salted.iter().map(|(id, salt)| (id, salt))).unwrap();
    Ok(Answer { ballot, reply })
}

/// Bytes under any name.
pub(crate) fn bytes(data: &str) -> Tensor {
    let data = Bytes::copy_from_slice(data.as_bytes());
    Tensor { name: "bytes".into(), datatype: "UINT8".into(), shape: vec![data.len() as u64], data }
}

/// Writes the market's `genesis.json` and the owner's key file into its folder; gives their paths.
pub(crate) fn write_genesis_and_key(market: &Market) -> (PathBuf, PathBuf) {
    let (genesis, owner_key) = (market.folder.path().join("genesis.json"), market.folder.path().join("owner.key"));
    std::fs::write(&genesis, to_json(&market.genesis, &LabelTables::new())).unwrap();
    write_seed(&owner_key, &owner_seed()).unwrap();
    (genesis, owner_key)
}
