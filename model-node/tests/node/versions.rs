//! A node and its owner's versions: the ledger rules, the node follows.

use bytes::Bytes;
use dropbear_certificates::{Digest, SecretKey, Vote};
use dropbear_consensus::Entry;
use dropbear_model_node::plan::Slot;
use dropbear_model_node::{Model, Node, NodeError};
use tonic::Code;

use crate::lifecycle::describe;
use crate::market::models::{Scripted, class, identity, vote_for};
use crate::market::{Answer, Asked, Desk, Market, bytes, owner};

fn version(name: &str, vote: u32) -> impl Model + use<> {
    Scripted::new(move |inputs: &[Bytes]| Ok(vec![class(vote); inputs.len()])).version(name)
}

/// Asks until an answer is this one; gives the others before it. What the ledger decides reaches the node when it
/// reaches the node.
async fn ask_until(market: &Market, node: &Node, is: impl Fn(&Answer) -> bool) -> Vec<Answer> {
    let mut before = Vec::new();
    for nonce in (0..=u8::MAX).cycle() {
        let answer = market.infer(node.address(), &[market.ask(nonce, bytes("one"))]).await.unwrap();
        if is(&answer) {
            break;
        }
        before.push(answer);
    }
    before
}

fn named(answer: &Answer) -> (Digest, Vote) {
    (answer.ballot.statement.version, answer.ballot.answers[0].vote.clone())
}

