//! A node with a real classifier from the zoo, which the first run fetches.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use dropbear_certificates::Vote;
use dropbear_certificates::request::{Field, output_commitment};
use dropbear_model_node::zoo::{FetchOptions, Zoo, cache_directory};
use dropbear_model_node::{Node, NodeConfig};
use dropbear_models::{Device, Precision};
use dropbear_wire::v1::Tensor;

use crate::market::{GROUP, Market, OWNER, write_genesis_and_key};

fn config(market: &Market, zoo: &Zoo) -> NodeConfig {
    let (genesis, key) = write_genesis_and_key(market);
    NodeConfig {
        owner: OWNER.into(),
        group: GROUP.into(),
        genesis,
        key,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        metrics_listen: None,
        coordinators: vec![market.coordinator.address],
        manifest: Some(zoo.manifest_path("lite0").unwrap()),
        versions: Vec::new(),
        endpoints: None,
        journal_of: None,
        next_key: None,
        memory_bytes_max: None,
        spare_versions: 1,
        onnxruntime: Some(zoo.runtime_library().unwrap()),
        data_dir: market.data_dir().join("data"),
        workers: 2,
        intra_threads: 1,
        devices: vec![Device::Cpu],
        precision: Precision::Fp32,
        decode_threads: 2,
        batch_size_max: 8,
        batch_delay_us: 0,
        queue_items_max: 64,
        infer_timeout_ms: 30_000,
        load_timeout_ms: 30_000,
    }
}

fn photo(path: PathBuf) -> Tensor {
    let data = Bytes::from(std::fs::read(path).unwrap());
    Tensor { name: "image".into(), datatype: "BYTES".into(), shape: vec![], data }
}

#[tokio::test]
async fn photos_get_the_votes_that_the_model_is_known_for() {
    let fetch = || Zoo::fetch(&cache_directory().unwrap(), &FetchOptions::default(), &mut |_| {}).unwrap();
    let zoo = tokio::task::spawn_blocking(fetch).await.unwrap();
    let market = Market::open("image-classification", 1000).await;
    let node = Node::from_config(config(&market, &zoo)).await.unwrap();
    node.ready().await;

    let photos: Vec<_> = zoo.photos().into_iter().filter_map(|photo| Some((photo.path, photo.class?))).collect();
    let asked: Vec<_> = (0..).zip(&photos).map(|(nonce, (path, _))| market.ask(nonce, photo(path.clone()))).collect();
    let answer = market.infer(node.address(), &asked).await.unwrap();
    let votes: Vec<_> = answer.ballot.answers.iter().map(|answer| answer.vote.clone()).collect();
    let right = votes.iter().zip(&photos).filter(|(vote, (_, class))| **vote == Vote::Class(*class));
    assert_eq!((photos.len(), right.count()), (20, 18), "{votes:?}");
    for ((asked, answer), logits) in asked.iter().zip(&answer.ballot.answers).zip(&answer.reply.outputs) {
        assert_eq!(logits.len(), 4 * 1000);
        assert_eq!(answer.output, output_commitment(&asked.salt(Field::Output), logits));
    }
    node.stop().await.unwrap();
}
