//! The arrows of ARCHITECTURE.md: who may depend on whom. A new arrow is a decision and gets a line there.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// (crate, what it may use of ours). Missing arrows are allowed, others are not.
const ARROWS: [(&str, &[&str]); 12] = [
    ("dropbear-certificates", &[]),
    ("dropbear-ops", &[]),
    // And dropbear-torch, where it is built with libtorch.
    ("dropbear-models", &["dropbear-ops"]),
    ("dropbear-telemetry", &[]),
    ("dropbear-consensus", &["dropbear-certificates"]),
    ("dropbear-engine", &["dropbear-consensus"]),
    ("dropbear-wire", &["dropbear-certificates", "dropbear-consensus"]),
    (
        "dropbear-coordinator",
        &["dropbear-certificates", "dropbear-consensus", "dropbear-engine", "dropbear-telemetry", "dropbear-wire"],
    ),
    (
        "dropbear-model-node",
        &["dropbear-certificates", "dropbear-consensus", "dropbear-models", "dropbear-telemetry", "dropbear-wire"],
    ),
    (
        "dropbear-marketplace-api",
        &["dropbear-certificates", "dropbear-consensus", "dropbear-telemetry", "dropbear-wire"],
    ),
    ("dropbear-bench", &["dropbear-certificates", "dropbear-telemetry", "dropbear-wire"]),
    (
        "dropbear",
        &[
            "dropbear-bench",
            "dropbear-certificates",
            "dropbear-consensus",
            "dropbear-coordinator",
            "dropbear-marketplace-api",
            "dropbear-model-node",
            "dropbear-models",
            "dropbear-telemetry",
            "dropbear-wire",
        ],
    ),
];

/// What a pure crate must not pull in, directly.
const IMPURE: [&str; 7] = ["tokio", "tonic", "axum", "reqwest", "redb", "rand", "getrandom"];
const PURE: [&str; 2] = ["dropbear-certificates", "dropbear-consensus"];

#[test]
fn dependencies_follow_the_arrows() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let drawn: BTreeSet<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, drawn, "every crate of the workspace has its arrows here and in ARCHITECTURE.md");
    for package in &metadata.packages {
        let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()).unwrap();
        let used = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in used {
            let name = dependency.name.as_str();
            assert!(!ours.contains(name) || allowed.contains(&name), "{} must not use {name}", package.name);
            let pure = PURE.contains(&package.name.as_str());
            assert!(!pure || !IMPURE.contains(&name), "{} does no IO and must not use {name}", package.name);
            let engine = package.name.as_str() == "dropbear-engine";
            assert!(engine || !name.starts_with("commonware"), "{} must not name the engine's library", package.name);
        }
    }
}

#[test]
fn every_crate_says_what_it_is_in_one_sentence_everywhere() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in &metadata.packages {
        let sentence = package.description.as_deref().unwrap_or_default();
        let root = package.manifest_path.parent().unwrap();
        let source =
            ["src/lib.rs", "src/main.rs"].map(|file| std::fs::read_to_string(root.join(file)).unwrap_or_default());
        let first = source.iter().find_map(|text| text.lines().next()).unwrap_or_default();
        assert_eq!(first, format!("//! {sentence}"), "{}: Cargo.toml and the first line of its docs", package.name);
    }
}
