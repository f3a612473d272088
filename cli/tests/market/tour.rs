//! The tour of README, under continuous load: a fifth owner joins with a key of its own, publishes, is approved, gets its
//! votes counted, updates, rolls back, retires and leaves. No request fails, no certificate mixes versions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use dropbear_bench::history::load::{Recorder, ask};
use dropbear_bench::load::{Body, Question};
use dropbear_model_node::zoo::{SPARE, Zoo, cache_directory};
use dropbear_wire::follow::{Follower, LedgerView};
use serde_json::json;
use tokio::sync::watch;

use crate::desk::{LEDGER_TIMEOUT, Node, Owner, roster};
use crate::harness::{Folder, Up, dropbear, photos, said};

const GROUP: &str = "imagenet";
/// Clients that ask all the time.
const CLIENTS: usize = 2;
/// Between two looks at accounts, which nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_owner_comes_and_goes_under_load() {
    let folder = Folder::init("imagenet");
    let up = Up::start(&folder).await;
    let log = folder.scratch().join("log.jsonl");
    let (recorder, recording) = Recorder::start(&log).unwrap();
    let (stop, stopped) = watch::channel(false);
    let question = question(&folder);
    let loading = tokio::spawn(async move { ask(&question, CLIENTS, &recorder, stopped).await });

    let coordinator = ([127, 0, 0, 1], folder.port_base + 10).into();
    let view = Follower::start(vec![coordinator], 0).view();
    tour(&folder, view).await;

    stop.send_replace(true);
    loading.await.unwrap().unwrap();
    recording.finish().await.unwrap();
    let (dir, log) = (folder.dir(), log.to_str().unwrap().to_owned());
    let checked = dropbear(&["--json", "bench", "history", "--market", dir.to_str().unwrap(), "--log", &log]);
    assert!(checked.status.success(), "{}", said(&checked));
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["failed"], 0, "{report}");
    assert_eq!(report["charters"], 2, "{report}");
    assert!(report["certificates"].as_u64().unwrap() > 10 && report["violations"] == json!({}), "{report}");
    up.stop().await;
}

async fn tour(folder: &Folder, mut view: watch::Receiver<LedgerView>) {
    let made = dropbear(&["owner", "init", folder.dir().to_str().unwrap(), "elm"]);
    assert!(made.status.success(), "{}", said(&made));
    let elm = Owner::of(folder, "elm", GROUP);
    let mut node = Node::start(&elm.folder());

    // It joins: the proposal first, so that the ledger knows its key; then its model; then the approvals.
    elm.does(&["group", "join", GROUP, "--party", "elm (sample)", "--lineage", "EfficientNet-Lite0, rounded to int8"]);
    let zoo = Zoo::open(&cache_directory().unwrap()).unwrap();
    let first = zoo.manifest_path(SPARE).unwrap();
    elm.does(&["model", "register", text(&first)]);
    elm.does(&["model", "publish", text(&first), "--label", "v1"]);
    elm.does(&["model", "activate", "v1"]);
    for owner in ["alder", "birch", "cedar"] {
        Owner::of(folder, owner, GROUP).does(&["group", "approve", GROUP, "elm"]);
    }
    reaches(&mut view, |group| group.len() == 5).await;
    assert!(roster(&elm.group()).contains(&"elm"));
    assert_eq!(elm.current().as_deref(), Some("v1"));
    node.ready().await;
    votes_are_counted(&elm, 0).await;

    // A second version, back to the first, and the second never again.
    let second = second(&first, folder.scratch());
    elm.does(&["model", "publish", text(&second), "--label", "v2"]);
    let counted = in_force(&elm, &mut view, &["model", "activate", "v2"], "v2").await;
    votes_are_counted(&elm, counted).await;
    let counted = in_force(&elm, &mut view, &["model", "rollback"], "v1").await;
    votes_are_counted(&elm, counted).await;
    elm.does(&["model", "retire", "v2", "--reason", "the tour goes on without it"]);
    elm.is_refused(&["model", "activate", "v2"], "retired for good");
    let history = elm.says(&["model", "history"]);
    let steps: Vec<_> =
        history.iter().map(|line| line["entry"].as_str().unwrap()).filter(|e| *e != "endpoints").collect();
    let expected = ["propose", "register", "publish", "activate", "publish", "activate", "activate", "withdraw"];
    assert_eq!(steps, expected);

    elm.does(&["group", "leave", GROUP]);
    reaches(&mut view, |group| group.len() == 4).await;
    assert!(!roster(&elm.group()).contains(&"elm"));
    node.stop().await;
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The owner changes its version, and the ledger reaches the block from which it is in force; gives the ballots counted
/// by then.
async fn in_force(elm: &Owner<'_>, view: &mut watch::Receiver<LedgerView>, command: &[&str], label: &str) -> u64 {
    let from = elm.does(command)["from_seq"].as_u64().unwrap();
    tokio::time::timeout(LEDGER_TIMEOUT, view.wait_for(|view| view.seq >= from)).await.unwrap().unwrap();
    assert_eq!(elm.current().as_deref(), Some(label));
    counted(elm)
}

/// Waits until the roster in force is so.
async fn reaches(
    view: &mut watch::Receiver<LedgerView>,
    is_so: impl Fn(&[dropbear_certificates::charter::Seat]) -> bool,
) {
    let group = |view: &LedgerView| view.groups.get(GROUP).is_some_and(|group| is_so(&group.charter.roster));
    tokio::time::timeout(LEDGER_TIMEOUT, view.wait_for(group)).await.unwrap().unwrap();
}

/// Ballots of this owner that were counted in time.
fn counted(owner: &Owner<'_>) -> u64 {
    let lines = owner.says(&["model", "stats"]);
    let mine = lines.iter().find(|line| line["owner"] == owner.name);
    mine.map_or(0, |line| line["in_time"].as_u64().unwrap())
}

async fn votes_are_counted(owner: &Owner<'_>, before: u64) {
    let more = async {
        while counted(owner) <= before {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(LEDGER_TIMEOUT, more).await.expect("ballots of the owner are counted");
}

/// The labelled sample photos, each a request.
fn question(folder: &Folder) -> Question {
    let labelled = photos().into_iter().filter(|photo| photo.class.is_some());
    let body = |path: PathBuf| {
        let data = BASE64.encode(&std::fs::read(path).unwrap());
        let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [data] });
        let body = json!({ "inputs": [input], "parameters": { "certify": "true" } });
        Body { bytes: serde_json::to_vec(&body).unwrap().into(), json_length: None }
    };
    let bodies = labelled.map(|photo| body(photo.path)).collect();
    Question { url: format!("{}/v2/models/{GROUP}/infer", folder.url()), bodies: Arc::new(bodies) }
}

/// The model once more, under a lineage of its own: another version.
fn second(first: &Path, scratch: &Path) -> PathBuf {
    let target = scratch.join("second");
    std::fs::create_dir(&target).unwrap();
    let (folder, name) = (first.parent().unwrap(), first.file_stem().unwrap().to_str().unwrap());
    for file in [format!("{name}.onnx"), format!("{name}.md"), "imagenet-1k.json".into()] {
        std::fs::copy(folder.join(&file), target.join(&file)).unwrap();
    }
    let text = std::fs::read_to_string(first).unwrap();
    let manifest = target.join("second.toml");
    std::fs::write(&manifest, text.replace("lineage = \"", "lineage = \"second version of ")).unwrap();
    manifest
}
