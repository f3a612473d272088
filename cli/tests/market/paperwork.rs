//! What owners do at their desks, on one live market: look at their versions and cards, found a group of their own whose
//! answers are then certified, and move to a new key while their models go on answering; with coordinators in reach, and
//! with a gateway alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use dropbear_model_node::zoo::{GROUP as MODELS, Zoo, cache_directory};
use dropbear_wire::files::read_key;
use dropbear_wire::follow::{Follower, LedgerView};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::desk::{LEDGER_TIMEOUT, Node, Owner, roster};
use crate::harness::{Folder, Service, Up, classify, dropbear, photo, said, until};

const GROUP: &str = "imagenet";
/// The group that two newcomers found.
const ECHOES: &str = "echoes";
const CARD: &str = "---\nlicense: mit\npipeline_tag: identity\ninputs: any tensor\noutputs: the same tensor\n\
                    lineage: none\n---\n# An echo\n";

#[tokio::test(flavor = "multi_thread")]
async fn owners_do_their_paperwork() {
    let folder = Folder::init(GROUP);
    let up = Up::start(&folder).await;
    let coordinator = ([127, 0, 0, 1], folder.port_base + 10).into();
    let mut view = Follower::start(vec![coordinator], 0).view();

    versions_are_shown(&folder);
    let nodes = a_group_is_founded(&folder, &mut view).await;
    a_key_is_replaced(&folder, &up, &mut view).await;
    a_gateway_shows_what_coordinators_show(&folder);
    gateways_that_are_none_are_named(&folder);

    for node in nodes {
        node.stop().await;
    }
    up.stop().await;
}

