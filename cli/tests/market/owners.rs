//! Bad artefacts and bad owners: each is refused with the reason, at the earliest place.

use std::path::{Path, PathBuf};

use dropbear_certificates::Digest;
use dropbear_consensus::{Activate, Approve, Entry, Register};
use dropbear_model_node::zoo::{SPARE, Zoo, cache_directory};
use dropbear_wire::files::{read_genesis, read_key};
use dropbear_wire::{client, v1};

use crate::desk::{Owner, roster};
use crate::harness::{Folder, Up, dropbear, said};

const GROUP: &str = "imagenet";

#[tokio::test(flavor = "multi_thread")]
async fn bad_artefacts_and_bad_owners() {
    let folder = Folder::init("imagenet");
    let up = Up::start(&folder).await;
    let alder = Owner::of(&folder, "alder", GROUP);
    artefacts_that_are_not_fit(&folder, &alder);
    models_of_others(&folder, &alder);
    let before = alder.group();
    entries_that_are_not_their_signers(&folder).await;
    seats_without_approval(&folder).await;
    assert_eq!(roster(&alder.group()), roster(&before));
    up.stop().await;
}

/// A copy of the spare sample model with its manifest changed.
fn model(
    folder: &Path,
    name: &str,
    change: impl Fn(String) -> String,
    artefact: impl Fn(Vec<u8>) -> Vec<u8>,
) -> PathBuf {
    let source = Zoo::open(&cache_directory().unwrap()).unwrap().manifest_path(SPARE).unwrap();
    let target = folder.join(name);
    std::fs::create_dir(&target).unwrap();
    let (file, labels) = (source.with_extension("onnx"), source.with_file_name("imagenet-1k.json"));
    let file = target.join(file.file_name().unwrap());
    for beside in [source.clone(), source.with_extension("md"), source.with_extension("onnx"), labels] {
        std::fs::copy(&beside, target.join(beside.file_name().unwrap())).unwrap();
    }
    let manifest = target.join(source.file_name().unwrap());
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&file, artefact(std::fs::read(&file).unwrap())).unwrap();
    std::fs::write(&manifest, change(text)).unwrap();
    manifest
}

/// The manifest with the artefact's digest as the file has it now.
fn rehashed(text: &str, bytes: &[u8]) -> String {
    let start = text.find("blake3 = \"").unwrap() + 10;
    format!("{}{}{}", &text[..start], blake3::hash(bytes), &text[start + 64..])
}

