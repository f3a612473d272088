use super::*;
use std::collections::BTreeSet;

/// A version digest is what owners publish and certificates name: it changes only when the model does.
#[test]
fn the_models_have_known_versions() {
    let versions: Vec<(&str, String)> = (pins::MODELS.iter())
        .map(|model| {
            let digest = files::manifest(model).version_digest();
            (model.name, blake3::Hash::from_bytes(digest).to_string())
        })
        .collect();
    let known = [
        ("lite0", "862fcce89e9f4848cf9e50e80ef1ba2010408a3ee9b5daa07bb4f29f471950c6"),
        ("lite1", "41d47bf2873b4820f5ff34acb4f841cd9b3865b9430918fe3c71eb576d31b520"),
        ("lite2", "d03b00a8181c2043bdae47e2edb59a7317b1432e1d96c7631bdf189734076b20"),
        ("lite2-int8", "a6013d61690dc5f1d17e87bb8c92a348d91bce70d732138cdb66fa214e8aa849"),
        ("lite0-int8", "3324e5eb8c21d886cf877561a057bfff0ec0e7ba1090d3f8506be3f8d7b6a7d7"),
    ];
    assert_eq!(versions, known.map(|(name, digest)| (name, digest.to_owned())));
}

#[test]
fn the_group_and_the_spare_are_the_models() {
    let models: BTreeSet<&str> = pins::MODELS.iter().map(|model| model.name).collect();
    let named: BTreeSet<&str> = GROUP.into_iter().chain([SPARE]).collect();
    assert_eq!(models, named);
}

#[test]
fn every_expected_file_is_expected_once() {
    let paths: Vec<String> = files::expected().into_iter().map(|file| file.path).collect();
    let distinct: BTreeSet<&String> = paths.iter().collect();
    assert_eq!(distinct.len(), paths.len());
}

#[test]
fn manifests_that_are_written_are_manifests() -> Result<(), Box<dyn std::error::Error>> {
    for model in pins::MODELS {
        let manifest = files::manifest(model);
        assert_eq!(Manifest::parse(&manifest.to_toml())?, manifest);
    }
    Ok(())
}

#[test]
fn machines_without_a_pinned_runtime_lack_only_that() {
    let names = |os, architecture| (pins::wheels(os, architecture)).map(|wheel| wheel.package).collect::<Vec<_>>();
    assert_eq!(names("linux", "x86_64"), names("linux", "aarch64"));
    assert_eq!(names("linux", "x86_64")[1..], names("macos", "aarch64"));
}
