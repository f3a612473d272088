//! A client of an identity market: it signs its requests, and believes only what verifies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use dropbear_certificates::request::{RequestTerms, SignedRequest, input_digest};
use dropbear_certificates::{Assurance, Certificate, Digest, SecretKey, Seed, TrustRoot, Verified};
use dropbear_wire::files::read_genesis;
use dropbear_wire::v1;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::Folder;

/// A request's time from asking to answer, unless a test says otherwise.
const TIMEOUT_MS: u64 = 20_000;
const LIFETIME_MS: u64 = 120_000;

/// The client.
#[derive(Clone)]
pub(crate) struct Asker {
    http: reqwest::Client,
    url: String,
    key: Arc<SecretKey>,
    trust: Arc<TrustRoot>,
    timeout_ms: u64,
    /// Every header that a verified certificate showed, by seq: one each, for ever.
    headers: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

/// One signed request, to be asked once or again.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) signed: SignedRequest,
    seed: Seed,
    nonce: [u8; 16],
    numbers: [f32; 4],
}

/// What came back.
pub(crate) enum Answer {
    /// A verified certificate over exactly this request.
    Certified(Box<Verified>),
    /// An error: its status and text.
    Failed(u16, String),
    /// The connection broke.
    Lost,
}

impl Answer {
    pub(crate) fn certified(self) -> Verified {
        match self {
            Self::Certified(verified) => *verified,
            Self::Failed(status, error) => panic!("{status}: {error}"),
            Self::Lost => panic!("the connection broke"),
        }
    }
}

impl Asker {
    pub(crate) fn of(folder: &Folder) -> Self {
        let (genesis, _) = read_genesis(&folder.genesis()).unwrap();
        Self {
            // Longer than the gateway's own deadline: it, and not this client, must end every wait.
            http: reqwest::Client::builder().timeout(Duration::from_millis(2 * TIMEOUT_MS)).build().unwrap(),
            url: folder.url(),
            key: Arc::new(SecretKey::from_seed(&[99; 32])),
            trust: Arc::new(TrustRoot::new(genesis)),
            timeout_ms: TIMEOUT_MS,
            headers: Arc::default(),
        }
    }

    /// Gives the gateway less time for each answer.
    pub(crate) fn impatient(&self, timeout_ms: u64) -> Self {
        Self { timeout_ms, ..self.clone() }
    }

    /// A request that nobody asked before, as long as `number` is new.
    pub(crate) fn request(&self, number: u64) -> Asked {
        let numbers = [0.0, 1.0, 2.0, 3.0].map(|place| (number % 65_536) as f32 + place);
        let nonce = u128::from(number).to_be_bytes();
        let seed = Seed(Digest::of(&nonce).0);
        let data = numbers.map(f32::to_le_bytes).concat();
        let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let terms = RequestTerms {
            genesis: self.trust.digest(),
            group: "identity".into(),
            input: input_digest("INPUT0", "FP32", &[4], &data),
            expiry_ms: now_ms + LIFETIME_MS,
            demand: Assurance::Robust,
        };
        Asked { signed: SignedRequest::by_client(terms, &self.key, &seed, nonce), seed, nonce, numbers }
    }

    /// Asks; a certificate that does not verify, or is about something else, fails the test.
    pub(crate) async fn ask(&self, asked: &Asked) -> Answer {
        let url = format!("{}/v2/models/identity/infer", self.url);
        let Ok(response) = self.http.post(url).json(&self.body(asked)).send().await else { return Answer::Lost };
        let status = response.status().as_u16();
        let Ok(body) = response.json::<Value>().await else { return Answer::Lost };
        let Some(encoded) = body["parameters"]["certificate.0"].as_str() else {
            return Answer::Failed(status, body["error"].as_str().unwrap().to_owned());
        };
        assert_eq!(body["outputs"][0]["data"], json!(asked.numbers), "{body}");
        let certificate = BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap();
        Answer::Certified(Box::new(self.verified(asked, &certificate)))
    }

    fn body(&self, asked: &Asked) -> Value {
        let input = json!({ "name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": asked.numbers });
        let parameters = json!({
            "seed": HEXLOWER.encode(&asked.seed.0),
            "nonce": HEXLOWER.encode(&asked.nonce),
            "expiry_ms": asked.signed.request.expiry_ms,
            "client_key": HEXLOWER.encode(self.key.public().as_bytes()),
            "client_signature": HEXLOWER.encode(&asked.signed.signature),
            "timeout_ms": self.timeout_ms,
        });
        json!({ "inputs": [input], "parameters": parameters })
    }

    fn verified(&self, asked: &Asked, certificate: &[u8]) -> Verified {
        let certificate = Certificate::from_bytes(certificate).unwrap();
        let verified = certificate.verify(&self.trust).unwrap();
        assert_eq!(verified.record().request, asked.signed.request.id());
        self.saw(certificate.header().seq, certificate.header().to_bytes());
        verified
    }

    /// Notes a block's header, which must be the only one of its seq.
    pub(crate) fn saw(&self, seq: u64, header: Vec<u8>) {
        let mut headers = self.headers.lock().unwrap();
        let known = headers.entry(seq).or_insert_with(|| header.clone());
        assert_eq!(*known, header, "two headers for block {seq}");
    }

    /// The certificate that the gateway gives for the request, long after.
    pub(crate) async fn fetch(&self, asked: &Asked) -> Option<Verified> {
        let url = format!("{}/api/v1/certificates/{}", self.url, asked.signed.request.id());
        let response = self.http.get(url).send().await.unwrap();
        match response.status().as_u16() {
            200 => Some(self.verified(asked, &response.bytes().await.unwrap())),
            404 => None,
            status => panic!("{status}: {}", response.text().await.unwrap()),
        }
    }
}

impl Asked {
    /// The question that a gateway puts to a model node.
    pub(crate) fn item(&self) -> v1::InferItem {
        let data = Bytes::from(self.numbers.map(f32::to_le_bytes).concat());
        let input = v1::Tensor { name: "INPUT0".into(), datatype: "FP32".into(), shape: vec![4], data };
        v1::InferItem {
            request: self.signed.request.statement().into(),
            signature: Bytes::copy_from_slice(&self.signed.signature),
            seed: Bytes::copy_from_slice(&self.seed.0),
            input: Some(input),
        }
    }
}

/// Clients that ask without pause. Every answer must be certified.
pub(crate) struct Load {
    clients: Vec<JoinHandle<()>>,
    answered: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
}

impl Load {
    pub(crate) fn start(asker: &Asker, clients: u64) -> Self {
        let (answers, answered) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let client = |client: u64| {
            let (asker, answers, stopped) = (asker.clone(), answers.clone(), stopped.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    if *stopped.borrow() {
                        break;
                    }
                    asker.ask(&asker.request(client << 32 | number)).await.certified();
                    answers.send_modify(|count| *count += 1);
                }
            })
        };
        // Numbers from 1 << 32 on: those below are for requests by hand.
        Self { clients: (1..=clients).map(client).collect(), answered, stop }
    }

    /// Waits for so many further answers.
    pub(crate) async fn answers(&mut self, more: u64) {
        let target = *self.answered.borrow() + more;
        let enough = self.answered.wait_for(|count| *count >= target);
        let waited = tokio::time::timeout(Duration::from_secs(60), enough).await;
        assert!(waited.is_ok_and(|answered| answered.is_ok()), "the answers stopped");
    }

    /// Stops asking; a client that failed fails the test.
    pub(crate) async fn end(self) -> u64 {
        self.stop.send_replace(true);
        for client in self.clients {
            client.await.unwrap();
        }
        *self.answered.borrow()
    }
}
