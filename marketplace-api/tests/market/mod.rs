//! A market in one process: four owners' model nodes and four coordinators as real gRPC services with real keys, on a
//! real ledger, and a gateway in front of them.
//!
//! Pictures say what each owner votes: the red of pixel i is owner i's class.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod committee;
pub(crate) mod node;

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dropbear_certificates::charter::{Seat, labels_digest};
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::genesis_json::{LabelTables, to_json};
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::{
    Assurance, Certificate, Charter, Committee, Digest, Genesis, Policy, SecretKey, TrustRoot, Verified,
};
use dropbear_marketplace_api::{CoordinatorAddress, Gateway, GatewayConfig, Limits};
use serde_json::Value;

use committee::{Conduct, Ledger};
use node::Manner;

pub(crate) const CLASSES: u32 = 200;

pub(crate) fn key(role: u8, place: usize) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place as u8]);
    SecretKey::from_seed(&seed)
}

pub(crate) fn owner(place: usize) -> SecretKey {
    key(1, place)
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

pub(crate) fn version(place: usize, version: u8) -> Digest {
    Digest::of(&[place as u8, version])
}

fn labels() -> Vec<String> {
    (0..CLASSES).map(|class| format!("thing {class}")).collect()
}

/// Four numbers with 16 fraction bits.
const TENSOR: TensorBounds = TensorBounds { length: 4, fraction_bits: 16, min: -(1 << 24), max: 1 << 24 };

/// Every group: its name, what it does, and how it agrees.
const GROUPS: [(&str, &str, Policy); 8] = [
    ("imagenet", "image-classification", Policy::Plurality),
    ("echo", "identity", Policy::Plurality),
    ("exact", "identity", Policy::Exact { quorum: 3 }),
    ("captions", "image-classification", Policy::Exact { quorum: 3 }),
    ("median", "regression", Policy::Median { tensor: TENSOR }),
    ("trimmed", "regression", Policy::TrimmedMean { tensor: TENSOR }),
    ("within", "embedding", Policy::Within { tensor: TENSOR, epsilon: 2 << 16, quorum: 3 }),
    ("ranked", "image-classification", Policy::Borda { ranks: 3 }),
];

pub(crate) fn seat(place: usize) -> Seat {
    Seat {
        owner: format!("owner-{place}"),
        key: owner(place).public(),
        party: format!("party {place}"),
        lineage: "test".into(),
    }
}

pub(crate) fn charter(group: &str, task: &str, policy: Policy) -> Charter {
    Charter {
        group: group.into(),
        task: task.into(),
        classes: CLASSES,
        labels: (task == "image-classification").then(|| labels_digest(&labels())),
        roster: (0..4).map(seat).collect(),
        policy,
        faults: 1,
        assurance: if matches!(policy, Policy::Borda { .. }) { Assurance::Decisive } else { policy.strongest() },
        notice_blocks: 1,
        approvals: 3,
        fee: 1,
    }
}

fn genesis() -> Genesis {
    let member = |place| Member {
        name: format!("member-{place}"),
        attestation: key(2, place).public(),
        engine: key(3, place).public(),
    };
    Genesis {
        market: "test".into(),
        created_ms: now_ms() - 60_000,
        rules: Rules { request_lifetime_ms_max: 60_000, clock_skew_ms_max: 5_000 },
        committee: Committee { epoch: 0, members: (0..4).map(member).collect() },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: key(4, 0).public() }],
        charters: GROUPS.into_iter().map(|(group, task, policy)| charter(group, task, policy)).collect(),
    }
}

/// Who misbehaves, and how.
pub(crate) struct Cast {
    pub(crate) owners: [Manner; 4],
    /// Further nodes: the owner's place, and how the node behaves.
    pub(crate) siblings: Vec<(usize, Manner)>,
    pub(crate) coordinators: [Conduct; 4],
    pub(crate) limits: Limits,
}

impl Default for Cast {
    fn default() -> Self {
        let limits = Limits { request_timeout_ms: 20_000, ..Limits::default() };
        Self { owners: [Manner::Honest; 4], siblings: Vec::new(), coordinators: [Conduct::Honest; 4], limits }
    }
}

