//! Four engines over TCP on this machine.

mod common;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use common::Toy;
use dropbear_engine::{EngineConfig, Error, Handle, Ordering, Peer, public_key, start};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::time::timeout;

const GENESIS: [u8; 32] = [42; 32];
/// Far beyond what any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    config: EngineConfig,
    toy: Toy,
    engine: Option<Handle>,
}

impl Node {
    fn start(&mut self) {
        self.engine = Some(start(self.config.clone(), self.toy.clone()).unwrap());
    }

    fn stop(&mut self) {
        let engine = self.engine.take().unwrap();
        engine.stop();
        engine.join().unwrap();
    }

    fn relay(&self, message: &Bytes) {
        self.engine.as_ref().unwrap().relay(message.clone());
    }
}

/// Directories, and nodes that have not been started.
fn committee(size: u8) -> (TempDir, Vec<Node>) {
    let dir = tempfile::tempdir().unwrap();
    let sockets: Vec<_> = (0..size).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let peers: Vec<_> = (0..size)
        .zip(&sockets)
        .map(|(index, socket)| Peer { key: public_key(&[index; 32]), address: socket.local_addr().unwrap() })
        .collect();
    let nodes = (0..size)
        .map(|index| Node {
            config: EngineConfig::new(
                b"dropbear-test".to_vec(),
                GENESIS,
                [index; 32],
                peers.clone(),
                peers[usize::from(index)].address,
                dir.path().join(index.to_string()),
            ),
            toy: Toy::new(GENESIS),
            engine: None,
        })
        .collect();
    (dir, nodes)
}

async fn order(nodes: &[Node], entries: std::ops::Range<u64>) {
    for node in nodes {
        node.toy.submit(entries.clone());
    }
    timeout(PATIENCE, join_all(nodes.iter().map(|node| node.toy.ordered(entries.clone()))))
        .await
        .expect("entries are ordered in time");
}

fn assert_same_chain(nodes: &[Node]) {
    let chains: Vec<_> = nodes.iter().map(|node| node.toy.digests()).collect();
    let longest = chains.iter().max_by_key(|chain| chain.len()).unwrap();
    for chain in &chains {
        assert_eq!(chain[..], longest[..chain.len()]);
    }
}

#[tokio::test]
async fn a_restarted_engine_catches_up_where_it_left() {
    let (_dir, mut nodes) = committee(4);
    nodes.iter_mut().for_each(Node::start);
    order(&nodes, 0..150).await;
    assert_same_chain(&nodes);

    nodes[2].stop();
    let height = nodes[2].toy.height();
    for step in 1..20 {
        let (left, right) = nodes.split_at(2);
        let entries = step * 1_000..step * 1_000 + 10;
        for node in right[1..].iter().chain(left) {
            node.toy.submit(entries.clone());
        }
        for node in right[1..].iter().chain(left) {
            timeout(PATIENCE, node.toy.ordered(entries.clone())).await.unwrap();
        }
    }
    assert_eq!(nodes[2].toy.height(), height, "a stopped engine delivers nothing");

    nodes[2].start();
    timeout(PATIENCE, nodes[2].toy.ordered(19_000..19_010)).await.unwrap();
    let redelivered = nodes[2].toy.state().redelivered;
    assert!(redelivered <= 16, "resumes after the last acknowledged block: {redelivered}");
    order(&nodes, 50_000..50_100).await;
    assert_same_chain(&nodes);
    for node in &mut nodes {
        assert!(node.toy.state().faults.is_empty());
        node.stop();
    }
}

#[tokio::test]
async fn three_of_four_suffice_and_two_do_not() {
    let (_dir, mut nodes) = committee(4);
    nodes[..3].iter_mut().for_each(Node::start);
    order(&nodes[..3], 0..10).await;
    nodes[2].stop();
    let height = nodes[0].toy.height();
    nodes[0].toy.submit([77]);
    nodes[1].toy.submit([77]);
    nodes[3].start();
    // Only the fourth can complete the quorum now, and it must fetch what it missed.
    nodes[3].toy.submit([77]);
    timeout(PATIENCE, nodes[3].toy.ordered([77])).await.unwrap();
    assert_eq!(nodes[3].toy.height(), height + 1);
    assert_same_chain(&nodes);
}

#[tokio::test]
async fn relayed_messages_reach_every_peer_under_the_senders_name() {
    let (_dir, mut nodes) = committee(4);
    nodes.iter_mut().for_each(Node::start);
    let message = Bytes::from_static(b"an entry");
    nodes[1].relay(&vec![0; nodes[1].config.relay_size_bytes_max + 1].into());
    for node in [0, 2, 3].map(|index| &nodes[index]) {
        // Best effort: before the peers are connected, messages are lost.
        let arrived = || node.toy.until(|state| state.relayed.last().cloned());
        let relayed = timeout(PATIENCE, async {
            loop {
                nodes[1].relay(&message);
                if let Ok(relayed) = timeout(Duration::from_millis(100), arrived()).await {
                    break relayed;
                }
            }
        });
        assert_eq!(relayed.await.unwrap(), (1, message.clone()));
    }
    assert!(nodes[1].toy.state().relayed.is_empty());
}

#[test]
fn what_cannot_start_says_so() {
    let (dir, mut nodes) = committee(4);
    let refused = |config: &EngineConfig| start(config.clone(), Toy::new(GENESIS)).unwrap_err();

    let mut stranger = nodes[0].config.clone();
    stranger.key_seed = [99; 32];
    assert!(matches!(refused(&stranger), Error::Config(_)));

    let mut unwritable = nodes[0].config.clone();
    unwritable.storage_dir = dir.path().join("file");
    fs::write(&unwritable.storage_dir, b"in the way").unwrap();
    assert!(matches!(refused(&unwritable), Error::Storage { .. }));

    nodes[0].start();
    let mut same_port = nodes[1].config.clone();
    same_port.listen = nodes[0].config.listen;
    assert!(matches!(refused(&same_port), Error::Listen { address, .. } if address == same_port.listen));

    let mut same_dir = nodes[0].config.clone();
    same_dir.listen = nodes[1].config.listen;
    assert!(matches!(refused(&same_dir), Error::Storage { .. }));

    // After all that, the engine still stops, and its port and directory are free again.
    nodes[0].stop();
    nodes[0].start();
}
