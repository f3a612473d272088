//! A node in its market: it makes its version current, follows the ledger, and stops in good order.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, mpsc};

use crate::market::models::{IDENTITY_MANIFEST, Scripted, class, identity, vote_for};
use crate::market::{GROUP, Market, bytes, now_ms, owner, send, write_genesis_and_key};
use bytes::Bytes;
use dropbear_certificates::Digest;
use dropbear_consensus::{Activate, Entry, Publish};
use dropbear_model_node::{Model, Node, NodeConfig, NodeError, serve};
use dropbear_wire::client;
use dropbear_wire::v1::{DescribeReply, DescribeRequest};
use tonic::Code;

async fn describe(address: SocketAddr) -> DescribeReply {
    client::model_node(address).describe(DescribeRequest {}).await.unwrap().into_inner()
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_node_publishes_and_activates_its_version_once() {
    let market = Market::open("identity", 10).await;
    let model = identity();
    let version = model.card().version;
    let node = market.node(model).await;
    let described = describe(node.address()).await;
    assert!(described.ready, "{}", described.problem);
    assert_eq!((described.owner.as_str(), described.version.as_ref()), ("acme", version.as_bytes().as_slice()));
    node.stop().await.unwrap();
    let node = market.node(identity()).await;
    node.stop().await.unwrap();
    let entries = market.coordinator.ledger.entries();
    assert!(
        matches!(&entries[..], [Entry::Register(..), Entry::Publish(publish, _), Entry::Activate(activate, _)]
            if publish.version == version && activate.version == version && activate.serial > publish.serial),
        "{entries:?}"
    );
}

#[tokio::test]
async fn a_node_whose_version_is_superseded_gives_no_ballots_and_does_not_fight() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let genesis = market.genesis.digest();
    let (owner_key, group, version) = (owner().public(), GROUP.to_owned(), Digest::of(b"next"));
    let serial = now_ms() + 30_000;
    let (model, label) = ("echo".into(), "2".into());
    let publish = Publish { genesis, owner: owner_key, serial, group: group.clone(), model, label, version };
    let activate = Activate { genesis, owner: owner_key, serial: serial + 1, group, version, from_seq: 0 };
    let ledger = &market.coordinator.ledger;
    ledger.order(publish.sign(&owner()).check(&genesis).unwrap()).unwrap();
    ledger.order(activate.sign(&owner()).check(&genesis).unwrap()).unwrap();
    // The update reaches the node when it reaches the node.
    let mut nonce = 0;
    let status = loop {
        nonce += 1;
        match market.infer(node.address(), &[market.ask(nonce, bytes("one"))]).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("not activated"), "{status}");
    assert!(!describe(node.address()).await.ready);
    node.stop().await.unwrap();
    assert_eq!(ledger.entries().len(), 5, "the node did not activate its version again");
}

#[tokio::test]
async fn an_update_loses_no_request_and_every_ballot_names_the_version_that_made_it() {
    let market = Market::open("identity", 10).await;
    let version = |name, vote| Scripted::new(move |inputs: &[Bytes]| Ok(vec![class(vote); inputs.len()])).version(name);
    market.node(version("old", 1)).await.stop().await.unwrap();
    let node = Node::start_updating(market.settings(), Some(version("old", 1)), version("new", 2)).await.unwrap();
    node.ready().await;
    let mut named = Vec::new();
    // The update reaches the node when it reaches the node.
    for nonce in (0..=u8::MAX).cycle() {
        let answer = market.infer(node.address(), &[market.ask(nonce, bytes("one"))]).await.unwrap();
        named.push((answer.ballot.statement.version, answer.ballot.answers[0].vote.clone()));
        if named.last() == Some(&(Digest::of(b"new"), vote_for(2))) {
            break;
        }
    }
    named.pop();
    assert!(named.iter().all(|named| *named == (Digest::of(b"old"), vote_for(1))), "{named:?}");
}

#[tokio::test]
async fn a_dead_coordinator_is_passed_over() {
    let market = Market::open("identity", 10).await;
    let mut settings = market.settings();
    settings.coordinators.insert(0, nobody());
    let node = Node::start(settings, identity()).await.unwrap();
    node.ready().await;
    market.infer(node.address(), &[market.ask(1, bytes("one"))]).await.unwrap();
}

#[tokio::test]
async fn without_coordinators_a_node_says_what_is_missing() {
    let market = Market::open("identity", 10).await;
    let mut settings = market.settings();
    settings.coordinators = vec![nobody()];
    let node = Node::start(settings, identity()).await.unwrap();
    let status = market.infer(node.address(), &[market.ask(1, bytes("one"))]).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(describe(node.address()).await.problem.contains("check that the configured coordinators are running"));
}

#[tokio::test]
async fn a_model_of_another_task_is_not_ready() {
    let market = Market::open("image-classification", 10).await;
    let node = Node::start(market.settings(), identity()).await.unwrap();
    let mut problem = String::new();
    while !problem.contains("serve a model of that task") {
        problem = describe(node.address()).await.problem;
    }
    assert!(market.coordinator.ledger.entries().is_empty());
}

#[tokio::test]
async fn a_stopping_node_finishes_what_it_has_begun() {
    let market = Market::open("identity", 10).await;
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let node = market.node(Scripted::new(move |inputs: &[Bytes]| {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Ok(inputs.iter().map(|_| class(3)).collect())
    }));
    let node = node.await;
    let (address, asked) = (node.address(), [market.ask(1, bytes("one"))]);
    let inferring = tokio::spawn(send(address, market.batch(&asked), Box::leak(Box::new(asked))));
    tokio::task::spawn_blocking(move || has_entered.recv().unwrap()).await.unwrap();
    let stopping = tokio::spawn(node.stop());
    release.send(()).unwrap();
    let answer = inferring.await.unwrap().unwrap();
    assert_eq!(answer.ballot.answers[0].vote, vote_for(3));
    stopping.await.unwrap().unwrap();
    // The journal is free again.
    Node::start(market.settings(), identity()).await.unwrap();
}

fn write_config(market: &Market) -> NodeConfig {
    write_genesis_and_key(market);
    let folder = market.folder.path();
    std::fs::write(folder.join("echo.toml"), IDENTITY_MANIFEST).unwrap();
    let text = format!(
        "owner = \"acme\"\ngroup = \"group\"\ngenesis = \"genesis.json\"\nkey = \"owner.key\"\nlisten = \
         \"127.0.0.1:0\"\ncoordinators = [\"{}\"]\nmanifest = \"echo.toml\"\ndata_dir = \"data\"\n",
        market.coordinator.address
    );
    std::fs::write(folder.join("node.toml"), text).unwrap();
    NodeConfig::load(&folder.join("node.toml")).unwrap()
}

#[tokio::test]
async fn a_node_runs_from_its_configuration_file() {
    let market = Market::open("identity", 10).await;
    let config = write_config(&market);
    let node = Node::from_config(config.clone()).await.unwrap();
    node.ready().await;
    market.infer(node.address(), &[market.ask(1, bytes("one"))]).await.unwrap();
    node.stop().await.unwrap();
    serve(config, async {}, |_| ()).await.unwrap();
}

#[tokio::test]
async fn internal_services_listen_on_loopback_only() {
    let market = Market::open("identity", 10).await;
    let mut settings = market.settings();
    settings.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Node::start(settings, identity()).await, Err(NodeError::Listen(_))));
}
