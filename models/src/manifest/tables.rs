//! The tables of a manifest file, as TOML reads and writes them.

use serde::{Deserialize, Serialize};

use super::{BackendKind, VectorKind};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestFile {
    pub(super) name: String,
    pub(super) task: TaskName,
    pub(super) backend: BackendName,
    pub(super) licence: String,
    pub(super) lineage: String,
    pub(super) artefact: Option<ArtefactTable>,
    pub(super) input: Option<InputTable>,
    pub(super) output: Option<OutputTable>,
    pub(super) card: Option<ArtefactTable>,
}

#[derive(Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TaskName {
    Identity,
    ImageClassification,
    Regression,
    Embedding,
}

#[derive(Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BackendName {
    Identity,
    Onnx,
    Linear,
    Candle,
    Torch,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArtefactTable {
    pub(super) file: String,
    pub(super) blake3: String,
}

/// Which fields there must be depends on the task.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputTable {
    pub(super) tensor: String,
    pub(super) side: Option<u32>,
    pub(super) crop_margin: Option<u32>,
    pub(super) mean: Option<f32>,
    pub(super) scale: Option<f32>,
    pub(super) shape: Option<Vec<u32>>,
}

/// Which fields there must be depends on the task.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputTable {
    pub(super) tensor: String,
    pub(super) classes: Option<u32>,
    pub(super) labels: Option<String>,
    pub(super) length: Option<u32>,
}

impl From<BackendKind> for BackendName {
    fn from(kind: BackendKind) -> Self {
        match kind {
            BackendKind::Onnx => Self::Onnx,
            BackendKind::Linear => Self::Linear,
            BackendKind::Candle => Self::Candle,
            BackendKind::Torch => Self::Torch,
        }
    }
}

impl From<VectorKind> for TaskName {
    fn from(kind: VectorKind) -> Self {
        match kind {
            VectorKind::Regression => Self::Regression,
            VectorKind::Embedding => Self::Embedding,
        }
    }
}
