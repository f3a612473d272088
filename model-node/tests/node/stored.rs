//! A node whose versions lie in its store: numbers, weights that are broken or swapped, and what the ledger hears of it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::{Digest, Policy, Vote};
use dropbear_consensus::Entry;
use dropbear_model_node::node::STORE_FOLDER;
use dropbear_model_node::{Node, NodeConfig};
use dropbear_models::Store;
use dropbear_models::backend::linear::artefact;
use dropbear_wire::v1::Tensor;

use crate::market::{Desk, Market, write_genesis_and_key};

const TENSOR: TensorBounds = TensorBounds { length: 1, fraction_bits: 4, min: -1600, max: 1600 };

pub(crate) async fn market() -> Market {
    Market::under("regression", 1, |charter| charter.policy = Policy::Median { tensor: TENSOR }).await
}

/// Writes the model y = `factor` x, or one with these weights, as its owner has it.
pub(crate) fn write_model(folder: &Path, factor: f32, weights: Option<&[u8]>) -> PathBuf {
    let folder = folder.join(format!("times-{factor}"));
    std::fs::create_dir_all(&folder).unwrap();
    let weights = weights.map_or_else(|| artefact(&[factor], &[0.0]), <[u8]>::to_vec);
    let card =
        "---\nlicense: mit\npipeline_tag: regression\ninputs: x\noutputs: a multiple of x\nbase_model: none\n---\n";
    let (digest, card_digest) = (blake3::hash(&weights), blake3::hash(card.as_bytes()));
    let manifest = format!(
        "name = \"times\"\ntask = \"regression\"\nbackend = \"linear\"\nlicence = \"MIT\"\nlineage = \"none\"\n\
         artefact = {{ file = \"weights\", blake3 = \"{digest}\" }}\n\
         card = {{ file = \"card.md\", blake3 = \"{card_digest}\" }}\n\
         input = {{ tensor = \"x\", shape = [1] }}\noutput = {{ tensor = \"y\", length = 1 }}\n"
    );
    for (name, bytes) in [("weights", &weights[..]), ("card.md", card.as_bytes()), ("model.toml", manifest.as_bytes())]
    {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    folder.join("model.toml")
}

/// A node's configuration in a data folder of its own.
pub(crate) fn config(market: &Market, data_dir: &str, more: &str) -> NodeConfig {
    let folder = market.data_dir();
    if !folder.join("genesis.json").exists() {
        write_genesis_and_key(market);
    }
    let text = format!(
        "owner = \"acme\"\ngroup = \"group\"\ngenesis = \"genesis.json\"\nkey = \"owner.key\"\nlisten = \
         \"127.0.0.1:0\"\ncoordinators = [\"{}\"]\ndata_dir = \"{data_dir}\"\n{more}\n",
        market.coordinator.address
    );
    let path = folder.join(format!("{data_dir}.toml"));
    std::fs::write(&path, text).unwrap();
    NodeConfig::load(&path).unwrap()
}

pub(crate) fn number(value: f32) -> Tensor {
    let data = Bytes::copy_from_slice(&value.to_le_bytes());
    Tensor { name: "x".into(), datatype: "FP32".into(), shape: vec![1], data }
}

/// Asks for a multiple of one until it is `factor`; gives the factors before.
async fn ask_until(market: &Market, node: &Node, factor: i64) -> Vec<Vote> {
    let mut before = Vec::new();
    for nonce in (0..=u8::MAX).cycle() {
        let answer = market.infer(node.address(), &[market.ask(nonce, number(1.0))]).await.unwrap();
        let vote = answer.ballot.answers[0].vote.clone();
        if vote == Vote::Tensor(vec![factor * 16]) {
            break;
        }
        before.push(vote);
    }
    before
}

fn withdrawals(entries: &[Entry]) -> Vec<(Digest, String)> {
    let of = |entry: &Entry| match entry {
        Entry::Withdraw(withdraw, _) => Some((withdraw.version, withdraw.reason.clone())),
        _ => None,
    };
    entries.iter().filter_map(of).collect()
}

#[tokio::test]
async fn versions_come_into_the_store_and_into_force_and_broken_ones_are_withdrawn_with_the_reason() {
    let market = market().await;
    let first = write_model(market.data_dir(), 1.0, None);
    let node = Node::from_config(config(&market, "data", &format!("manifest = {first:?}"))).await.unwrap();
    node.ready().await;
    let store = Store::open(&market.data_dir().join("data").join(STORE_FOLDER)).unwrap();
    let mut desk = Desk::new(&market);

    let second = Digest(store.add(&write_model(market.data_dir(), 2.0, None)).unwrap());
    desk.publish("times", second);
    desk.activate(second);
    let before = ask_until(&market, &node, 2).await;
    assert!(before.iter().all(|vote| *vote == Vote::Tensor(vec![16])), "{before:?}");

    // Published only: the node tries it ahead of its activation.
    let truncated = Digest(store.add(&write_model(market.data_dir(), 3.0, Some(&[0; 5]))).unwrap());
    desk.publish("times", truncated);
    market.coordinator.ledger.until(|entries| !withdrawals(entries).is_empty()).await;

    let swapped = Digest(store.add(&write_model(market.data_dir(), 4.0, None)).unwrap());
    let weights = market.data_dir().join("data").join(STORE_FOLDER).join(swapped.to_string()).join("weights");
    std::fs::write(weights, artefact(&[666.0], &[0.0])).unwrap();
    desk.publish("times", swapped);
    market.coordinator.ledger.until(|entries| withdrawals(entries).len() == 2).await;

    let withdrawn = withdrawals(&market.coordinator.ledger.entries());
    assert!(withdrawn[0].0 == truncated && withdrawn[0].1.contains("are not 5 bytes"), "{withdrawn:?}");
    assert!(withdrawn[1].0 == swapped && withdrawn[1].1.contains("is not the artefact"), "{withdrawn:?}");
    assert_eq!(ask_until(&market, &node, 2).await, [], "the good one was served all the time");
}

#[tokio::test]
async fn a_version_of_another_task_is_withdrawn() {
    let market = market().await;
    let first = write_model(market.data_dir(), 1.0, None);
    let node = Node::from_config(config(&market, "data", &format!("manifest = {first:?}"))).await.unwrap();
    node.ready().await;
    let echo = market.data_dir().join("echo.toml");
    std::fs::write(&echo, crate::market::models::IDENTITY_MANIFEST).unwrap();
    let store = Store::open(&market.data_dir().join("data").join(STORE_FOLDER)).unwrap();
    let echo = Digest(store.add(&echo).unwrap());
    Desk::new(&market).publish("times", echo);
    market.coordinator.ledger.until(|entries| !withdrawals(entries).is_empty()).await;
    let withdrawn = withdrawals(&market.coordinator.ledger.entries());
    assert!(withdrawn[0].1.contains("the group's task is regression"), "{withdrawn:?}");
}

#[tokio::test]
async fn a_node_that_brings_nothing_along_serves_what_the_ledger_names() {
    let market = market().await;
    let first = write_model(market.data_dir(), 1.0, None);
    let node = Node::from_config(config(&market, "data", &format!("manifest = {first:?}"))).await.unwrap();
    node.ready().await;
    node.stop().await.unwrap();
    let node = Node::from_config(config(&market, "data", "")).await.unwrap();
    node.ready().await;
    ask_until(&market, &node, 1).await;
    assert_eq!(market.coordinator.ledger.entries().len(), 3, "register, publish, activate");
}

#[tokio::test]
async fn where_there_is_room_for_one_version_only_the_swap_waits_for_it_and_loses_no_request() {
    let market = market().await;
    let first = write_model(market.data_dir(), 1.0, None);
    // A version takes 16 bytes: its weights, once in the session and once while they are loaded.
    let more = format!("manifest = {first:?}\nmemory_bytes_max = 20");
    let node = Node::from_config(config(&market, "data", &more)).await.unwrap();
    node.ready().await;
    let store = Store::open(&market.data_dir().join("data").join(STORE_FOLDER)).unwrap();
    let second = Digest(store.add(&write_model(market.data_dir(), 2.0, None)).unwrap());
    let mut desk = Desk::new(&market);
    desk.publish("times", second);
    desk.activate(second);
    let before = ask_until(&market, &node, 2).await;
    assert!(before.iter().all(|vote| *vote == Vote::Tensor(vec![16])), "{before:?}");
    assert_eq!(node.fleet().slots().into_keys().collect::<Vec<_>>(), [second], "there is no room for a spare");
}
