use super::*;

const LITE0: &str = r#"
name = "lite0"
task = "image-classification"
backend = "onnx"
licence = "Apache-2.0"
lineage = "EfficientNet-Lite0"

[artefact]
file = "lite0.onnx"
blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

[input]
tensor = "input"
side = 224
crop_margin = 32
mean = 127.0
scale = 128.0

[output]
tensor = "logits"
classes = 1000
labels = "imagenet-1k.json"
"#;

const ECHO: &str = r#"
name = "echo"
task = "identity"
backend = "identity"
licence = "Apache-2.0"
lineage = ""
"#;

const SUM: &str = r#"
name = "sum"
task = "regression"
backend = "linear"
licence = "MIT"
lineage = "none"

[artefact]
file = "sum.f32"
blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

[input]
tensor = "x"
shape = [2, 3]

[output]
tensor = "y"
length = 4

[card]
file = "card.md"
blake3 = "9f1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"#;

fn hex(digest: [u8; 32]) -> String {
    blake3::Hash::from_bytes(digest).to_string()
}

/// Changing these digests orphans every published version: don't.
#[test]
fn version_digests_are_fixed() -> Result<(), ManifestError> {
    assert_eq!(
        hex(Manifest::parse(LITE0)?.version_digest()),
        "cb4101265127288d5948adcff0db9e09c702146f163a7f104cfbd9608783ac3b"
    );
    assert_eq!(
        hex(Manifest::parse(ECHO)?.version_digest()),
        "6982e1f536c2da331faba56b809a68e1dd19053d2be661fc599f1a1e06c24621"
    );
    Ok(())
}

#[test]
fn whatever_decides_an_answer_changes_the_version() -> Result<(), ManifestError> {
    let original = Manifest::parse(LITE0)?.version_digest();
    for (from, to) in [
        ("\"lite0\"", "\"lite1\""),
        ("\"onnx\"", "\"candle\""),
        ("\"onnx\"", "\"torch\""),
        ("Apache-2.0", "MIT"),
        ("EfficientNet-Lite0", "EfficientNet-Lite1"),
        ("af1349", "bf1349"),
        ("\"input\"", "\"inputs\""),
        ("side = 224", "side = 240"),
        ("crop_margin = 32", "crop_margin = 0"),
        ("127.0", "127.5"),
        ("128.0", "127.5"),
        ("\"logits\"", "\"logit\""),
        ("1000", "1001"),
    ] {
        let changed = LITE0.replacen(from, to, 1);
        assert_ne!(changed, LITE0);
        assert_ne!(Manifest::parse(&changed)?.version_digest(), original, "{to}");
    }
    let original = Manifest::parse(SUM)?.version_digest();
    for (from, to) in [
        ("regression", "embedding"),
        ("\"linear\"", "\"onnx\""),
        ("af1349", "bf1349"),
        ("9f1349", "8f1349"),
        ("\"x\"", "\"z\""),
        ("[2, 3]", "[3, 2]"),
        ("\"y\"", "\"z\""),
        ("length = 4", "length = 5"),
    ] {
        let changed = SUM.replacen(from, to, 1);
        assert_ne!(Manifest::parse(&changed)?.version_digest(), original, "{to}");
    }
    let renamed = LITE0.replace("lite0.onnx", "model.onnx");
    assert_eq!(Manifest::parse(&renamed)?.version_digest(), Manifest::parse(LITE0)?.version_digest());
    Ok(())
}

#[test]
fn a_manifest_survives_being_written() -> Result<(), ManifestError> {
    for text in [LITE0, ECHO, SUM] {
        let manifest = Manifest::parse(text)?;
        assert_eq!(Manifest::parse(&manifest.to_toml())?, manifest);
    }
    Ok(())
}

#[test]
fn what_is_not_a_manifest_is_refused_by_field() {
    for (from, to, mention) in [
        ("side = 224", "side = 0", "input.side"),
        ("side = 224", "side = 5000", "input.side"),
        ("side = 224", "side = 224\ncolour = 1", "colour"),
        ("128.0", "0.0", "input.scale"),
        ("127.0", "nan", "input.scale"),
        ("classes = 1000", "classes = 0", "output.classes"),
        ("\"lite0.onnx\"", "\"../lite0.onnx\"", "artefact.file"),
        ("\"lite0.onnx\"", "\"/etc/passwd\"", "artefact.file"),
        ("\"imagenet-1k.json\"", "\"\"", "output.labels"),
        ("af1349", "xx1349", "artefact.blake3"),
        ("\"lite0\"", "\"Lite 0\"", "name"),
        ("\"onnx\"", "\"identity\"", "task"),
        ("\"onnx\"", "\"telepathy\"", "telepathy"),
        ("licence =", "license =", "license"),
    ] {
        let text = LITE0.replacen(from, to, 1);
        let error = Manifest::parse(&text).expect_err(to).to_string();
        assert!(error.contains(mention), "{to}: {error}");
    }
}

#[test]
fn numbers_have_other_fields_than_pictures() {
    for (from, to, mention) in [
        ("shape = [2, 3]", "", "input.shape"),
        ("shape = [2, 3]", "shape = []", "input.shape"),
        ("shape = [2, 3]", "shape = [2, 0]", "input.shape"),
        ("shape = [2, 3]", "shape = [65536, 65536]", "input.shape"),
        ("shape = [2, 3]", "shape = [2]\nside = 3", "input.side"),
        ("length = 4", "length = 0", "output.length"),
        ("length = 4", "classes = 4", "output.classes"),
        ("\"linear\"", "\"identity\"", "task"),
        ("\"linear\"", "\"candle\"", "task"),
        ("\"card.md\"", "\"../card.md\"", "card.file"),
        ("9f1349", "9f134", "card.blake3"),
    ] {
        let error = Manifest::parse(&SUM.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(mention), "{to}: {error}");
    }
}

#[test]
fn another_artefact_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let Task::ImageClassification(classification) = Manifest::parse(LITE0)?.task else {
        panic!("lite0 classifies images");
    };
    let artefact = classification.artefact;
    assert!(matches!(artefact.read(dir.path()), Err(ManifestError::Read { .. })));
    std::fs::write(dir.path().join("lite0.onnx"), b"")?;
    assert_eq!(artefact.read(dir.path())?, b"");
    std::fs::write(dir.path().join("lite0.onnx"), b"something else")?;
    assert!(matches!(artefact.read(dir.path()), Err(ManifestError::Digest { .. })));
    Ok(())
}
