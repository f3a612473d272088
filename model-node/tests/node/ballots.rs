//! What a gateway gets from a node: ballots that check, or refusals that say why.

use crate::market::models::{Redness, Scripted, class, identity, vote_for};
use crate::market::{GROUP, Market, bytes, owner, send};
use bytes::Bytes;
use dropbear_certificates::ballot::batch_root;
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::request::{Field, output_commitment};
use dropbear_certificates::{Digest, Policy, Vote};
use dropbear_model_node::model::vote_of;
use dropbear_model_node::{Model, ModelError, Output};
use dropbear_wire::v1::Tensor;
use tonic::Code;

fn image(datatype: &str, shape: &[u64], data: &[u8]) -> Tensor {
    let data = Bytes::copy_from_slice(data);
    Tensor { name: "image".into(), datatype: datatype.into(), shape: shape.to_vec(), data }
}

#[tokio::test]
async fn a_batch_is_answered_with_a_ballot_that_checks() {
    let market = Market::open("identity", 1000).await;
    let (model, charter) = (identity(), &market.genesis.charters[0]);
    let version = model.card().version;
    let node = market.node(model).await;
    let asked: Vec<_> = (0..9).map(|nonce| market.ask(nonce, bytes(&format!("input {nonce}")))).collect();
    let answer = market.infer(node.address(), &asked).await.unwrap();

    let statement = &answer.ballot.statement;
    let ids: Vec<_> = asked.iter().map(|asked| asked.request.id()).collect();
    assert_eq!((statement.genesis, statement.group.as_str()), (market.genesis.digest(), GROUP));
    assert_eq!((statement.charter, statement.version), (charter.digest(), version));
    assert_eq!((statement.batch, statement.owner), (batch_root(&ids), owner().public()));
    assert_eq!(statement.expiry_ms, asked[0].request.expiry_ms);
    for ((asked, given), output) in asked.iter().zip(&answer.ballot.answers).zip(&answer.reply.outputs) {
        assert_eq!(*output, asked.tensor.data);
        assert_eq!(given.vote, vote_of(&Output::Canonical(output.clone()), charter));
        assert_eq!(given.output, output_commitment(&asked.salt(Field::Output), output));
    }
    assert!(answer.reply.compute_us <= answer.reply.total_us);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_picture_gets_an_abstention_and_its_neighbours_get_votes() {
    let market = Market::open("image-classification", 256).await;
    let node = market.node(Redness::new()).await;
    let asked = [
        market.ask(1, image("UINT8", &[1, 1, 3], &[200, 0, 0])),
        market.ask(2, image("BYTES", &[], b"\xff\xd8\xff not a whole JPEG")),
        market.ask(3, image("UINT8", &[2, 2, 3], &[1, 2, 3])),
        market.ask(4, image("UINT8", &[1, 1, 3], &[7, 0, 0])),
    ];
    let answer = market.infer(node.address(), &asked).await.unwrap();
    let votes: Vec<_> = answer.ballot.answers.iter().map(|answer| answer.vote.clone()).collect();
    assert_eq!(votes, [Vote::Class(200), Vote::Abstain, Vote::Abstain, Vote::Class(7)]);
    let empty = output_commitment(&asked[1].salt(Field::Output), b"");
    assert_eq!((answer.ballot.answers[1].output, answer.reply.outputs[1].len()), (empty, 0));
}

#[tokio::test]
async fn an_input_that_breaks_the_model_gets_an_abstention_and_its_neighbours_get_votes() {
    let market = Market::open("identity", 10).await;
    let node = market.node(Scripted::new(|inputs: &[Bytes]| {
        assert!(!inputs.contains(&Bytes::from_static(b"poison")), "poisoned");
        Ok(inputs.iter().map(|_| class(3)).collect())
    }));
    let node = node.await;
    let asked = [market.ask(1, bytes("good")), market.ask(2, bytes("poison")), market.ask(3, bytes("good"))];
    let answer = market.infer(node.address(), &asked).await.unwrap();
    let votes: Vec<_> = answer.ballot.answers.iter().map(|answer| answer.vote.clone()).collect();
    assert_eq!(votes, [vote_for(3), Vote::Abstain, vote_for(3)]);
}

#[tokio::test]
async fn a_broken_model_gives_an_error_and_no_votes() {
    let market = Market::open("identity", 10).await;
    let node = market.node(Scripted::new(|_: &[Bytes]| Err(ModelError("out of memory".into())))).await;
    let asked = [market.ask(1, bytes("one")), market.ask(2, bytes("two"))];
    assert_eq!(market.infer(node.address(), &asked).await.unwrap_err().code(), Code::Unavailable);
    node.stop().await.unwrap();
    // Nothing was written: a working model may still vote.
    let node = market.node(Scripted::new(|inputs: &[Bytes]| Ok(inputs.iter().map(|_| class(3)).collect()))).await;
    let answer = market.infer(node.address(), &asked).await.unwrap();
    assert_eq!(answer.ballot.answers[0].vote, vote_for(3));
}

#[tokio::test]
async fn a_liar_is_just_another_model() {
    let market = Market::open("identity", 10).await;
    let node = market.node(Scripted::new(|inputs: &[Bytes]| Ok(inputs.iter().map(|_| class(9)).collect()))).await;
    let answer = market.infer(node.address(), &[market.ask(1, bytes("class 3"))]).await.unwrap();
    assert_eq!(answer.ballot.answers[0].vote, vote_for(9));
}

#[tokio::test]
async fn a_gateway_that_sends_another_input_than_the_client_gave_is_blamed() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let mut asked = [market.ask(1, bytes("one")), market.ask(2, bytes("two"))];
    asked[1].tensor = bytes("another");
    let status = market.infer(node.address(), &asked).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("not the one that request 1 commits to"), "{status}");
}

