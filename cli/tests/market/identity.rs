//! A market whose models echo: everything but inference, under the `exact` policy.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::harness::{Folder, Up, dropbear, said};

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_is_certified_exactly() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let input = json!({ "name": "INPUT0", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6] });
    let url = format!("{}/v2/models/identity/infer", folder.url());
    let request = reqwest::Client::new().post(url).json(&json!({ "id": "seven", "inputs": [input] }));
    let response = request.send().await.unwrap();
    let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
    assert!(status.is_success(), "{body}");
    assert_eq!((&body["id"], &body["outputs"][0]["shape"]), (&json!("seven"), &json!([2, 3])));
    for item in 0..2 {
        let encoded = body["parameters"][format!("certificate.{item}")].as_str().unwrap();
        let path = folder.scratch().join("echo.cert");
        std::fs::write(&path, BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap()).unwrap();
        let genesis = folder.genesis();
        let verified = dropbear(&["cert", "verify", path.to_str().unwrap(), "--trust", genesis.to_str().unwrap()]);
        assert!(verified.status.success() && said(&verified).contains("robust"), "{}", said(&verified));
    }
    up.stop().await;
}
