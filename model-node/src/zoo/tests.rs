use super::*;
use std::collections::BTreeSet;

/// A version digest is what owners publish and certificates name: it changes only when the model does.
#[test]
fn the_models_have_known_versions() {
    let versions: Vec<(&str, String)> = (pins::MODELS.iter())
        .map(|model| {
            let digest = files::manifest(model, Format::Onnx).version_digest();
            (model.name, blake3::Hash::from_bytes(digest).to_string())
        })
        .collect();
    let known = [
        ("lite0", "c5385277fb51d9cc12a45ef68167ce91cb5c8e1a57d5d95d2595842dad7cf3bd"),
        ("lite1", "6103ec31f8a93f6276d284d377cebb50aedb47169bc185630f8d6eba079f4008"),
        ("lite2", "afc21956015fc902c87ce127b3e3eb217f0ce71725fa16e474790e5ab5065e0a"),
        ("lite2-int8", "e78b43abf4155b7cbbe04158db146b1ac352951f4324edd3c7489e4c81b28563"),
        ("lite0-int8", "856fef6c585006610727d62768dc1fb7d4211fd5491815d9d133da832bf9407f"),
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
        let manifest = files::manifest(model, Format::Candle);
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