/// What the node says when it no longer answers.
async fn refusal(market: &Market, node: &Node) -> tonic::Status {
    let mut nonce = 0u8;
    loop {
        nonce = nonce.wrapping_add(1);
        if let Err(status) = market.infer(node.address(), &[market.ask(nonce, bytes("one"))]).await {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

async fn until_slots(node: &Node, are: impl Fn(&[(Digest, Slot)]) -> bool) {
    let mut changes = node.fleet().changes();
    while !are(&node.fleet().slots().into_iter().collect::<Vec<_>>()) {
        changes.changed().await.unwrap();
    }
}

#[tokio::test]
async fn updates_and_rollbacks_lose_no_request_and_every_ballot_names_the_version_that_made_it() {
    let market = Market::open("identity", 10).await;
    let (old, new) = ((Digest::of(b"old"), vote_for(1)), (Digest::of(b"new"), vote_for(2)));
    let node = Node::start_with(market.settings(), version("old", 1), vec![version("new", 2)]).await.unwrap();
    node.ready().await;
    let mut desk = Desk::new(&market);
    desk.publish("scripted", new.0);
    until_slots(&node, |slots| slots.iter().filter(|(_, slot)| *slot == Slot::Loaded).count() == 2).await;
    for (from, to) in [(&old, &new), (&new, &old), (&old, &new)] {
        desk.activate(to.0);
        let before = ask_until(&market, &node, |answer| named(answer) == *to).await;
        assert!(before.iter().all(|answer| named(answer) == *from), "{before:?}");
    }
}

/// Asks until the ledger has `blocks` entries; gives how many answers there were, each from one of `versions`.
async fn ask_while(market: &Market, node: &Node, first: u8, blocks: usize, versions: &[(Digest, Vote)]) -> usize {
    let mut answers = 0;
    for nonce in (first..first + 60).cycle() {
        if market.coordinator.ledger.entries().len() >= blocks {
            break;
        }
        let answer = market.infer(node.address(), &[market.ask(nonce, bytes("one"))]).await.unwrap();
        assert!(versions.contains(&named(&answer)), "{answer:?}");
        answers += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_an_owner_that_activates_all_the_time_loses_no_request() {
    const ACTIVATIONS: usize = 60;
    let market = Market::open("identity", 10).await;
    let versions = [(Digest::of(b"old"), vote_for(1)), (Digest::of(b"new"), vote_for(2))];
    let node = Node::start_with(market.settings(), version("old", 1), vec![version("new", 2)]).await.unwrap();
    node.ready().await;
    let mut desk = Desk::new(&market);
    desk.publish("scripted", versions[1].0);
    let blocks = market.coordinator.ledger.entries().len() + ACTIVATIONS;
    let activate = async {
        for turn in 0..ACTIVATIONS {
            desk.activate(versions[(turn + 1) % 2].0);
            // Between two activations somebody is answered.
            market.infer(node.address(), &[market.ask(turn as u8, bytes("two"))]).await.unwrap();
        }
    };
    let ask = |first| ask_while(&market, &node, first, blocks, &versions);
    let ((), one, two) = tokio::join!(activate, ask(60), ask(120));
    assert!(one + two >= ACTIVATIONS, "{one} and {two} answers beside the activations");
}

#[tokio::test]
async fn without_spares_a_version_leaves_memory_when_it_is_no_longer_in_force() {
    let market = Market::open("identity", 10).await;
    let settings = dropbear_model_node::Settings { spare_versions: 0, ..market.settings() };
    let node = Node::start_with(settings, version("old", 1), vec![version("new", 2)]).await.unwrap();
    node.ready().await;
    let (mut desk, new) = (Desk::new(&market), Digest::of(b"new"));
    desk.publish("scripted", new);
    desk.activate(new);
    until_slots(&node, |slots| slots == [(new, Slot::Loaded)]).await;
    ask_until(&market, &node, |answer| named(answer) == (new, vote_for(2))).await;
}

#[tokio::test]
async fn a_version_whose_files_are_not_here_gets_no_ballots_and_the_node_does_not_fight() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let (mut desk, next) = (Desk::new(&market), Digest::of(b"next"));
    desk.publish("echo", next);
    desk.activate(next);
    let status = refusal(&market, &node).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("its files are not here"), "{status}");
    assert!(!describe(node.address()).await.ready);
    node.stop().await.unwrap();
    let entries = market.coordinator.ledger.entries();
    assert_eq!(entries.len(), 5, "the node did not activate its version again: {entries:?}");
}

#[tokio::test]
async fn a_retired_version_gets_no_ballots_until_another_is_activated() {
    let market = Market::open("identity", 10).await;
    let node = Node::start_with(market.settings(), version("old", 1), vec![version("new", 2)]).await.unwrap();
    node.ready().await;
    let mut desk = Desk::new(&market);
    desk.withdraw(Digest::of(b"old"));
    let status = refusal(&market, &node).await;
    assert!(status.message().contains("no version of this owner is in force"), "{status}");
    desk.publish("scripted", Digest::of(b"new"));
    desk.activate(Digest::of(b"new"));
    node.ready().await;
    ask_until(&market, &node, |answer| named(answer) == (Digest::of(b"new"), vote_for(2))).await;
}

#[tokio::test]
async fn ballots_are_under_the_charter_in_force_and_a_changed_one_loses_no_request() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let old = market.genesis.charters[0].clone();
    let new = dropbear_certificates::Charter { fee: 3, ..old.clone() };
    Desk::new(&market).propose(&old, new.clone());
    let ask = |nonce, charter: &dropbear_certificates::Charter| {
        let asked = [market.ask(nonce, bytes("one"))];
        let mut request = market.batch(&asked);
        request.charter = Bytes::copy_from_slice(charter.digest().as_bytes());
        let address = node.address();
        async move { crate::market::send(address, request, &asked).await }
    };
    // As a gateway does: where one charter is refused, the other is in force.
    let mut nonce = 0;
    loop {
        nonce += 1;
        let under_old = ask(nonce, &old).await;
        let Err(status) = under_old else { continue };
        assert!(status.message().contains("fetch the registry again"), "{status}");
        let answer = ask(nonce, &new).await.unwrap();
        assert_eq!(answer.ballot.statement.charter, new.digest());
        break;
    }
}

#[tokio::test]
async fn a_new_key_signs_from_its_block_on_with_the_old_ones_votes_and_versions() {
    let market = Market::open("identity", 10).await;
    let next_seed = [77; 32];
    let mut settings = market.settings();
    settings.next_key = Some(SecretKey::from_seed(&next_seed).into());
    let node = Node::start(settings, identity()).await.unwrap();
    node.ready().await;
    let asked: [Asked; 1] = [market.ask(200, bytes("before"))];
    let before = market.infer(node.address(), &asked).await.unwrap();
    let next = SecretKey::from_seed(&next_seed);
    let (old_key, next_key, charter) = (owner().public(), next.public(), market.genesis.charters[0].clone());
    let mut rekeyed = charter.clone();
    rekeyed.roster[0].key = next_key;
    Desk::new(&market).rekey(next);
    let after = loop {
        let mut request = market.batch(&asked);
        request.charter = Bytes::copy_from_slice(rekeyed.digest().as_bytes());
        match crate::market::send(node.address(), request, &asked).await {
            Ok(answer) => break answer,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!((before.ballot.statement.owner, after.ballot.statement.owner), (old_key, next_key));
    assert_eq!(before.ballot.answers, after.ballot.answers, "the vote stands");
    node.stop().await.unwrap();
    // The old key is forgotten; the journal is the new one's, too.
    let key = SecretKey::from_seed(&next_seed).into();
    let node = Node::start(dropbear_model_node::Settings { key, ..market.settings() }, identity()).await.unwrap();
    node.ready().await;
}

#[tokio::test]
async fn the_owners_nodes_are_told_to_the_ledger_once() {
    let market = Market::open("identity", 10).await;
    let here = vec!["127.0.0.1:9101".to_owned()];
    for _ in 0..2 {
        let settings = dropbear_model_node::Settings { endpoints: Some(here.clone()), ..market.settings() };
        let node = Node::start(settings, identity()).await.unwrap();
        node.ready().await;
        market.coordinator.ledger.until(|entries| entries.len() == 4).await;
        node.stop().await.unwrap();
    }
    let entries = market.coordinator.ledger.entries();
    assert!(matches!(&entries[..], [.., Entry::Endpoints(told, _)] if told.endpoints == here), "{entries:?}");
}

#[tokio::test]
async fn a_model_that_does_not_load_is_no_node() {
    let market = Market::open("identity", 10).await;
    let broken = Node::start(market.settings(), crate::market::models::Broken::new()).await;
    assert!(matches!(broken, Err(NodeError::Model(_))));
}
