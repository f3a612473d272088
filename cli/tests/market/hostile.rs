//! Owners and gateways that do not play by the rules, among real processes.

use std::net::SocketAddr;
use std::path::Path;

use crate::harness::{Folder, Up, classify, photo};
use bytes::Bytes;
use dropbear_certificates::request::{Field, input_digest};
use dropbear_certificates::{
    Assurance, Ballot, Digest, Origin, Request, RequestOpening, SecretKey, Seed, StatementType,
};
use dropbear_consensus::{Entry, Submission, SubmittedRequest};
use dropbear_model_node::{Model, ModelCard, ModelError, Node, NodeConfig, Output, Unusable};
use dropbear_wire::files::{read_genesis, read_key};
use dropbear_wire::{client, v1};
use serde_json::json;

const STRAWBERRY: u32 = 949;

/// A model that says the same of every picture.
struct Liar(ModelCard);

impl Model for Liar {
    type Input = ();
    type Preparer = ();
    type Session = ();

    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn preparer(&self) {}

    fn open(&self, _place: usize) -> Result<(), ModelError> {
        Ok(())
    }

    fn prepare(&self, (): &mut (), _: v1::Tensor) -> Result<(), Unusable> {
        Ok(())
    }

    fn infer(&self, (): &mut (), inputs: &[()]) -> Result<Vec<Output>, ModelError> {
        Ok(inputs.iter().map(|()| Output::Class { class: 7, bytes: Bytes::new() }).collect())
    }
}

