//! Two nodes of one owner: one journal, one vote, and versions that travel between them.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use dropbear_certificates::{SecretKey, Vote};
use dropbear_model_node::{Model, Node, NodeError, Settings};
use tonic::Code;

use crate::market::models::{Scripted, class, identity};
use crate::market::{Market, bytes};
use crate::stored::{config, number, write_model};

/// Never says the same twice.
fn fickle(first: u32) -> impl Model + use<> {
    let next = AtomicU32::new(first);
    Scripted::new(move |inputs: &[Bytes]| {
        Ok(inputs.iter().map(|_| class(next.fetch_add(1, Ordering::SeqCst))).collect())
    })
}

/// A node with a data folder of its own that has its votes kept by `keeper`.
fn sibling(market: &Market, keeper: &Node) -> Settings {
    Settings { journal_of: Some(keeper.address()), data_dir: market.data_dir().join("sibling"), ..market.settings() }
}

#[tokio::test]
async fn one_owner_gives_one_vote_from_whichever_node_is_asked_first() {
    let market = Market::open("identity", 1000).await;
    let keeper = market.node(fickle(0)).await;
    let second = Node::start(sibling(&market, &keeper), fickle(500)).await.unwrap();
    second.ready().await;
    let asked: Vec<_> = (0..6).map(|nonce| market.ask(nonce, bytes("input"))).collect();
    let from_second = market.infer(second.address(), &asked[..4]).await.unwrap();
    let from_keeper = market.infer(keeper.address(), &asked[2..]).await.unwrap();
    assert_eq!(from_second.ballot.answers[2..], from_keeper.ballot.answers[..2]);
    let again = market.infer(second.address(), &asked).await.unwrap();
    assert_eq!(again.ballot.answers[..4], from_second.ballot.answers[..]);
    assert_eq!(again.ballot.answers[4..], from_keeper.ballot.answers[2..]);
    assert_eq!(again.reply.outputs[0].len(), 0, "another output than the one that the vote stands for is not shown");
}

#[tokio::test]
async fn without_the_keeper_a_sibling_gives_no_ballot_and_afterwards_the_same_vote() {
    let market = Market::open("identity", 1000).await;
    let keeper = market.node(fickle(0)).await;
    let address = keeper.address();
    let second = Node::start(sibling(&market, &keeper), fickle(500)).await.unwrap();
    second.ready().await;
    let asked: Vec<_> = (0..2).map(|nonce| market.ask(nonce, bytes("input"))).collect();
    let before = market.infer(second.address(), &asked[..1]).await.unwrap();
    keeper.stop().await.unwrap();
    let refused = market.infer(second.address(), &asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("journal_of"), "{refused}");
    let keeper = Node::start(Settings { listen: address, ..market.settings() }, fickle(700)).await.unwrap();
    let after = market.infer(second.address(), &asked).await.unwrap();
    assert_eq!(after.ballot.answers[0], before.ballot.answers[0]);
    let from_keeper = market.infer(keeper.address(), &asked).await;
    keeper.ready().await;
    let from_keeper = match from_keeper {
        Ok(answer) => answer,
        Err(_) => market.infer(keeper.address(), &asked).await.unwrap(),
    };
    assert_eq!(from_keeper.ballot.answers, after.ballot.answers);
}

#[tokio::test]
async fn a_keeper_takes_no_votes_from_strangers() {
    let market = Market::open("identity", 1000).await;
    let keeper = market.node(fickle(0)).await;
    let stranger = dropbear_model_node::siblings::keeper::Keeper::new(
        keeper.address(),
        dropbear_model_node::siblings::seal::Seal::new(&SecretKey::from_seed(&[9; 32]), &market.genesis.digest()),
    );
    let key = dropbear_model_node::journal::VoteKey {
        expiry_ms: market.genesis.created_ms + 60_000,
        id: dropbear_certificates::Digest::of(b"request"),
        version: dropbear_certificates::Digest::of(b"version"),
    };
    let answer = dropbear_certificates::Answer { vote: Vote::Class(1), output: key.id };
    let refused = stranger.settle(&[(key, answer)]).await.unwrap_err();
    assert!(refused.to_string().contains("sealed with this owner's key"), "{refused}");
}

#[tokio::test]
async fn a_node_that_has_votes_of_its_own_does_not_move_to_another_journal() {
    let market = Market::open("identity", 1000).await;
    let keeper = market.node(identity()).await;
    let alone = Settings { data_dir: market.data_dir().join("sibling"), ..market.settings() };
    Node::start(alone, identity()).await.unwrap().stop().await.unwrap();
    let moved = Node::start(sibling(&market, &keeper), identity()).await;
    assert!(matches!(moved, Err(NodeError::TwoJournals(_))));
}

#[tokio::test]
async fn a_sibling_fetches_the_versions_that_the_ledger_names_from_the_keeper() {
    let market = crate::stored::market().await;
    let first = write_model(market.data_dir(), 3.0, None);
    let keeper = Node::from_config(config(&market, "data", &format!("manifest = {first:?}"))).await.unwrap();
    keeper.ready().await;
    let journal_of = format!("journal_of = \"{}\"", keeper.address());
    let second = Node::from_config(config(&market, "sibling", &journal_of)).await.unwrap();
    second.ready().await;
    let answer = market.infer(second.address(), &[market.ask(1, number(2.0))]).await.unwrap();
    assert_eq!(answer.ballot.answers[0].vote, Vote::Tensor(vec![6 * 16]));
}
