//! Every policy through the whole gateway: what the group agrees on is what the certificate says.

mod market;

use dropbear_certificates::{Assurance, Vote};
use dropbear_wire::inference as pb;
use dropbear_wire::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use market::node::Manner;
use market::{Cast, Market, picture};
use serde_json::{Value, json};

const INPUT: [f32; 4] = [0.0, 1.0, -2.5, 10.0];

fn output<'a>(body: &'a Value, name: &str) -> &'a Value {
    body["outputs"].as_array().unwrap().iter().find(|output| output["name"] == name).unwrap()
}

fn tally(body: &Value) -> Value {
    serde_json::from_str(output(body, "tally")["data"][0].as_str().unwrap()).unwrap()
}

fn fixed(values: &[f64]) -> Vote {
    Vote::Tensor(values.iter().map(|value| (value * 65_536.0) as i64).collect())
}

/// A market whose owner at `place` lies, and in which every ballot is awaited, so that the tally is always the same.
async fn with_liar(place: usize) -> Market {
    let mut cast = Cast::default();
    cast.owners[place] = Manner::Liar(199);
    cast.limits.await_all_ballots = true;
    Market::start(cast).await
}

#[tokio::test]
async fn a_median_lies_between_honest_values_whatever_one_owner_says() {
    let market = with_liar(3).await;
    let (status, body) = market.infer("median", &[INPUT, [5.0; 4]], &[]).await;
    assert_eq!(status, 200, "{body}");
    // Owner i adds i/4; the liar says 256. Lower median of 0, 1/4, 1/2 and 256.
    let expected = [0.25, 1.25, -2.25, 10.25, 5.25, 5.25, 5.25, 5.25];
    assert_eq!(
        (&output(&body, "OUTPUT0")["data"], &output(&body, "OUTPUT0")["shape"]),
        (&json!(expected), &json!([2, 4]))
    );
    let verified = market.verify(&body["parameters"]["certificate.0"]);
    assert_eq!(verified.result(), Some(&fixed(&expected[..4])));
    assert_eq!(verified.record().assurance, Assurance::Supported);
    assert_eq!(market.verify(&body["parameters"]["certificate.1"]).result(), Some(&fixed(&expected[4..])));
    assert_eq!(tally(&body)["votes"][0]["values"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_trimmed_mean_leaves_the_extremes_out() {
    let market = with_liar(0).await;
    let (status, body) = market.infer("trimmed", &[INPUT], &[]).await;
    assert_eq!(status, 200, "{body}");
    let expected = [0.625, 1.625, -1.875, 10.625];
    assert_eq!(output(&body, "OUTPUT0")["data"], json!(expected), "the mean of owners 2 and 3");
    assert_eq!(market.verify(&body["parameters"]["certificate.0"]).result(), Some(&fixed(&expected)));
}

#[tokio::test]
async fn within_gives_the_middle_of_the_largest_cluster_and_names_its_members() {
    let market = with_liar(1).await;
    let (status, body) = market.infer("within", &[INPUT], &[]).await;
    assert_eq!(status, 200, "{body}");
    // Owners 0, 2 and 3 lie 2, 1 and 3 apart; epsilon is 2: owner 2 is near to both others.
    let expected = [0.5, 1.5, -2.0, 10.5];
    assert_eq!(output(&body, "OUTPUT0")["data"], json!(expected));
    assert_eq!(tally(&body)["cluster"], json!(["owner-0", "owner-2", "owner-3"]));
    assert_eq!(market.verify(&body["parameters"]["certificate.0"]).result(), Some(&fixed(&expected)));
}

#[tokio::test]
async fn an_exact_group_agrees_on_bytes() {
    let market = with_liar(2).await;
    let (status, body) = market.infer("exact", &[INPUT], &[]).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(output(&body, "OUTPUT0")["data"], json!(INPUT));
    let verified = market.verify(&body["parameters"]["certificate.0"]);
    let bytes: Vec<u8> = INPUT.iter().flat_map(|value| value.to_le_bytes()).collect();
    let digest = dropbear_certificates::Digest::of(&bytes);
    assert_eq!(verified.result(), Some(&Vote::Output(digest)));
    assert_eq!(output(&body, "digest")["data"][0], digest.to_string());
    assert_eq!(
        (verified.record().assurance, &tally(&body)["votes"][1]["owners"]),
        (Assurance::Robust, &json!(["owner-2"]))
    );
}

#[tokio::test]
async fn an_agreed_output_comes_as_one_of_its_owners_sent_it() {
    let market = with_liar(0).await;
    let picture = picture([7; 4]);
    let data = data_encoding::BASE64.encode(&picture);
    let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [data] });
    let body = serde_json::to_vec(&json!({ "inputs": [input] })).unwrap();
    let (status, body) = market.post("/v2/models/captions/infer", body, &[]).await;
    assert_eq!(
        (status, &output(&body, "OUTPUT0")["data"][0]),
        (200, &json!(format!("{} bytes", picture.len()))),
        "{body}"
    );
    market.verify(&body["parameters"]["certificate.0"]);
}

#[tokio::test]
async fn rankings_add_up() {
    let market = with_liar(3).await;
    let (status, body) = market.classify_in("ranked", picture([7, 7, 7, 7]), "assurance=supported").await;
    assert_eq!(status, 200, "{body}");
    let result = &body["results"][0];
    assert_eq!((&result["class"], &result["label"]), (&7.into(), &"thing 7".into()));
    assert_eq!(result["tally"]["points"][0], json!({ "class": 7, "label": "thing 7", "points": 9, "named": 3 }));
    assert_eq!(market.verify(&result["certificate"]).class(), Some(7));
    let data = data_encoding::BASE64.encode(&picture([7; 4]));
    let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [data] });
    let body = serde_json::to_vec(&json!({ "inputs": [input] })).unwrap();
    let (status, body) = market.post("/v2/models/ranked/infer", body, &[("dropbear-assurance", "supported")]).await;
    assert_eq!((status, &output(&body, "ranking")["data"]), (200, &json!([7, 8, 9])), "{body}");
}

