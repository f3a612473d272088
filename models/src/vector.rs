//! A manifest and a backend together: numbers in, numbers out.

use std::path::Path;

use thiserror::Error;

use crate::backend::onnx::Runtime;
use crate::backend::{self, Backend, BackendError, Interface, Side, TensorSpec};
use crate::classify::{OpenError, fits};
use crate::manifest::{Manifest, Task, VectorTask};
use crate::run::RunOptions;
use crate::tensor::{DataType, Tensor, TensorError};

/// One model, loaded, on one worker.
pub struct Vectors {
    manifest: Manifest,
    task: VectorTask,
    backend: Box<dyn Backend>,
}

/// Why numbers could not be computed; never the inputs' fault, unless they have another length.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VectorError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// An input has another length.
    #[error("an input has {got} values where the model takes {expected}")]
    Length {
        /// Values of this model's inputs.
        expected: usize,
        /// Values of the input.
        got: usize,
    },
    /// The backend returned something other than `[batch, length]`.
    #[error("the model returned {got:?}, not [{batch}, {length}] numbers")]
    Output {
        /// Inputs sent.
        batch: usize,
        /// Numbers of one result.
        length: u32,
        /// The shape that came back.
        got: Vec<usize>,
    },
    /// The batch is no tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Vectors {
    /// Loads the model whose manifest lies at `path`, with the artefact beside it. ONNX Runtime is needed by models
    /// that run on it alone.
    ///
    /// # Errors
    /// When a file cannot be read or used, or its tensors are not the manifest's.
    pub fn open(path: &Path, runtime: Option<&Runtime>, options: &RunOptions) -> Result<Self, OpenError> {
        let manifest = Manifest::load(path)?;
        let task = vector(&manifest)?;
        let artefact = task.artefact.read(path.parent().unwrap_or(Path::new(".")))?;
        let interface = Interface { input: input(&task), output: output(&task), picture: None };
        Self::new(manifest, backend::load(task.backend, &artefact, &interface, runtime, options)?)
    }

    /// A model that runs on `backend`.
    ///
    /// # Errors
    /// When the manifest's task is another, or the backend's tensors are not the manifest's.
    pub fn new(manifest: Manifest, backend: Box<dyn Backend>) -> Result<Self, OpenError> {
        let task = vector(&manifest)?;
        let mismatch = |role, side: Side| OpenError::Tensors { name: manifest.name.clone(), role, tensor: side.tensor };
        let is = |spec: &TensorSpec, side: &Side| {
            spec.name == side.tensor && spec.data_type == DataType::Fp32 && fits(&spec.shape, &side.shape)
        };
        let (input, output) = (input(&task), output(&task));
        let description = backend.describe();
        if !matches!(description.inputs.as_slice(), [spec] if is(spec, &input)) {
            return Err(mismatch("single input", input));
        }
        if !description.outputs.iter().any(|spec| is(spec, &output)) {
            return Err(mismatch("output", output));
        }
        Ok(Self { manifest, task, backend })
    }

    /// What the model is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Computes one result per input, in one run of the model.
    ///
    /// # Errors
    /// When an input has another length, the backend fails, or its results have another shape.
    pub fn infer(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, VectorError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let expected = self.task.input_values();
        if let Some(other) = inputs.iter().find(|input| input.len() != expected) {
            return Err(VectorError::Length { expected, got: other.len() });
        }
        let shape = [&[inputs.len()], &*input(&self.task).shape].concat();
        let outputs = self.backend.infer(&[Tensor::fp32(shape, inputs.concat())?])?;
        let place = self.backend.describe().outputs.iter().position(|spec| spec.name == self.task.output_tensor);
        let results = place.and_then(|place| outputs.get(place));
        let length = self.task.length as usize;
        match results.map(|results| (results.shape(), results.as_fp32())) {
            Some((shape, Some(values))) if *shape == [inputs.len(), length] => {
                Ok(values.chunks_exact(length).map(<[f32]>::to_vec).collect())
            }
            other => Err(VectorError::Output {
                batch: inputs.len(),
                length: self.task.length,
                got: other.map_or_else(Vec::new, |(shape, _)| shape.to_vec()),
            }),
        }
    }
}

fn input(task: &VectorTask) -> Side {
    let shape = task.input_shape.iter().map(|length| *length as usize).collect();
    Side { tensor: task.input_tensor.clone(), shape }
}

fn output(task: &VectorTask) -> Side {
    Side { tensor: task.output_tensor.clone(), shape: vec![task.length as usize] }
}

fn vector(manifest: &Manifest) -> Result<VectorTask, OpenError> {
    match &manifest.task {
        Task::Vector(task) => Ok(task.clone()),
        _ => Err(OpenError::OtherTask { name: manifest.name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::linear::artefact;

    fn write(directory: &Path, bytes: &[u8], input: &str) -> std::path::PathBuf {
        let digest = blake3::hash(bytes);
        let manifest = format!(
            "name = \"sum\"\ntask = \"regression\"\nbackend = \"linear\"\nlicence = \"MIT\"\nlineage = \"a test\"\n\
             artefact = {{ file = \"sum.f32\", blake3 = \"{digest}\" }}\ninput = {{ tensor = \"x\", shape = {input} }}\n\
             output = {{ tensor = \"y\", length = 1 }}\n"
        );
        std::fs::write(directory.join("sum.f32"), bytes).expect("a file");
        std::fs::write(directory.join("model.toml"), manifest).expect("a file");
        directory.join("model.toml")
    }

    fn open(path: &Path) -> Result<Vectors, OpenError> {
        Vectors::open(path, None, &RunOptions::default())
    }

    #[test]
    fn a_batch_of_numbers_comes_back_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = write(directory.path(), &artefact(&[1.0, 1.0], &[0.25]), "[2]");
        let mut sum = open(&path)?;
        assert_eq!(sum.infer(&[vec![1.0, 2.0], vec![-1.0, 1.0]])?, [[3.25], [0.25]]);
        assert!(sum.infer(&[])?.is_empty());
        assert!(matches!(sum.infer(&[vec![1.0]]), Err(VectorError::Length { expected: 2, got: 1 })));
        Ok(())
    }

    #[test]
    fn an_artefact_that_is_not_the_manifests_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let bytes = artefact(&[1.0, 1.0], &[0.25]);
        assert!(matches!(open(&write(directory.path(), &bytes[..8], "[2]")), Err(OpenError::Backend(_))));
        assert!(matches!(open(&write(directory.path(), &bytes, "[3]")), Err(OpenError::Backend(_))));
        let path = write(directory.path(), &bytes, "[2]");
        std::fs::write(directory.path().join("sum.f32"), [0; 12])?;
        assert!(matches!(open(&path), Err(OpenError::Manifest(_))));
        Ok(())
    }
}
