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
        ("lite0", "0640ca45a925f56fd9f44b1dada21cd2625f08e1c28d9a22ab3a605c88688baf"),
        ("lite1", "d74210bc809da7ade2e75da43b2796503c9bd15c77f268dbb6fbb1386777ede7"),
        ("lite2", "21d9d704cea70525d1f923605d09c59aa206ecec419663fdc70b5613ce95d674"),
        ("lite2-int8", "64e3e13d9161656d96209652622db6a48b401bc054616b7c1d5dc182555fe6f9"),
        ("lite0-int8", "dedb59138cf346ae218e1a1c19d3cc699ba6ec232bc6ebe5f97dc78857b20444"),
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