fn artefacts_that_are_not_fit(folder: &Folder, alder: &Owner<'_>) {
    let refused = |manifest: &Path, reason: &str| {
        alder.is_refused(&["model", "publish", manifest.to_str().unwrap()], reason);
    };
    let scratch = folder.scratch();
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    refused(&model(scratch, "swapped", |text| text, half), "is not the artefact that its manifest names");
    let truncated = model(scratch, "truncated", |text| text, half);
    let artefact = std::fs::read_dir(truncated.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    let artefact = artefact.into_iter().find(|path| path.extension().is_some_and(|end| end == "onnx")).unwrap();
    let text = rehashed(&std::fs::read_to_string(&truncated).unwrap(), &std::fs::read(artefact).unwrap());
    std::fs::write(&truncated, text).unwrap();
    refused(&truncated, "does not run");
    let fewer = |text: String| text.replace("classes = 1000", "classes = 10");
    refused(&model(scratch, "fewer", fewer, |bytes| bytes), "does not fit the charter");
    let card = [b"---\nlicense: x\n---\n".to_vec(), vec![b'x'; 10 << 20]].concat();
    let digest = blake3::hash(&card);
    let carded = |text: String| {
        let (rest, _) = text.split_once("[card]").unwrap();
        format!("{rest}[card]\nfile = \"card.md\"\nblake3 = \"{digest}\"\n")
    };
    let large = model(scratch, "carded", carded, |bytes| bytes);
    std::fs::write(large.parent().unwrap().join("card.md"), card).unwrap();
    refused(&large, "is longer than 65536 bytes");
    // What is fit is refused before its model is registered.
    let fit = model(scratch, "fit", |text| text, |bytes| bytes);
    refused(&fit, "register it first");
}

fn models_of_others(folder: &Folder, alder: &Owner<'_>) {
    let birch = Owner::of(folder, "birch", GROUP);
    let of = |owner: &Owner<'_>| owner.says(&["model", "list"]);
    let mine = of(alder).into_iter().find(|line| line["owner"] == "alder").unwrap();
    let version = mine["version"].as_str().unwrap();
    birch.is_refused(&["model", "retire", version], "this owner published no such version");
    birch.is_refused(&["model", "activate", version], "published no version");
    birch.is_refused(&["model", "rollback"], "no other version was in force before");
    assert_eq!(of(alder).into_iter().find(|line| line["owner"] == "alder").unwrap()["state"], "in force");
}

/// Sends an entry as it is; gives the refusal's code.
async fn submit(folder: &Folder, entry: &Entry) -> String {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], folder.port_base + 10));
    let what = Some(v1::submit_request::What::Entry(entry.to_bytes().into()));
    let request = v1::SubmitRequest { what, timeout_ms: 10_000, want_leaves: false, patience_ms: 0 };
    match client::coordinator(address).submit(request).await {
        Ok(reply) => reply.into_inner().refusal.map_or_else(|| "applied".into(), |refusal| refusal.code),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

async fn entries_that_are_not_their_signers(folder: &Folder) {
    let key = |owner: &str| read_key(&folder.dir().join(owner).join("owner.key")).unwrap();
    let genesis = read_genesis(&folder.genesis()).unwrap().0.digest();
    let (alder, birch) = (key("alder"), key("birch"));
    let activate = |serial, version| Activate {
        genesis,
        owner: alder.public(),
        serial,
        group: GROUP.into(),
        version,
        from_seq: 0,
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let forged = activate(now, Digest::of(b"x")).sign(&birch);
    assert!(submit(folder, &forged).await.contains("signature does not verify"));
    assert_eq!(submit(folder, &activate(now, Digest::of(b"never published")).sign(&alder)).await, "not-published");
    assert_eq!(submit(folder, &activate(1, Digest::of(b"x")).sign(&alder)).await, "replayed");
    let elsewhere = Activate { genesis: Digest::of(b"another market"), ..activate(now, Digest::of(b"x")) };
    assert!(submit(folder, &elsewhere.sign(&alder)).await.contains("another market"));
    assert_eq!(submit(folder, &activate(now + 600_000, Digest::of(b"x")).sign(&alder)).await, "serial-ahead");
}

async fn seats_without_approval(folder: &Folder) {
    let dir = folder.dir();
    let dir = dir.to_str().unwrap();
    let again = dropbear(&["owner", "init", dir, "alder"]);
    assert!(!again.status.success() && said(&again).contains("exists"), "{}", said(&again));
    let made = dropbear(&["owner", "init", dir, "elm"]);
    assert!(made.status.success(), "{}", said(&made));
    let elm = Owner::of(folder, "elm", GROUP);
    let key = read_key(&elm.folder().join("owner.key")).unwrap();
    let genesis = read_genesis(&folder.genesis()).unwrap().0.digest();
    let register = Register {
        genesis,
        owner: key.public(),
        serial: 1_700_000_000_000,
        group: GROUP.into(),
        model: "mine".into(),
        licence: "MIT".into(),
        lineage: String::new(),
    };
    assert_eq!(submit(folder, &register.sign(&key)).await, "not-named");
    let join = ["group", "join", GROUP, "--party", "nobody else", "--lineage", "unknown"];
    elm.is_refused(&[join.as_slice(), &["--as", "alder"]].concat(), "cannot take another owner of this name");
    let proposed = elm.does(&join);
    assert_eq!((proposed["approvals_needed"].as_u64(), proposed["from_seq"].as_u64()), (Some(3), None));
    elm.is_refused(&["group", "approve", GROUP], "approved the proposal already");
    elm.is_refused(&["group", "leave", GROUP], "refused (not-on-roster)");
    // A key that nobody asked has no say either.
    let stranger = dropbear_certificates::SecretKey::from_seed(&[9; 32]);
    let proposal = Digest::from_hex(proposed["proposal"].as_str().unwrap()).unwrap();
    let approve =
        Approve { genesis, owner: stranger.public(), serial: 1_700_000_000_000, group: GROUP.into(), proposal };
    assert_eq!(submit(folder, &approve.sign(&stranger)).await, "may-not-approve");
    Owner::of(folder, "alder", GROUP).does(&["group", "approve", GROUP, "elm"]);
    let group = elm.group();
    assert!(!roster(&group).contains(&"elm") && group["pending"].is_null(), "{group}");
    assert_eq!(group["proposals"][0]["approved"].as_array().map(Vec::len), Some(1), "{group}");
}
