//! The Open Inference Protocol over REST: forms of requests, forms of answers, and everything that is refused.

mod market;

use data_encoding::BASE64;
use market::{Cast, Market, picture};
use serde_json::{Value, json};

const INFER: &str = "/v2/models/imagenet/infer";
const ECHO: &str = "/v2/models/echo/infer";

fn images(pictures: &[Vec<u8>]) -> Value {
    let data: Vec<_> = pictures.iter().map(|picture| BASE64.encode(picture)).collect();
    json!({ "id": "42", "inputs": [{ "name": "image", "shape": [pictures.len()], "datatype": "BYTES", "data": data }] })
}

fn bytes(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).unwrap()
}

fn output<'a>(body: &'a Value, name: &str) -> &'a Value {
    body["outputs"].as_array().unwrap().iter().find(|output| output["name"] == name).unwrap()
}

#[tokio::test]
async fn health_and_metadata_are_what_clients_read() {
    let market = Market::honest().await;
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_eq!(market.get(path).await, (200, json!({ "live": true, "ready": true })));
    }
    let (_, server) = market.get("/v2").await;
    assert_eq!((&server["name"], &server["extensions"]), (&json!("dropbear"), &json!(["binary_tensor_data"])));
    for path in ["/v2/models/imagenet", "/v2/models/imagenet/versions/1"] {
        let (status, model) = market.get(path).await;
        assert_eq!((status, &model["inputs"][0]["datatype"]), (200, &json!("BYTES")), "{model}");
    }
    assert_eq!(market.get("/v2/models/imagenet/ready").await.0, 200);
    let (_, groups) = market.get("/api/v1/groups").await;
    assert_eq!(groups["groups"][0]["owners"][2]["current"]["model"], "model-2", "{groups}");
    assert_eq!(market.get("/api/v1/groups/echo").await.1["task"], "identity");
}

#[tokio::test]
async fn a_batch_gives_one_certificate_per_item() {
    let market = Market::honest().await;
    let body = bytes(&images(&[picture([7; 4]), picture([9; 4])]));
    let (status, body) = market.post(INFER, body, &[]).await;
    assert_eq!((status, &body["id"], &body["model_name"]), (200, &json!("42"), &json!("imagenet")), "{body}");
    assert_eq!(output(&body, "label")["data"], json!(["thing 7", "thing 9"]));
    assert_eq!(output(&body, "class")["data"], json!([7, 9]));
    let tally: Value = serde_json::from_str(output(&body, "tally")["data"][1].as_str().unwrap()).unwrap();
    assert_eq!((&tally["votes"][0]["class"], &tally["assurance"]), (&json!(9), &json!("robust")));
    for (place, class) in [(0, 7), (1, 9)] {
        let verified = market.verify(&body["parameters"][format!("certificate.{place}")]);
        assert_eq!(verified.class(), Some(class));
        let id = body["parameters"][format!("request_id.{place}")].as_str();
        assert_eq!(id, Some(verified.record().request.to_string().as_str()));
    }
}

#[tokio::test]
async fn pixels_and_pictures_are_both_taken() {
    let market = Market::honest().await;
    let pixels: Vec<u8> = (0..4).flat_map(|_| [5, 0, 0]).collect();
    let input = json!({ "name": "image", "shape": [1, 1, 4, 3], "datatype": "UINT8", "data": pixels });
    let (status, body) = market.post(INFER, bytes(&json!({ "inputs": [input] })), &[]).await;
    assert_eq!((status, &output(&body, "class")["data"]), (200, &json!([5])), "{body}");
}

#[tokio::test]
async fn disagreement_of_one_item_is_a_conflict_that_names_it() {
    let market = Market::honest().await;
    let both = images(&[picture([7; 4]), picture([2, 2, 5, 7])]);
    let (status, body) = market.post(INFER, bytes(&both), &[]).await;
    assert_eq!(status, 409, "{body}");
    let outcomes: Vec<_> = body["items"].as_array().unwrap().iter().map(|item| &item["outcome"]).collect();
    assert_eq!(outcomes, ["agreed", "no-agreement"]);
    let (status, body) = market.post(INFER, bytes(&images(&[picture([2, 2, 5, 7])])), &[]).await;
    assert_eq!(status, 409);
    assert!(body["tally"]["votes"].is_array() && body["error"].as_str().unwrap().contains("no-agreement"), "{body}");
    market.verify(&body["certificate"]);
    let supported =
        market.post(INFER, bytes(&images(&[picture([2, 2, 5, 7])])), &[("dropbear-assurance", "supported")]);
    assert_eq!(supported.await.0, 200, "an option as a header");
}