async fn answer(folder: &Folder) -> serde_json::Value {
    let picture = std::fs::read(photo("imagenet_04_949.jpg")).unwrap();
    let (status, body) = classify(folder, "", picture).await;
    assert_eq!(status, 200, "{body}");
    body["results"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_owner_is_outvoted_and_shown() {
    let folder = Folder::init("imagenet");
    let config = NodeConfig::load(&folder.take_out("dogwood", "model-node.toml")).unwrap();
    let up = Up::start(&folder).await;
    let card = ModelCard {
        name: "oracle".into(),
        label: "1".into(),
        version: Digest::of(b"a model that knows nothing"),
        task: "image-classification",
        classes: Some(1000),
        backend: "none",
    };
    let node = Node::start(config.settings().unwrap(), Liar(card)).await.unwrap();
    node.ready().await;
    // An honest model and the liar: whoever is late, the honest three decide.
    let result = answer(&folder).await;
    assert_eq!(result["class"], json!(STRAWBERRY));
    let honest = result["tally"]["votes"][0]["owners"].as_array().unwrap();
    assert!(!honest.contains(&json!("dogwood")), "{result}");
    let supported = classify(&folder, "?assurance=robust", std::fs::read(photo("rocket.jpg")).unwrap()).await;
    assert_eq!(supported.0, 409, "a liar cannot turn a dispute into an answer");
    node.stop().await.unwrap();
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_owner_is_missing_and_a_hostile_gateway_gets_nothing() {
    let folder = Folder::init("imagenet");
    let config = NodeConfig::load(&folder.take_out("dogwood", "model-node.toml")).unwrap();
    // Accepts connections and never says a word.
    let listener = tokio::net::TcpListener::bind(config.listen).await.unwrap();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let up = Up::start(&folder).await;
    let result = answer(&folder).await;
    assert_eq!(result["class"], json!(STRAWBERRY));
    assert_eq!(result["tally"]["missing"], json!(["dogwood"]), "{result}");
    hostile_gateway(&folder).await;
    up.stop().await;
    silent.abort();
}

/// A registered gateway with its key and no scruples.
struct HostileGateway {
    key: SecretKey,
    genesis: Digest,
    charter: Digest,
    nodes: Vec<SocketAddr>,
    coordinator: SocketAddr,
}

impl HostileGateway {
    fn of(folder: &Folder) -> Self {
        let (genesis, _) = read_genesis(&folder.genesis()).unwrap();
        let address = |offset: u16| SocketAddr::from(([127, 0, 0, 1], folder.port_base + offset));
        let key: &Path = &folder.dir().join("gateway/gateway.key");
        Self {
            key: read_key(key).unwrap(),
            genesis: genesis.digest(),
            charter: genesis.charters[0].digest(),
            nodes: (300..303).map(address).collect(),
            coordinator: address(10),
        }
    }

    fn request(&self, nonce: u8, picture: &[u8]) -> (SubmittedRequest, Seed) {
        let seed = Seed([nonce; 32]);
        let input = input_digest("image", "BYTES", &[], picture);
        let expiry_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64 + 60_000;
        let request = Request {
            genesis: self.genesis,
            group: "imagenet".into(),
            key: self.key.public(),
            origin: Origin::GatewayMinted,
            nonce: [nonce; 16],
            commitment: RequestOpening::new(&seed, input).commitment(),
            expiry_ms,
            demand: Assurance::Robust,
        };
        (SubmittedRequest { request, signature: None, vote_salt: seed.salt(Field::Vote) }, seed)
    }

    /// Asks one owner about `picture` in the name of a request.
    async fn ask(
        &self,
        node: usize,
        request: &SubmittedRequest,
        seed: Seed,
        picture: &[u8],
    ) -> Result<Ballot, tonic::Status> {
        let input = v1::Tensor {
            name: "image".into(),
            datatype: "BYTES".into(),
            shape: vec![],
            data: Bytes::copy_from_slice(picture),
        };
        let item = v1::InferItem {
            request: request.request.statement().into(),
            signature: Bytes::new(),
            seed: Bytes::copy_from_slice(&seed.0),
            input: Some(input),
        };
        let call = v1::InferRequest {
            group: "imagenet".into(),
            charter: Bytes::copy_from_slice(self.charter.as_bytes()),
            items: vec![item],
            want_outputs: false,
        };
        let reply = client::model_node(self.nodes[node]).infer(call).await?.into_inner();
        Ok(Ballot::from_bytes(&reply.ballot).unwrap())
    }

    async fn submit(&self, request: &SubmittedRequest, ballots: Vec<Ballot>) -> Result<v1::SubmitReply, tonic::Status> {
        let submission = Submission::sign(
            StatementType::Submission,
            self.genesis,
            &self.key,
            "imagenet".into(),
            self.charter,
            vec![request.clone()],
            ballots,
        );
        let entry = Entry::Submission(Box::new(submission)).to_bytes();
        let what = Some(v1::submit_request::What::Entry(entry.into()));
        let call = v1::SubmitRequest { what, timeout_ms: 20_000, want_leaves: false, patience_ms: 0 };
        Ok(client::coordinator(self.coordinator).submit(call).await?.into_inner())
    }
}

async fn hostile_gateway(folder: &Folder) {
    let gateway = HostileGateway::of(folder);
    let one = std::fs::read(photo("imagenet_04_949.jpg")).unwrap();
    let other = std::fs::read(photo("imagenet_08_915.jpg")).unwrap();

    // Different inputs in the name of one request: the owner notices.
    let (request, seed) = gateway.request(1, &one);
    let refused = gateway.ask(0, &request, seed, &other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");

    // Different requests to different owners: their ballots do not add up.
    let (second, second_seed) = gateway.request(2, &other);
    let mut ballots = vec![gateway.ask(0, &request, seed, &one).await.unwrap()];
    ballots.push(gateway.ask(1, &second, second_seed, &other).await.unwrap());
    let refused = gateway.submit(&request, ballots.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");

    // A second outcome for a request that has one.
    let mut ballots = vec![ballots.swap_remove(0)];
    for node in 1..3 {
        ballots.push(gateway.ask(node, &request, seed, &one).await.unwrap());
    }
    let recorded = gateway.submit(&request, ballots.clone()).await.unwrap();
    assert!(recorded.refusal.is_none() && recorded.attested.is_some(), "{recorded:?}");
    ballots.reverse();
    let again = gateway.submit(&request, ballots).await.unwrap();
    assert_eq!(again.refusal.unwrap().code, "already-decided");
}