#[tokio::test]
async fn what_no_policy_can_promise_is_refused_at_the_door_or_said() {
    let market = Market::honest().await;
    let (status, body) = market.infer("median", &[INPUT], &[("dropbear-assurance", "robust")]).await;
    assert_eq!(status, 400, "{body}");
    assert!(body["error"].as_str().unwrap().contains("supported"), "{body}");
    // Out of the charter's range: every owner abstains.
    let (status, body) = market.infer("median", &[[1e9; 4]], &[]).await;
    assert_eq!((status, &body["outcome"]), (400, &json!("unreadable")), "{body}");
    let (_, metadata) = market.get("/v2/models/median").await;
    assert_eq!(metadata["outputs"][0], json!({ "name": "OUTPUT0", "datatype": "FP64", "shape": [-1, 4] }));
}

#[tokio::test]
async fn vectors_over_grpc() {
    let market = with_liar(3).await;
    let address = market.gateway.grpc_address().unwrap();
    let mut client = GrpcInferenceServiceClient::connect(format!("http://{address}")).await.unwrap();
    let raw: Vec<u8> = INPUT.iter().flat_map(|value| value.to_le_bytes()).collect();
    let input = pb::model_infer_request::InferInputTensor {
        name: "INPUT0".into(),
        datatype: "FP32".into(),
        shape: vec![1, 4],
        ..Default::default()
    };
    let ask = |group: &str| pb::ModelInferRequest {
        model_name: group.into(),
        inputs: vec![input.clone()],
        raw_input_contents: vec![raw.clone().into()],
        ..Default::default()
    };
    for (group, expected) in [("median", [0.25, 1.25, -2.25, 10.25]), ("within", [0.25, 1.25, -2.25, 10.25])] {
        let reply = client.model_infer(ask(group)).await.unwrap().into_inner();
        let output = (&reply.outputs[0].datatype, &reply.outputs[0].shape);
        assert_eq!(output, (&"FP64".to_owned(), &vec![1, 4]), "{group}");
        let (values, _) = reply.raw_output_contents[0].as_chunks::<8>();
        assert_eq!(values.iter().map(|value| f64::from_le_bytes(*value)).collect::<Vec<_>>(), expected, "{group}");
    }
    let reply = client.model_infer(ask("exact")).await.unwrap().into_inner();
    assert_eq!(reply.raw_output_contents[0].as_ref(), raw);
}

#[tokio::test]
async fn a_retry_of_a_tensor_gets_the_first_certificate() {
    let market = Market::honest().await;
    let expiry = (market::now_ms() + 30_000).to_string();
    let options = [("dropbear-nonce", "000102030405060708090a0b0c0d0e0f"), ("dropbear-expiry-ms", expiry.as_str())];
    let (_, first) = market.infer("within", &[INPUT], &options).await;
    let (status, second) = market.infer("within", &[INPUT], &options).await;
    assert_eq!(
        (status, &first["parameters"]["request_id.0"]),
        (200, &second["parameters"]["request_id.0"]),
        "{second}"
    );
    let result = |body: &Value| market.verify(&body["parameters"]["certificate.0"]).result().cloned();
    assert!(result(&first).is_some());
    assert_eq!(result(&first), result(&second));
}
