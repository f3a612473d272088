//! A node never contradicts itself, whatever its model says the second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::market::models::{Scripted, class, identity, vote_for};
use crate::market::{Answer, Market, bytes};
use bytes::Bytes;
use dropbear_certificates::Vote;
use dropbear_model_node::{Model, Node, NodeError};

/// Never says the same twice.
fn fickle(first: u32) -> impl Model {
    let next = AtomicU32::new(first);
    Scripted::new(move |inputs: &[Bytes]| {
        Ok(inputs.iter().map(|_| class(next.fetch_add(1, Ordering::SeqCst))).collect())
    })
}

fn votes(answer: &Answer) -> Vec<Vote> {
    answer.ballot.answers.iter().map(|answer| answer.vote.clone()).collect()
}

#[tokio::test]
async fn a_vote_is_repeated_in_other_batches_and_after_a_restart() {
    let market = Market::open("identity", 1000).await;
    let node = market.node(fickle(0)).await;
    let asked: Vec<_> = (0..4).map(|nonce| market.ask(nonce, bytes("input"))).collect();
    let first = market.infer(node.address(), &asked[..2]).await.unwrap();
    let second = market.infer(node.address(), &asked[1..3]).await.unwrap();
    assert_eq!(second.ballot.answers[0], first.ballot.answers[1].clone());
    assert_eq!(second.reply.outputs[0].len(), 0, "the journal keeps no outputs");
    assert_ne!(second.ballot.answers[1].vote, first.ballot.answers[1].vote);
    node.stop().await.unwrap();

    let node = market.node(fickle(500)).await;
    let again = market.infer(node.address(), &asked[..2]).await.unwrap();
    assert_eq!(again.ballot, first.ballot, "the same ballot, byte by byte");
    let all = market.infer(node.address(), &asked).await.unwrap();
    assert_eq!(votes(&all)[..3], [votes(&first), votes(&second)[1..].to_vec()].concat());
    assert_eq!(votes(&all)[3], vote_for(500));
}

#[tokio::test]
async fn concurrent_batches_with_one_request_hear_one_vote() {
    let market = Arc::new(Market::open("identity", 1000).await);
    let node = market.node(fickle(0)).await;
    let address = node.address();
    let shared = market.ask(0, bytes("shared"));
    let batch = |nonce| {
        let (market, asked) = (Arc::clone(&market), [market.ask(nonce, bytes("own")), shared.clone()]);
        tokio::spawn(async move { market.infer(address, &asked).await })
    };
    let tasks: Vec<_> = (1..9).map(batch).collect();
    let mut shared_answers = Vec::new();
    for task in tasks {
        shared_answers.push(task.await.unwrap().unwrap().ballot.answers[1].clone());
    }
    assert!(shared_answers.iter().all(|answer| *answer == shared_answers[0]), "{shared_answers:?}");
}

#[tokio::test]
async fn two_nodes_cannot_share_a_journal() {
    let market = Market::open("identity", 1000).await;
    let _node = market.node(identity()).await;
    let second = Node::start(market.settings(), identity()).await;
    assert!(matches!(second, Err(NodeError::Journal(_))));
}