pub(crate) struct Market {
    pub(crate) genesis: Genesis,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) gateway: Gateway,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Market {
    pub(crate) async fn honest() -> Self {
        Self::start(Cast::default()).await
    }

    pub(crate) async fn start(cast: Cast) -> Self {
        let genesis = genesis();
        let ledger = Ledger::start(genesis.clone());
        for (group, ..) in GROUPS {
            ledger.publish_all(group);
        }
        let mut coordinators = Vec::new();
        for (place, conduct) in cast.coordinators.into_iter().enumerate() {
            let address = committee::serve(Arc::clone(&ledger), place, conduct).await;
            coordinators.push(CoordinatorAddress { member: format!("member-{place}"), address });
        }
        let mut nodes: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for (place, manner) in cast.owners.into_iter().enumerate().chain(cast.siblings) {
            let address = node::serve(Arc::clone(&ledger), place, manner).await;
            nodes.entry(format!("owner-{place}")).or_default().push(address);
        }
        let groups = GROUPS.iter().map(|(group, ..)| ((*group).to_owned(), nodes.clone())).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let table = LabelTables::from([(labels_digest(&labels()), labels())]);
        std::fs::write(path("genesis.json"), to_json(&genesis, &table)).unwrap();
        let mut seed = [0; 32];
        seed[0] = 4;
        write_secret(&path("gateway.key"), &Digest(seed).to_string());
        let config = GatewayConfig {
            name: "gateway".into(),
            genesis: path("genesis.json"),
            key_file: path("gateway.key"),
            http_listen: "127.0.0.1:0".parse().unwrap(),
            grpc_listen: Some("127.0.0.1:0".parse().unwrap()),
            metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
            coordinators,
            groups,
            limits: cast.limits,
        };
        let gateway = Gateway::start(config).await.unwrap();
        gateway.ready().await;
        let url = format!("http://{}", gateway.http_address());
        Self { genesis, ledger, gateway, url, http: reqwest::Client::new(), folder }
    }

    pub(crate) fn trust(&self) -> TrustRoot {
        TrustRoot::new(self.genesis.clone())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        read(self.http.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut call = self.http.post(format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        read(call.send().await.unwrap()).await
    }

    /// Gives an entry to the gateway.
    pub(crate) async fn enter(&self, entry: dropbear_consensus::Entry) -> (u16, Value) {
        self.post("/api/v1/entries", entry.to_bytes(), &[]).await
    }

    /// What the gateway measures, as Prometheus reads it.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.gateway.metrics_address().unwrap());
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Asks a group over one tensor of numbers per item.
    pub(crate) async fn infer(&self, group: &str, items: &[[f32; 4]], options: &[(&str, &str)]) -> (u16, Value) {
        let data: Vec<f32> = items.iter().flatten().copied().collect();
        let input =
            serde_json::json!({ "name": "INPUT0", "shape": [items.len(), 4], "datatype": "FP32", "data": data });
        let body = serde_json::to_vec(&serde_json::json!({ "inputs": [input] })).unwrap();
        self.post(&format!("/v2/models/{group}/infer"), body, options).await
    }

    /// Classifies one picture.
    pub(crate) async fn classify(&self, picture: Vec<u8>, query: &str) -> (u16, Value) {
        self.classify_in("imagenet", picture, query).await
    }

    pub(crate) async fn classify_in(&self, group: &str, picture: Vec<u8>, query: &str) -> (u16, Value) {
        self.post(&format!("/api/v1/groups/{group}/classify?{query}"), picture, &[]).await
    }

    /// Verifies a base64url certificate as any holder could.
    pub(crate) fn verify(&self, certificate: &Value) -> Verified {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(certificate.as_str().unwrap().as_bytes()).unwrap();
        let verified = Certificate::from_bytes(&bytes).unwrap().verify(&self.trust()).unwrap();
        self.keep_for_other_verifiers(&bytes);
        verified
    }

    /// A line for the verifiers in other languages, where they are to run after this. They evaluate the group's policy
    /// anew, so that whoever accepts the certificate has found the same outcome.
    fn keep_for_other_verifiers(&self, certificate: &[u8]) {
        let Some(keep) = std::env::var_os("DROPBEAR_TEST_KEEP") else { return };
        let keep = std::path::Path::new(&keep);
        std::fs::create_dir_all(keep).unwrap();
        let trust = format!("trust-{}.json", self.genesis.digest());
        // Tests run at once: each file appears whole.
        let whole = keep.join(format!("{trust}.{:?}", std::thread::current().id()));
        std::fs::copy(self.folder.path().join("genesis.json"), &whole).unwrap();
        std::fs::rename(whole, keep.join(&trust)).unwrap();
        let certificate = data_encoding::HEXLOWER.encode(certificate);
        let line = serde_json::json!({ "trust": trust, "certificate": certificate, "expect": { "ok": true } });
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(keep.join("live.jsonl")).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").cloned();
    assert_eq!(kind.as_ref().map(|kind| kind.as_bytes()), Some(b"application/json".as_slice()), "{status}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(status >= 400, body["error"].is_string(), "{status} {body}");
    (status, body)
}

#[cfg(unix)]
fn write_secret(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A picture on which owner i sees class `classes[i]`.
pub(crate) fn picture(classes: [u8; 4]) -> Vec<u8> {
    let mut pixels = image::RgbImage::new(4, 1);
    for (place, class) in classes.into_iter().enumerate() {
        pixels.put_pixel(place as u32, 0, image::Rgb([class, 0, 0]));
    }
    let mut bytes = Vec::new();
    pixels.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}