/// A version of one's own with its digest, its state in the ledger, its manifest and its card.
fn versions_are_shown(folder: &Folder) {
    let alder = Owner::of(folder, "alder", GROUP);
    let zoo = Zoo::open(&cache_directory().unwrap()).unwrap();
    let manifest = zoo.manifest(MODELS[0]).unwrap();
    let digest = hex(&manifest.version_digest());

    let shown = alder.does(&["model", "show", &digest[..12]]);
    let expected = json!({
        "owner": "alder", "model": MODELS[0], "version": digest, "state": "in force",
        "licence": "Apache-2.0", "lineage": manifest.lineage,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{shown}");
    }
    let stored = PathBuf::from(shown["manifest"].as_str().unwrap());
    assert!(stored.starts_with(alder.folder()) && stored.is_file(), "{shown}");
    let card = &shown["card"];
    assert_eq!((&card["licence"], &card["task"]), (&json!("apache-2.0"), &json!("image-classification")), "{shown}");
    assert_eq!(card["metrics"][0]["results"][0]["metrics"][0]["value"], 0.9, "{shown}");
    assert!(shown["published_seq"].as_u64().is_some_and(|seq| seq > 0), "{shown}");

    // The same for people; from another machine, without the files.
    let dir = folder.dir();
    let dir = dir.to_str().unwrap();
    let text = dropbear(&["model", "show", &digest, "--group", GROUP, "--market", dir, "--owner", "alder"]);
    let text = said(&text);
    for part in [digest.as_str(), "in force", "Apache-2.0", "ImageNet-1k", "accuracy"] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    let key = alder.folder().join("owner.key");
    let far = ["--json", "model", "show", &digest, "--group", GROUP, "--market", dir, "--key", key.to_str().unwrap()];
    let far: Value = serde_json::from_slice(&dropbear(&far).stdout).unwrap();
    assert_eq!((&far["version"], &far["card"], &far["manifest"]), (&json!(digest), &Value::Null, &Value::Null));
    Owner::of(folder, "birch", GROUP).is_refused(&["model", "show", &digest], "published no version");
}

/// Two newcomers propose, consent, publish and activate; then their group answers, and its answers verify against genesis.
async fn a_group_is_founded(folder: &Folder, view: &mut watch::Receiver<LedgerView>) -> Vec<Node> {
    let dir = folder.dir();
    let seats: Vec<_> = ["elm", "fir"]
        .map(|name| {
            let made = dropbear(&["--json", "owner", "init", dir.to_str().unwrap(), name, "--group", ECHOES]);
            assert!(made.status.success(), "{}", said(&made));
            let made: Value = serde_json::from_slice(&made.stdout).unwrap();
            format!("{name}={}={name} (sample)=none", made["key"].as_str().unwrap())
        })
        .into();
    // One of them knows no coordinator.
    let (elm, fir) = (Owner::of(folder, "elm", ECHOES), Owner::of(folder, "fir", ECHOES).through(&folder.url()));

    let terms = ["group", "create", ECHOES, "--task", "identity", "--policy", "exact"];
    elm.is_refused(&[&terms[..], &["--seat", &seats[1]]].concat(), "you are not among the owners");
    let both = [&terms[..], &["--seat", &seats[0], "--seat", &seats[1]]].concat();
    let proposed = elm.does(&both);
    assert_eq!((&proposed["group"], &proposed["from_seq"]), (&json!(ECHOES), &Value::Null), "{proposed}");
    elm.is_refused(&both, "refused (already-proposed)");
    let groups = elm.says(&["group", "list"]);
    let echoes = groups.iter().find(|group| group["group"] == ECHOES).unwrap();
    assert_eq!(echoes["state"], "proposed", "{echoes}");
    assert_eq!(elm.group()["proposals"][0]["consent_missing"], json!(["fir"]));
    Owner::of(folder, "alder", GROUP).is_refused(&["group", "approve", ECHOES], "refused (may-not-approve)");

    let begins = fir.does(&["group", "approve", ECHOES])["from_seq"].as_u64().expect("everybody consented");
    let mut nodes = Vec::new();
    for owner in [&elm, &fir] {
        let manifest = echo(&folder.scratch().join(format!("{}-model", owner.name)));
        let manifest = manifest.to_str().unwrap();
        owner.does(&["model", "register", manifest]);
        owner.does(&["model", "publish", manifest, "--label", "first"]);
        owner.does(&["model", "activate", "first"]);
        assert_eq!(owner.does(&["model", "show", "first"])["card"]["inputs"], "any tensor");
        nodes.push(Node::start(&owner.folder()));
    }
    for node in &mut nodes {
        node.ready().await;
    }
    reached(view, begins).await;
    assert_eq!(roster(&elm.group()), ["elm", "fir"]);

    let url = format!("{}/v2/models/{ECHOES}/infer", folder.url());
    let input = json!({ "name": "INPUT0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3] });
    let body = json!({ "inputs": [input] });
    let ask = async || reqwest::Client::new().post(&url).json(&body).send().await.unwrap();
    // A gateway finds the nodes as soon as the ledger tells it where they are.
    until(async || ask().await.status().is_success()).await;
    let answer: Value = ask().await.json().await.unwrap();
    let encoded = answer["parameters"]["certificate.0"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let verified = verified(folder, &BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap());
    assert!(verified.contains("elm") && verified.contains("fir"), "{verified}");
    nodes
}

/// An owner moves to a new key, is restarted twice, and its ballots are counted all the time.
async fn a_key_is_replaced(folder: &Folder, up: &Up, view: &mut watch::Receiver<LedgerView>) {
    let alder = Owner::of(folder, "alder", GROUP).through(&folder.url());
    let key = || read_key(&alder.folder().join("owner.key")).unwrap().public();
    let old = key();

    let made = alder.does(&["owner", "rekey"]);
    assert_eq!(made["applied"], false, "{made}");
    restart(folder, up, "alder").await;
    let moved = alder.does(&["owner", "rekey"]);
    assert_eq!((&moved["applied"], &moved["key"]), (&json!(true), &made["key"]), "{moved}");
    let shown = alder.does(&["owner", "show"]);
    assert_eq!(shown["replaced_by"], made["key"], "{shown}");

    // Blocks come with answers, and no answer lacks this owner's ballot for its key.
    let from = moved["from_seq"].as_u64().unwrap();
    while view.borrow().seq < from {
        assert_votes(folder).await;
    }
    assert_votes(folder).await;
    let finished = alder.does(&["owner", "rekey"]);
    assert_eq!(finished["in_place"], true, "{finished}");
    assert_ne!(key(), old);
    restart(folder, up, "alder").await;
    assert_votes(folder).await;

    let shown = alder.does(&["owner", "show"]);
    assert_eq!((&shown["key"], &shown["groups"][0]["standing"]), (&made["key"], &json!("seated")), "{shown}");
    let group = alder.group();
    let seat = group["charter"]["owners"].as_array().unwrap().iter().find(|seat| seat["owner"] == "alder").unwrap();
    assert_eq!(seat["key"], made["key"], "{group}");
    let stats = alder.says(&["model", "stats"]);
    let mine: Vec<_> = stats.iter().filter(|line| line["owner"] == "alder").collect();
    assert!(mine.len() == 1 && mine[0]["in_time"].as_u64().unwrap() > 0, "its account moved along: {stats:?}");
    // What it signs now, it signs with the new key.
    alder.does(&["model", "activate", &version_of(&alder)[..12]]);
}

/// The digest of the owner's version.
fn version_of(owner: &Owner<'_>) -> String {
    let line = owner.says(&["model", "list"]).into_iter().find(|line| line["owner"] == owner.name).unwrap();
    line["version"].as_str().unwrap().to_owned()
}

fn a_gateway_shows_what_coordinators_show(folder: &Folder) {
    let direct = Owner::of(folder, "alder", GROUP);
    let gateway = direct.through(&folder.url());
    let version = version_of(&gateway);
    let reads: [&[&str]; 7] = [
        &["group", "list"],
        &["group", "show", GROUP],
        &["group", "show", ECHOES],
        &["owner", "show"],
        &["model", "list"],
        &["model", "show", &version],
        &["model", "stats"],
    ];
    for read in reads {
        assert_eq!(gateway.says(read), direct.says(read), "{read:?}");
    }
    gateway.is_refused(&["model", "history"], "shows no blocks");
    // Somebody who has a key, the genesis and a URL, and nothing else.
    let (genesis, key) = (folder.genesis(), direct.folder().join("owner.key"));
    let [genesis, key] = [genesis.to_str().unwrap(), key.to_str().unwrap()];
    let far = ["--trust", genesis, "--gateway", &folder.url(), "--key", key, "--group", GROUP];
    let unknown = "ab".repeat(32);
    let retire = [&["--json", "model", "retire", &unknown][..], &far].concat();
    let refused = said(&dropbear(&retire));
    assert!(refused.contains("refused (not-published)"), "{refused}");
    let activate = [&["--json", "model", "activate", &version[..12]][..], &far].concat();
    let activated = dropbear(&activate);
    assert!(activated.status.success(), "{}", said(&activated));
}

/// Wrong addresses, and those of somebody else.
fn gateways_that_are_none_are_named(folder: &Folder) {
    let alder = Owner::of(folder, "alder", GROUP);
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    for (url, reason) in [
        ("127.0.0.1:8000".to_owned(), "--gateway is a URL like http://127.0.0.1:8000"),
        ("ftp://127.0.0.1".to_owned(), "--gateway is a URL like http://127.0.0.1:8000"),
        (at(1), "is not reachable"),
        (at(folder.port_base + 2), "is that a gateway's URL?"),
        (at(folder.port_base + 10), "did not answer"),
        (format!("{}/api", folder.url()), "there is nothing at this address"),
    ] {
        alder.through(&url).is_refused(&["owner", "show"], reason);
        alder.through(&url).is_refused(&["model", "activate", "any"], reason);
    }
    let elsewhere = Folder::init("identity");
    let genesis = elsewhere.genesis();
    let another = ["group", "list", "--trust", genesis.to_str().unwrap(), "--gateway", &folder.url()];
    let another = said(&dropbear(&another));
    assert!(another.contains("serves another market"), "{another}");
}

/// A certificate in which alder's ballot is counted, verified against genesis.
async fn assert_votes(folder: &Folder) {
    let picture = std::fs::read(photo("imagenet_00_243.jpg")).unwrap();
    until(async || {
        let (status, answer) = classify(folder, "", picture.clone()).await;
        assert_eq!(status, 200, "{answer}");
        let encoded = answer["results"][0]["certificate"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let verified = verified(folder, &BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap());
        let votes: BTreeSet<_> = verified.lines().filter(|line| line.trim_start().starts_with("votes")).collect();
        votes.iter().any(|line| line.contains("alder"))
    })
    .await;
}

fn verified(folder: &Folder, certificate: &[u8]) -> String {
    let (path, genesis) = (folder.scratch().join("one.cert"), folder.genesis());
    std::fs::write(&path, certificate).unwrap();
    let verified = dropbear(&["cert", "verify", path.to_str().unwrap(), "--trust", genesis.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", said(&verified));
    said(&verified)
}

async fn restart(folder: &Folder, up: &Up, owner: &str) {
    folder.signal(owner, Signal::SIGKILL).await;
    up.adopt(Service::start(folder, owner, "model-node").await);
}

async fn reached(view: &mut watch::Receiver<LedgerView>, seq: u64) {
    tokio::time::timeout(LEDGER_TIMEOUT, view.wait_for(|view| view.seq >= seq)).await.unwrap().unwrap();
}

/// A model that says what it hears, with a card.
fn echo(folder: &Path) -> PathBuf {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("card.md"), CARD).unwrap();
    let manifest = folder.join("echo.toml");
    let digest = blake3::hash(CARD.as_bytes());
    let text = format!(
        "name = \"echo\"\nlicence = \"MIT\"\nlineage = \"none\"\ntask = \"identity\"\nbackend = \"identity\"\n\
         [card]\nfile = \"card.md\"\nblake3 = \"{digest}\"\n"
    );
    std::fs::write(&manifest, text).unwrap();
    manifest
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