#[tokio::test]
async fn binary_tensors_go_both_ways() {
    let market = Market::honest().await;
    let picture = picture([7; 4]);
    let json = bytes(&json!({
        "model_name": "ignored",
        "parameters": { "binary_data_output": true },
        "inputs": [{ "name": "image", "shape": [1, 1], "datatype": "BYTES",
                     "parameters": { "binary_data_size": picture.len() + 4 } }],
        "outputs": [{ "name": "class" }, { "name": "label", "parameters": { "binary_data": false } }],
    }));
    let mut body = json.clone();
    body.extend((picture.len() as u32).to_le_bytes());
    body.extend(&picture);
    // As tritonclient sends it: no Content-Type, compressed, the length that of the uncompressed JSON.
    let packed = gzip(&body);
    let call = market.http.post(format!("{}{INFER}", market.url)).body(packed);
    let call = call.header("inference-header-content-length", json.len()).header("content-encoding", "gzip");
    let response = call.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let length: usize = response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let body = response.bytes().await.unwrap();
    let described: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(described["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(output(&described, "label")["data"], json!(["thing 7"]));
    assert_eq!(output(&described, "class")["parameters"]["binary_data_size"], 8);
    assert_eq!(body[length..], 7i64.to_le_bytes());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_without_description_is_one_picture() {
    let market = Market::honest().await;
    let call = market.http.post(format!("{}{INFER}", market.url)).body(picture([7; 4]));
    let response = call.header("inference-header-content-length", 0).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn identity_gives_its_input_back() {
    let market = Market::honest().await;
    let input = json!({ "name": "INPUT0", "shape": [1, 3], "datatype": "FP32", "data": [[0.1, 2.0, -3.5]] });
    let (status, body) = market.post(ECHO, bytes(&json!({ "inputs": [input] })), &[]).await;
    let echo = output(&body, "OUTPUT0");
    assert_eq!((status, &echo["data"], &echo["shape"]), (200, &json!([0.1, 2.0, -3.5]), &json!([1, 3])), "{body}");
    market.verify(&body["parameters"]["certificate.0"]);
    let (_, body) =
        market.post(ECHO, bytes(&json!({ "inputs": [input_of("x")] })), &[("dropbear-certify", "none")]).await;
    assert!(body["parameters"]["certificate.0"].is_null() && body["outputs"].is_array(), "{body}");
}

fn input_of(text: &str) -> Value {
    json!({ "name": "a", "shape": [1], "datatype": "BYTES", "data": [text] })
}

/// A PNG that claims other dimensions, with the checksum that its header then has.
fn with_dimensions(mut png: Vec<u8>, dimensions: [u8; 8]) -> Vec<u8> {
    png[16..24].copy_from_slice(&dimensions);
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    png
}

#[tokio::test]
async fn whatever_cannot_be_answered_is_refused_clearly_and_costs_nobody_else() {
    let market = Market::honest().await;
    let image = |data: &[u8]| bytes(&images(&[data.to_vec()]));
    let half = picture([7; 4]);
    let half = &half[..half.len() - 20];
    let bomb = with_dimensions(picture([7; 4]), [0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let with = |parameters: Value| {
        let mut body = images(&[picture([7; 4])]);
        body["parameters"] = parameters;
        bytes(&body)
    };
    for (path, body, status, complaint) in [
        (INFER, b"".to_vec(), 400, "not an inference request"),
        (INFER, b"\xff\xfe\x00".to_vec(), 400, "not an inference request"),
        (INFER, br#"{"inputs":[]}"#.to_vec(), 400, "exactly one input"),
        (INFER, image(b"GIF89a"), 400, "not a JPEG or PNG"),
        (INFER, image(half), 400, "no model could read"),
        (INFER, image(&bomb), 400, "too large"),
        (INFER, bytes(&json!({ "inputs": [input_of("*")] })), 400, "base64"),
        (INFER, with(json!({ "assurance": "certain" })), 400, "assurance"),
        (INFER, with(json!({ "nonce": 7 })), 400, "nonce"),
        (INFER, with(json!({ "expiry_ms": 7 })), 400, "expired"),
        (INFER, with(json!({ "nested": {} })), 400, "flat"),
        ("/v2/models/nobody/infer", image(&picture([7; 4])), 404, "no model group `nobody`"),
        ("/v2/models/imagenet/versions/2/infer", image(&picture([7; 4])), 404, "version 1"),
        ("/api/v1/groups/imagenet/classify", b"no picture".to_vec(), 400, "not a JPEG or PNG"),
        ("/api/v1/groups/echo/classify", picture([7; 4]), 400, "does not take pictures"),
        ("/api/v1/groups/imagenet/classify?certify=perhaps", picture([7; 4]), 400, "certify"),
        ("/nowhere", Vec::new(), 404, "nothing at this address"),
        ("/v2", Vec::new(), 405, "method"),
    ] {
        let (found, body) = market.post(path, body, &[]).await;
        let message = body["error"].as_str().unwrap().to_owned();
        assert!(found == status && message.contains(complaint), "{path}: {found} {message}");
    }
    for (path, status) in [
        ("/v2/models/nobody", 404),
        ("/v2/models/nobody/ready", 404),
        ("/v2/models/%ff", 400),
        ("/api/v1/groups/nobody", 404),
        ("/api/v1/certificates/xyz", 400),
        (&format!("/api/v1/certificates/{}", "0".repeat(64)), 404),
    ] {
        assert_eq!(market.get(path).await.0, status, "{path}");
    }
    let headers = [("inference-header-content-length", "999999"), ("content-encoding", "gzip")];
    for header in headers {
        assert_eq!(market.post(INFER, image(&picture([7; 4])), &[header]).await.0, 400, "{header:?}");
    }
    assert_eq!(market.post(INFER, image(&picture([7; 4])), &[]).await.0, 200, "and it still serves");
}

#[tokio::test]
async fn too_large_a_body_is_refused_packed_or_not() {
    let mut cast = Cast::default();
    cast.limits.body_bytes_max = 1 << 20;
    let market = Market::start(cast).await;
    let large = vec![0; 3 << 20];
    assert_eq!(market.post(INFER, large.clone(), &[]).await.0, 413);
    assert_eq!(market.post(INFER, gzip(&large), &[("content-encoding", "gzip")]).await.0, 413, "a bomb");
    assert_eq!(market.get("/v2/health/ready").await.0, 200);
}

#[tokio::test]
async fn beyond_its_limit_the_gateway_says_so() {
    let mut cast = Cast::default();
    cast.limits.items_in_flight_max = 2;
    cast.owners = [market::node::Manner::Silent; 4];
    let market = Market::start(cast).await;
    let ask = |count: usize| {
        let body = bytes(&images(&vec![picture([7; 4]); count]));
        let call = market.http.post(format!("{}{INFER}", market.url)).body(body).header("dropbear-timeout-ms", "400");
        async move { call.send().await.unwrap() }
    };
    let (first, second) = tokio::join!(ask(2), ask(2));
    let mut statuses = [first.status().as_u16(), second.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [429, 504]);
    let refused = if first.status() == 429 { first } else { second };
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(ask(2).await.status(), 504, "the places are free again");
}

#[tokio::test]
async fn stopping_finishes_what_was_asked() {
    let market = Market::honest().await;
    let call = market.http.post(format!("{}{INFER}", market.url)).body(bytes(&images(&[picture([7; 4])])));
    let asked = tokio::spawn(async move { call.send().await.unwrap().status().as_u16() });
    market.ledger.has_answered(1).await;
    market.gateway.stop().await;
    assert_eq!(asked.await.unwrap(), 200);
    assert!(market.http.get(market.url).send().await.is_err(), "nobody listens any more");
}