#[tokio::test]
async fn an_expired_request_is_refused() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let mut asked = market.ask(1, bytes("one"));
    asked.request.expiry_ms = market.genesis.created_ms - 1;
    let status = market.infer(node.address(), &[asked]).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_full_queue_refuses_the_whole_batch() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let asked: Vec<_> = (0..17).map(|nonce| market.ask(nonce, bytes("one"))).collect();
    let status = market.infer(node.address(), &asked).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    market.infer(node.address(), &asked[..16]).await.unwrap();
}

#[tokio::test]
async fn a_stale_charter_is_refused_with_advice() {
    let market = Market::open("identity", 10).await;
    let node = market.node(identity()).await;
    let asked = [market.ask(1, bytes("one"))];
    let mut request = market.batch(&asked);
    request.charter = Bytes::copy_from_slice(Digest::of(b"old").as_bytes());
    let status = send(node.address(), request, &asked).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("fetch the registry again"), "{status}");
}

fn numbers(values: &[f32]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { name: "numbers".into(), datatype: "FP32".into(), shape: vec![values.len() as u64], data: data.into() }
}

#[tokio::test]
async fn numbers_vote_in_fixed_point_under_policies_of_tensors() {
    let tensor = TensorBounds { length: 2, fraction_bits: 8, min: -1024, max: 1024 };
    let (median, mean) = (Policy::Median { tensor }, Policy::TrimmedMean { tensor });
    for policy in [median, mean, Policy::Within { tensor, epsilon: 3, quorum: 1 }] {
        let market = Market::under("identity", 10, |charter| charter.policy = policy).await;
        let node = market.node(identity()).await;
        let inputs = [numbers(&[0.5, -1.0]), numbers(&[0.5, 5.0]), numbers(&[f32::NAN, 0.0]), bytes("12345678")];
        let asked: Vec<_> = (0..).zip(inputs).map(|(nonce, input)| market.ask(nonce, input)).collect();
        let answer = market.infer(node.address(), &asked).await.unwrap();
        let votes: Vec<_> = answer.ballot.answers.iter().map(|answer| answer.vote.clone()).collect();
        let abstained = [Vote::Abstain, Vote::Abstain, Vote::Abstain];
        assert_eq!((&votes[0], &votes[1..]), (&Vote::Tensor(vec![128, -256]), &abstained[..]), "{policy:?}");
    }
}

#[tokio::test]
async fn classes_are_ranked_under_borda() {
    let market = Market::under("identity", 10, |charter| charter.policy = Policy::Borda { ranks: 2 }).await;
    let ranking = |_: &Bytes| Output::Ranking { classes: vec![4, 1, 9], bytes: Bytes::from_static(b"scores") };
    let node = market.node(Scripted::new(move |inputs: &[Bytes]| Ok(inputs.iter().map(ranking).collect()))).await;
    let answer = market.infer(node.address(), &[market.ask(1, bytes("one"))]).await.unwrap();
    assert_eq!(answer.ballot.answers[0].vote, Vote::Ranking(vec![4, 1]));
}
