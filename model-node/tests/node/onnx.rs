//! A node whose numbers come from ONNX Runtime.

use bytes::Bytes;
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::{Policy, Vote};
use dropbear_model_node::Node;
use dropbear_model_node::zoo::{FetchOptions, Zoo, cache_directory};
use dropbear_wire::v1::Tensor;

use crate::market::Market;
use crate::stored::config;

/// A protobuf field that holds bytes; lengths here stay below 128.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn number(tag: u8, value: u8) -> Vec<u8> {
    vec![tag << 3, value]
}

/// A tensor of two floats per item, as `onnx.proto` describes it.
fn pair(name: &str) -> Vec<u8> {
    let shape = [field(1, &field(2, b"N")), field(1, &number(1, 2))].concat();
    let tensor = [number(1, 1), field(2, &shape)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// The ONNX file of y = −x.
fn negation() -> Vec<u8> {
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Neg")].concat();
    let graph = [field(1, &node), field(2, b"negation"), field(11, &pair("x")), field(12, &pair("y"))].concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
}

#[tokio::test]
async fn an_embedding_votes_with_its_vector() {
    let fetch = || Zoo::fetch(&cache_directory().unwrap(), &FetchOptions::default(), &mut |_| {}).unwrap();
    let runtime = tokio::task::spawn_blocking(fetch).await.unwrap().runtime_library().unwrap();
    let tensor = TensorBounds { length: 2, fraction_bits: 4, min: -1600, max: 1600 };
    let within = Policy::Within { tensor, epsilon: 8, quorum: 1 };
    let market = Market::under("embedding", 1, |charter| charter.policy = within).await;
    let (artefact, folder) = (negation(), market.data_dir());
    let manifest = format!(
        "name = \"negation\"\ntask = \"embedding\"\nbackend = \"onnx\"\nlicence = \"MIT\"\nlineage = \"none\"\n\
         artefact = {{ file = \"negation.onnx\", blake3 = \"{}\" }}\n\
         input = {{ tensor = \"x\", shape = [2] }}\noutput = {{ tensor = \"y\", length = 2 }}\n",
        blake3::hash(&artefact)
    );
    std::fs::write(folder.join("negation.onnx"), artefact).unwrap();
    std::fs::write(folder.join("negation.toml"), manifest).unwrap();
    let more = format!("manifest = \"negation.toml\"\nonnxruntime = {runtime:?}");
    let node = Node::from_config(config(&market, "data", &more)).await.unwrap();
    node.ready().await;
    let data: Vec<u8> = [0.5f32, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let input = Tensor { name: "x".into(), datatype: "FP32".into(), shape: vec![2], data: Bytes::from(data) };
    let answer = market.infer(node.address(), &[market.ask(1, input)]).await.unwrap();
    // −0 is a zero like any other.
    assert_eq!(answer.ballot.answers[0].vote, Vote::Tensor(vec![-8, 0]));
}
