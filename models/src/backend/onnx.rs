//! ONNX Runtime, loaded at run time: building needs no native library, and an owner brings the flavour they have.

mod runtime;

pub use runtime::{Runtime, RuntimeError};

use std::borrow::Cow;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

use super::{Backend, BackendError, Description, TensorSpec};
use crate::run::RunOptions;
use crate::tensor::{DataType, Tensor, TensorData};

/// One ONNX Runtime session: one model, one worker.
#[derive(Debug)]
pub struct Onnx {
    session: Session,
    description: Description,
}

impl Onnx {
    /// Loads an ONNX model from memory, so that the bytes whose digest was checked are the bytes that run.
    ///
    /// # Errors
    /// [`BackendError::Artefact`] where ONNX Runtime refuses the model, or the model has inputs that are not tensors.
    pub fn load(runtime: &Runtime, artefact: &[u8], options: &RunOptions) -> Result<Self, BackendError> {
        let session = session(runtime, artefact, options).map_err(|reason| BackendError::Artefact { reason })?;
        let description = Description { inputs: specs(session.inputs())?, outputs: specs(session.outputs())? };
        Ok(Self { session, description })
    }
}

impl Backend for Onnx {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        let named = (self.description.inputs.iter().zip(inputs))
            .map(|(spec, tensor)| Ok((Cow::from(spec.name.as_str()), borrowed(tensor)?)))
            .collect::<Result<Vec<_>, BackendError>>()?;
        let outputs = self.session.run(named).map_err(failed)?;
        (self.description.outputs.iter())
            .map(|spec| match outputs.get(&spec.name) {
                Some(value) => owned(value),
                None => Err(failed(format!("no output `{}`", spec.name))),
            })
            .collect()
    }
}

/// Idle threads block instead of spinning: other models and the node itself want the same cores.
fn session(runtime: &Runtime, artefact: &[u8], options: &RunOptions) -> Result<Session, String> {
    let mut builder = Session::builder(runtime.environment())
        .map_err(|e| e.to_string())?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| e.to_string())?
        .with_intra_threads(options.intra_threads.max(1))
        .map_err(|e| e.to_string())?
        .with_inter_threads(1)
        .map_err(|e| e.to_string())?
        .with_intra_op_spinning(false)
        .map_err(|e| e.to_string())?
        .with_inter_op_spinning(false)
        .map_err(|e| e.to_string())?;
    builder.commit_from_memory(artefact).map_err(|e| e.to_string())
}

fn specs(outlets: &[Outlet]) -> Result<Vec<TensorSpec>, BackendError> {
    outlets.iter().map(spec).collect()
}

fn spec(outlet: &Outlet) -> Result<TensorSpec, BackendError> {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(BackendError::Artefact { reason: format!("`{}` is not a tensor", outlet.name()) });
    };
    Ok(TensorSpec {
        name: outlet.name().to_owned(),
        data_type: data_type(*ty).ok_or_else(|| BackendError::Artefact {
            reason: format!("`{}` has elements of type {ty}", outlet.name()),
        })?,
        shape: shape.iter().map(|&dim| usize::try_from(dim).ok()).collect(),
    })
}

fn data_type(element: TensorElementType) -> Option<DataType> {
    match element {
        TensorElementType::Float32 => Some(DataType::Fp32),
        TensorElementType::Uint8 => Some(DataType::Uint8),
        _ => None,
    }
}

fn borrowed(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    let shape = tensor.shape().to_vec();
    match tensor.data() {
        TensorData::Fp32(elements) => {
            TensorRef::from_array_view((shape, elements.as_slice())).map(Into::into).map_err(failed)
        }
        TensorData::Uint8(elements) => {
            TensorRef::from_array_view((shape, elements.as_slice())).map(Into::into).map_err(failed)
        }
        TensorData::Encoded { data_type, .. } => {
            Err(BackendError::Input { reason: format!("{data_type:?} tensors are not supported by this backend") })
        }
    }
}

fn owned(value: &DynValue) -> Result<Tensor, BackendError> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(failed("an output is not a tensor"));
    };
    let shape = (shape.iter().map(|&dim| usize::try_from(dim))).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let data = match ty {
        TensorElementType::Float32 => TensorData::Fp32(value.try_extract_tensor::<f32>().map_err(failed)?.1.to_vec()),
        TensorElementType::Uint8 => TensorData::Uint8(value.try_extract_tensor::<u8>().map_err(failed)?.1.to_vec()),
        _ => return Err(failed(format!("an output has elements of type {ty}"))),
    };
    Tensor::new(shape, data).map_err(failed)
}

fn failed(reason: impl ToString) -> BackendError {
    BackendError::Failed { reason: reason.to_string() }
}
