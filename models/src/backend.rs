//! What runs a model: a small trait, and the backends that live in this process.

pub mod candle;
pub mod cuda;
pub mod identity;
pub mod linear;
pub mod onnx;
#[cfg(feature = "torch")]
pub mod torch;

use thiserror::Error;

use crate::manifest::BackendKind;
use crate::run::RunOptions;
use crate::tensor::{DataType, Tensor};

/// Something that computes a model's outputs.
///
/// A backend is loaded by its own constructor and then belongs to one worker thread: `infer` takes `&mut self`, so a
/// backend needs no locks, and a worker that wants parallelism owns several.
pub trait Backend: Send {
    /// The tensors that `infer` takes and returns.
    fn describe(&self) -> &Description;

    /// Computes the outputs of one batch. Tensors are in the order of [`Description`]; their first dimension is the
    /// batch.
    ///
    /// # Errors
    /// [`BackendError::Input`] blames the caller; every other error is ours.
    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError>;
}

/// The tensors that a backend takes and returns, in order. Empty means: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What `infer` takes.
    pub inputs: Vec<TensorSpec>,
    /// What `infer` returns.
    pub outputs: Vec<TensorSpec>,
}

/// One named tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name in the artefact.
    pub name: String,
    /// The element type.
    pub data_type: DataType,
    /// The dimensions, outermost first; `None` where any size will do.
    pub shape: Vec<Option<usize>>,
}

/// Why a backend could not load or run a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The caller's tensors are not what the model takes.
    #[error("input: {reason}")]
    Input {
        /// What differs.
        reason: String,
    },
    /// The native library behind the backend is missing or unsuitable.
    #[error(transparent)]
    Runtime(#[from] onnx::RuntimeError),
    /// The model runs on ONNX Runtime, and there is none.
    #[error("the model runs on ONNX Runtime: set `onnxruntime` to the path of libonnxruntime")]
    NoRuntime,
    /// This backend is not there, or cannot do what is asked of it.
    #[error("{reason}")]
    Unavailable {
        /// What is missing, and what to do.
        reason: String,
    },
    /// The artefact is not a model that this backend can load.
    #[error("the artefact cannot be loaded: {reason}")]
    Artefact {
        /// What the runtime said.
        reason: String,
    },
    /// The backend failed while it computed.
    #[error("inference failed: {reason}")]
    Failed {
        /// What the runtime said.
        reason: String,
    },
}

/// What a manifest says about its model's tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// What the model takes.
    pub input: Side,
    /// What it returns.
    pub output: Side,
    /// The input is a picture; the backend takes it in the form that suits its device ([`Form::on`](crate::preprocess::Form::on)).
    pub picture: Option<Normalisation>,
}

/// What one end of a model is called, and the dimensions of one item there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The tensor's name.
    pub tensor: String,
    /// Its dimensions without the batch.
    pub shape: Vec<usize>,
}

/// How samples of 0 to 255 become what a model takes: (sample − mean) ∕ scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Subtracted from each sample.
    pub mean: f32,
    /// Divides the difference.
    pub scale: f32,
}

impl Side {
    /// How many numbers one item has.
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }

    /// The FP32 tensor of any batch of items.
    pub fn spec(&self) -> TensorSpec {
        let shape = std::iter::once(None).chain(self.shape.iter().copied().map(Some)).collect();
        TensorSpec { name: self.tensor.clone(), data_type: DataType::Fp32, shape }
    }
}

/// Loads an artefact.
///
/// # Errors
/// When the backend is missing, or refuses the artefact.
pub fn load(
    kind: BackendKind,
    artefact: &[u8],
    interface: &Interface,
    runtime: Option<&onnx::Runtime>,
    options: &RunOptions,
) -> Result<Box<dyn Backend>, BackendError> {
    Ok(match kind {
        BackendKind::Onnx => {
            let runtime = runtime.ok_or(BackendError::NoRuntime)?;
            Box::new(onnx::Onnx::load(runtime, artefact, interface, options)?)
        }
        BackendKind::Candle => candle::load(artefact, interface, options)?,
        #[cfg(feature = "torch")]
        BackendKind::Torch => Box::new(torch::Torch::load(artefact, interface, options)?),
        #[cfg(not(feature = "torch"))]
        BackendKind::Torch => {
            let reason = "this dropbear was built without libtorch: build it with deploy/torch/build.sh".into();
            return Err(BackendError::Unavailable { reason });
        }
        BackendKind::Linear => Box::new(linear::Linear::load(artefact, &interface.input, &interface.output)?),
    })
}

impl TensorSpec {
    /// Checks one tensor against this specification.
    ///
    /// # Errors
    /// [`BackendError::Input`], naming this tensor and what differs.
    pub fn check(&self, tensor: &Tensor) -> Result<(), BackendError> {
        let fits = self.data_type == tensor.data_type()
            && self.shape.len() == tensor.shape().len()
            && (self.shape.iter().zip(tensor.shape())).all(|(want, got)| want.is_none_or(|want| want == *got));
        if fits {
            return Ok(());
        }
        Err(BackendError::Input {
            reason: format!(
                "`{}` takes {:?} of shape {}, got {:?} of shape {:?}",
                self.name,
                self.data_type,
                ShapePattern(&self.shape),
                tensor.data_type(),
                tensor.shape()
            ),
        })
    }
}

impl Description {
    /// Checks that `inputs` are what the model takes.
    ///
    /// # Errors
    /// [`BackendError::Input`].
    pub fn check_inputs(&self, inputs: &[Tensor]) -> Result<(), BackendError> {
        if inputs.len() != self.inputs.len() {
            return Err(BackendError::Input {
                reason: format!("the model takes {} tensors, got {}", self.inputs.len(), inputs.len()),
            });
        }
        (self.inputs.iter().zip(inputs)).try_for_each(|(spec, tensor)| spec.check(tensor))
    }
}

struct ShapePattern<'a>(&'a [Option<usize>]);

impl std::fmt::Display for ShapePattern<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> =
            (self.0.iter()).map(|dim| dim.map_or_else(|| "?".into(), |dim| dim.to_string())).collect();
        write!(f, "[{}]", dims.join(", "))
    }
}
