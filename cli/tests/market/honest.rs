//! A whole market on real photos: what is certified verifies offline, what is disputed is said so, and bad input is
//! nobody else's problem.

use std::path::Path;

use crate::harness::{Folder, Up, classify, dropbear, photo, photos, said};
use coset::{CoseSign1, TaggedCborSerializable as _};
use dropbear_certificates::{Certificate, Digest, PublicKey};
use serde_json::{Value, json};

/// `dropbear cert verify` as a stranger would run it: with three files.
fn verify(genesis: &Path, certificate: &Path, image: &Path, more: &[&str]) -> (bool, String) {
    let [genesis, certificate, image] = [genesis, certificate, image].map(|path| path.to_str().unwrap());
    let output = dropbear(&[&["cert", "verify", certificate, "--trust", genesis, "--image", image], more].concat());
    (output.status.success(), said(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_of_honest_owners() {
    let folder = Folder::init("imagenet");
    let up = Up::start(&folder).await;
    photos_are_labelled_and_verify_offline(&folder);
    disputed_photos_are_certified_as_such(&folder).await;
    bad_input_is_named_and_harms_nobody(&folder).await;
    inference_protocol_answers(&folder).await;
    a_client_signs_its_requests(&folder);
    let status = dropbear(&["status", folder.dir().to_str().unwrap()]);
    assert!(status.status.success(), "{}", said(&status));
    up.stop().await;
    let status = dropbear(&["status", folder.dir().to_str().unwrap()]);
    assert!(!status.status.success() && said(&status).contains("DOWN"), "{}", said(&status));
}

fn photos_are_labelled_and_verify_offline(folder: &Folder) {
    let (genesis, out) = (folder.genesis(), folder.scratch().join("out"));
    let labelled: Vec<_> = photos().into_iter().filter(|photo| photo.class.is_some()).collect();
    assert_eq!(labelled.len(), 20);
    let (url, genesis_text, out_text) = (folder.url(), genesis.to_str().unwrap(), out.to_str().unwrap());
    let mut arguments = vec!["infer", "--json", "--gateway", &url, "--trust", genesis_text, "--out", out_text];
    arguments.extend(labelled.iter().map(|photo| photo.path.to_str().unwrap()));
    let inferred = dropbear(&arguments);
    assert!(inferred.status.success(), "{}", said(&inferred));

    let mut right = 0;
    for (line, photo) in said(&inferred).lines().zip(&labelled) {
        let line: Value = serde_json::from_str(line).unwrap();
        right += usize::from(line["class"].as_u64() == photo.class.map(u64::from));
        let name = photo.path.file_name().unwrap().to_str().unwrap();
        let certificate = out.join(format!("{name}.cert"));
        let label = line["label"].as_str().unwrap();
        let (verified, report) = verify(&genesis, &certificate, &photo.path, &["--label", label]);
        assert!(verified, "{report}");
        assert!(report.contains("robust") && report.contains("not proven"), "{report}");
    }
    assert!(right >= 18, "{right} of 20 labels");

    let name = labelled[0].path.file_name().unwrap().to_str().unwrap();
    let certificate = out.join(format!("{name}.cert"));
    standard_tools_read_the_receipts(folder, &certificate);
    keep_for_other_verifiers(folder, &certificate);
    let refused = |certificate: &Path, image: &Path, genesis: &Path, more: &[&str], code: &str| {
        let (verified, report) = verify(genesis, certificate, image, more);
        assert!(!verified && report.contains(code), "expected {code}: {report}");
    };
    refused(&certificate, &labelled[1].path, &genesis, &[], "other-image");
    refused(&certificate, &labelled[0].path, &genesis, &["--label", "zebra"], "other-label");
    let stranger = Folder::init("imagenet");
    refused(&certificate, &labelled[0].path, &stranger.genesis(), &[], "other-genesis");
    let bytes = std::fs::read(&certificate).unwrap();
    let damaged = folder.scratch().join("damaged.cert");
    for place in (0..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        std::fs::write(&damaged, changed).unwrap();
        refused(&damaged, &labelled[0].path, &genesis, &[], "REFUSED");
    }
    std::fs::write(&damaged, b"not a certificate").unwrap();
    refused(&damaged, &labelled[0].path, &genesis, &[], "malformed");
}

/// Each expanded receipt is a COSE_Sign1 that another library parses and whose signature covers the record root.
fn standard_tools_read_the_receipts(folder: &Folder, certificate: &Path) {
    let out = folder.scratch().join("receipts");
    let paths = [certificate, &folder.genesis(), &out].map(|path| path.to_str().unwrap().to_owned());
    let expanded = dropbear(&["cert", "expand", &paths[0], "--trust", &paths[1], "--out", &paths[2]]);
    assert!(expanded.status.success(), "{}", said(&expanded));
    let parsed = Certificate::from_bytes(&std::fs::read(certificate).unwrap()).unwrap();
    assert_eq!(std::fs::read(out.join("record.cbor")).unwrap(), parsed.record().to_bytes());
    let mut receipts = 0;
    for place in 0..4 {
        let Ok(bytes) = std::fs::read(out.join(format!("receipt-{place}.cose"))) else { continue };
        receipts += 1;
        let key = std::fs::read_to_string(out.join(format!("receipt-{place}.key"))).unwrap();
        let key = PublicKey::from_bytes(&Digest::from_hex(key.trim()).unwrap().0).unwrap();
        let receipt = CoseSign1::from_tagged_slice(&bytes).unwrap();
        let root = parsed.header().record_root;
        let check = |signature: &[u8], message: &[u8]| key.verifies(message, signature.try_into().unwrap());
        assert!(
            receipt
                .verify_detached_signature(&root.0, b"", |signature, message| check(signature, message)
                    .then_some(())
                    .ok_or(()))
                .is_ok()
        );
        assert!(
            receipt
                .verify_detached_signature(&[0; 32], b"", |signature, message| check(signature, message)
                    .then_some(())
                    .ok_or(()))
                .is_err()
        );
    }
    assert!(receipts >= 3, "a quorum of four");
}

/// A certificate of a live market for verifiers in other languages, where they are to run after this.
fn keep_for_other_verifiers(folder: &Folder, certificate: &Path) {
    let Some(keep) = std::env::var_os("DROPBEAR_TEST_KEEP") else { return };
    let keep = Path::new(&keep);
    std::fs::create_dir_all(keep).unwrap();
    std::fs::copy(certificate, keep.join("live.cert")).unwrap();
    std::fs::copy(folder.genesis(), keep.join("genesis.json")).unwrap();
}

async fn disputed_photos_are_certified_as_such(folder: &Folder) {
    for name in ["rocket.jpg", "coins.png"] {
        let (status, body) = classify(folder, "", std::fs::read(photo(name)).unwrap()).await;
        assert_eq!(status, 409, "{name}: {body}");
        assert!(body["error"].as_str().unwrap().starts_with("no-agreement"), "{body}");
        let result = &body["results"][0];
        assert_eq!(result["outcome"], "no-agreement");
        assert!(result["certificate"].is_string() && result["tally"]["votes"].is_array(), "{result}");
    }
    // Two of four say one thing of the rocket; of the coins, each model says another.
    let supported =
        async |name: &str| classify(folder, "?assurance=supported", std::fs::read(photo(name)).unwrap()).await;
    let (status, body) = supported("rocket.jpg").await;
    assert_eq!(status, 200, "{body}");
    let result = &body["results"][0];
    assert_eq!(result["class"], json!(540), "{result}");
    // Supported while a ballot is out, decisive once all four are in; never robust.
    assert!(["supported", "decisive"].contains(&result["assurance"].as_str().unwrap()), "{result}");
    let (status, body) = supported("coins.png").await;
    assert_eq!(status, 409, "{body}");
}

async fn bad_input_is_named_and_harms_nobody(folder: &Folder) {
    let good = std::fs::read(photo("imagenet_04_949.jpg")).unwrap();
    let refused = async |picture: Vec<u8>, expected: u16| {
        let (status, body) = classify(folder, "", picture).await;
        assert_eq!(status, expected, "{body}");
        assert!(body["error"].as_str().is_some_and(|error| error.len() > 10), "{body}");
    };
    refused(b"not an image".to_vec(), 400).await;
    refused(good[..good.len() / 2].to_vec(), 400).await;
    refused(bomb(), 400).await;
    refused(Vec::new(), 400).await;
    let large = reqwest::Client::new()
        .post(format!("{}/api/v1/groups/imagenet/classify", folder.url()))
        .body(vec![0; 100 << 20])
        .send()
        .await;
    // The gateway may close the connection before all of it is sent.
    assert!(large.is_err() || large.is_ok_and(|response| response.status() == 413));

    let infer = async |group: &str, body: Value| {
        let url = format!("{}/v2/models/{group}/infer", folder.url());
        let response = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let input = json!({ "name": "image", "shape": [1, 2, 3], "datatype": "UINT8", "data": [1, 2, 3, 4, 5, 6] });
    let (status, body) = infer("imagenet", json!({ "inputs": [input] })).await;
    assert_eq!(status, 400, "{body}");
    let (status, body) = infer("nobody", json!({ "inputs": [] })).await;
    assert_eq!(status, 404, "{body}");
    let (status, body) = infer("imagenet", json!({ "inputs": "garbage" })).await;
    assert_eq!(status, 400, "{body}");

    // A phone's photo as a form: the padding behind the picture's end makes it as large as one.
    let large = [good.clone(), vec![0; 3 << 20]].concat();
    let form =
        reqwest::multipart::Form::new().part("photo", reqwest::multipart::Part::bytes(large).file_name("photo.jpg"));
    let url = format!("{}/api/v1/groups/imagenet/classify", folder.url());
    let response = reqwest::Client::new().post(url).multipart(form).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    let (status, body) = classify(folder, "?expiry_ms=9007199254740991", good.clone()).await;
    assert_eq!(status, 400, "{body}");

    let (status, body) = classify(folder, "", good).await;
    assert_eq!((status, &body["results"][0]["label"]), (200, &json!("strawberry")), "the service is alive: {body}");
}

/// A PNG of 60,000 × 60,000 pixels in a few bytes.
fn bomb() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend(60_000u32.to_be_bytes());
    png.extend(60_000u32.to_be_bytes());
    png.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    png
}

async fn inference_protocol_answers(folder: &Folder) {
    let get = async |path: &str| reqwest::get(format!("{}{path}", folder.url())).await.unwrap();
    assert_eq!(get("/v2").await.json::<Value>().await.unwrap()["name"], "dropbear");
    assert!(get("/v2/health/live").await.status().is_success());
    assert!(get("/v2/health/ready").await.status().is_success());
    let metadata: Value = get("/v2/models/imagenet").await.json().await.unwrap();
    assert_eq!(metadata["inputs"][0]["name"], "image");
}

fn a_client_signs_its_requests(folder: &Folder) {
    let key = folder.scratch().join("client.key");
    dropbear_wire::files::write_seed(&key, &[77; 32]).unwrap();
    let (out, picture) = (folder.scratch().join("signed"), photo("imagenet_04_949.jpg"));
    let texts = [&folder.genesis(), &key, &out, &picture].map(|path| path.to_str().unwrap().to_owned());
    let [genesis, key, out_text, picture_text] = &texts;
    let url = folder.url();
    let asked =
        dropbear(&["infer", picture_text, "--gateway", &url, "--trust", genesis, "--key", key, "--out", out_text]);
    assert!(asked.status.success(), "{}", said(&asked));
    let (verified, report) = verify(&folder.genesis(), &out.join("imagenet_04_949.jpg.cert"), &picture, &[]);
    assert!(verified && report.contains("signed by the client"), "{report}");
}
