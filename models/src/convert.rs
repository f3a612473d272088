//! From published weights to artefacts: PyTorch checkpoints of EfficientNet-Lite become what each backend loads.
//!
//! Everything here is pure, and the same bytes in give the same bytes out on every machine: only IEEE 754 addition,
//! multiplication, division and square root are used. So an artefact's digest can be known before it is made.

pub mod checkpoint;
mod fold;
mod onnx_file;
mod pickle;
mod round;
mod to_onnx;
mod to_safetensors;
mod to_torchscript;
mod torchscript_file;
mod weighted;

use thiserror::Error;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use weighted::EfficientNetLite;

pub use crate::efficientnet_lite::Variant;

/// How finely weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As published.
    Fp32,
    /// Rounded to 255 steps per output channel, symmetric about zero, and stored as single-precision numbers so that
    /// any backend runs them.
    Int8,
}

/// Why weights do not become a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The architecture has a tensor that the checkpoint lacks.
    #[error("the checkpoint has no tensor `{name}`")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape than the architecture's.
    #[error("tensor `{name}` has shape {got:?}, not {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The architecture's shape.
        expected: Vec<usize>,
        /// The checkpoint's shape.
        got: Vec<usize>,
    },
    /// A weight is not a finite number once batch normalisation is folded in.
    #[error("the weights of `{name}` are not finite numbers")]
    NotFinite {
        /// The layer.
        name: String,
    },
    /// The checkpoint has a tensor that the architecture does not use: it is another architecture's.
    #[error("tensor `{name}` is not part of this architecture")]
    Unused {
        /// Its name.
        name: String,
    },
}

impl EfficientNetLite {
    /// Reads a PyTorch checkpoint of an EfficientNet-Lite.
    ///
    /// # Errors
    /// When the checkpoint is malformed or another architecture's.
    pub fn from_checkpoint(checkpoint: &[u8], variant: Variant, precision: Precision) -> Result<Self, ConvertError> {
        Self::new(Checkpoint::parse(checkpoint)?, variant, precision)
    }

    /// An ONNX model (operator set 13) with input `input` `[N, 3, side, side]` and output `logits` `[N, 1000]`.
    pub fn to_onnx(&self) -> Vec<u8> {
        to_onnx::write(self)
    }

    /// A safetensors file: every weight and bias, and the variant's name as the metadata `architecture`.
    pub fn to_safetensors(&self) -> Vec<u8> {
        to_safetensors::write(self)
    }

    /// A TorchScript module whose `forward` takes `[N, 3, side, side]` and returns `[N, 1000]`.
    pub fn to_torchscript(&self) -> Vec<u8> {
        to_torchscript::write(self)
    }
}
