//! A node in its market: it makes its version current, follows the ledger, and stops in good order.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::market::models::{IDENTITY_MANIFEST, Scripted, class, identity, vote_for};
use crate::market::{Market, bytes, send, write_genesis_and_key};
use bytes::Bytes;
use dropbear_consensus::Entry;
use dropbear_model_node::{Model, Node, NodeConfig, NodeError, serve};
use dropbear_wire::client;
use dropbear_wire::v1::{DescribeReply, DescribeRequest};
use tonic::Code;

pub(crate) async fn describe(address: SocketAddr) -> DescribeReply {
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
async fn a_worker_that_hangs_costs_its_batch_and_nothing_else() {
    let market = Market::open("identity", 10).await;
    let mut settings = market.settings();
    settings.timeouts.infer = Duration::from_millis(50);
    let (_never, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let hanging = Scripted::new(move |inputs: &[Bytes]| {
        if inputs.contains(&Bytes::from_static(b"hang")) {
            // Ends with an error when the test is over.
            let _ = waits.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        Ok(inputs.iter().map(|_| class(3)).collect())
    });
    let node = Node::start(settings, hanging).await.unwrap();
    node.ready().await;
    let hung = market.infer(node.address(), &[market.ask(1, bytes("hang"))]).await.unwrap_err();
    assert_eq!(hung.code(), Code::Unavailable, "{hung}");
    for nonce in 2..6 {
        let answer = market.infer(node.address(), &[market.ask(nonce, bytes("good"))]).await.unwrap();
        assert_eq!(answer.ballot.answers[0].vote, vote_for(3));
    }
}

#[tokio::test]
async fn internal_services_listen_on_loopback_only() {
    let market = Market::open("identity", 10).await;
    let mut settings = market.settings();
    settings.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Node::start(settings, identity()).await, Err(NodeError::Listen(_))));
}
