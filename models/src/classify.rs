//! A manifest and a backend together: pictures in, classes out.

use std::path::Path;

use thiserror::Error;

use crate::backend::onnx::Runtime;
use crate::backend::{self, Backend, BackendError, Interface, Normalisation, Side};
use crate::image::DecodedImage;
use crate::manifest::{ImageClassification, Manifest, ManifestError, Task};
use crate::preprocess::{Form, ModelInput, Preprocessor};
use crate::run::RunOptions;
use crate::scores::{NotFinite, softmax, top_k};
use crate::tensor::{DataType, Tensor, TensorData, TensorError};

/// How many ranked classes a [`Classification`] has unless told otherwise.
pub const TOP_DEFAULT: usize = 5;

/// One model, loaded, on one worker.
pub struct Classifier {
    manifest: Manifest,
    task: ImageClassification,
    backend: Box<dyn Backend>,
    form: Form,
    preprocessor: Preprocessor,
    top: usize,
}

/// What a model says about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The class with the highest score; of equal scores, the lower class.
    pub class: u32,
    /// The highest-ranked classes and their probabilities, highest first.
    pub top: Vec<(u32, f32)>,
    /// The score of each class.
    pub logits: Vec<f32>,
}

/// Why a model cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The manifest or the artefact.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The model does another task.
    #[error("model `{name}` does another task")]
    OtherTask {
        /// The model.
        name: String,
    },
    /// The artefact's tensors are not those of the manifest.
    #[error("the artefact of `{name}` has no {role} `{tensor}` of the shape in its manifest")]
    Tensors {
        /// The model.
        name: String,
        /// Input or output.
        role: &'static str,
        /// The tensor that the manifest names.
        tensor: String,
    },
}

/// Why pictures could not be classified. The pictures are never to blame: they were decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The backend returned something other than `[batch, classes]` scores.
    #[error("the model returned {got:?}, not [{batch}, {classes}] scores")]
    Output {
        /// Pictures sent.
        batch: usize,
        /// Classes of the task.
        classes: u32,
        /// The shape that came back.
        got: Vec<usize>,
    },
    /// The model's scores are not numbers.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// An input was prepared for another model.
    #[error("an input was prepared for another model: it has {got} values, not {expected}, or they are no {form:?}")]
    Foreign {
        /// Values of this model's inputs.
        expected: usize,
        /// What they are.
        form: Form,
        /// Values of the one given.
        got: usize,
    },
    /// The inputs do not make a tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Classifier {
    /// Loads the model whose manifest is at `path`. ONNX Runtime is needed by models that run on it alone.
    ///
    /// # Errors
    /// When the manifest, its artefact or the backend refuses.
    pub fn open(path: &Path, runtime: Option<&Runtime>, options: &RunOptions) -> Result<Self, OpenError> {
        let manifest = Manifest::load(path)?;
        let task = classification(&manifest)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let artefact = task.artefact.read(directory)?;
        let backend = backend::load(task.backend, &artefact, &interface(&task), runtime, options)?;
        Self::new(manifest, backend)
    }

    /// A classifier that runs on `backend`.
    ///
    /// # Errors
    /// When the manifest's task is another, or the backend's tensors are not the manifest's.
    pub fn new(manifest: Manifest, backend: Box<dyn Backend>) -> Result<Self, OpenError> {
        let task = classification(&manifest)?;
        let form = check_tensors(&manifest.name, &task, backend.as_ref())?;
        Ok(Self { preprocessor: Preprocessor::new(&task.input, form), manifest, task, backend, form, top: TOP_DEFAULT })
    }

    /// Ranks `top` classes instead of [`TOP_DEFAULT`].
    pub fn with_top(mut self, top: usize) -> Self {
        self.top = top;
        self
    }

    /// What the model is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A preprocessor for another thread.
    pub fn preprocessor(&self) -> Preprocessor {
        Preprocessor::new(&self.task.input, self.form)
    }

    /// Classifies pictures in one run of the model.
    ///
    /// # Errors
    /// When the backend fails or its scores make no sense.
    pub fn classify(&mut self, images: &[DecodedImage]) -> Result<Vec<Classification>, ClassifyError> {
        let inputs: Vec<ModelInput> = (images.iter()).map(|image| self.preprocessor.apply(image)).collect();
        self.classify_inputs(&inputs)
    }

    /// Classifies pictures that are already prepared for this model, in one run of it.
    ///
    /// # Errors
    /// When an input is another model's, the backend fails, or its scores make no sense.
    pub fn classify_inputs(&mut self, inputs: &[ModelInput]) -> Result<Vec<Classification>, ClassifyError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.backend.infer(&[self.batch(inputs)?])?;
        let scores = (self.backend.describe().outputs.iter())
            .position(|spec| spec.name == self.task.output_tensor)
            .and_then(|at| outputs.get(at));
        let classes = self.task.classes as usize;
        match scores.map(|scores| (scores.shape(), scores.as_fp32())) {
            Some((shape, Some(scores))) if *shape == [inputs.len(), classes] => {
                (scores.chunks_exact(classes)).map(|logits| self.classification(logits)).collect()
            }
            other => Err(ClassifyError::Output {
                batch: inputs.len(),
                classes: self.task.classes,
                got: other.map_or_else(Vec::new, |(shape, _)| shape.to_vec()),
            }),
        }
    }

    /// The inputs one after the other, in the form that the backend takes.
    fn batch(&self, inputs: &[ModelInput]) -> Result<Tensor, ClassifyError> {
        let side = self.task.input.side as usize;
        let expected = 3 * side * side;
        let is_foreign = |input: &&ModelInput| input.form() != self.form || input.values() != expected;
        if let Some(foreign) = inputs.iter().find(is_foreign) {
            return Err(ClassifyError::Foreign { expected, form: self.form, got: foreign.values() });
        }
        let tensor = match self.form {
            Form::Planes => {
                let planes: Vec<&[f32]> = inputs.iter().filter_map(ModelInput::planes).collect();
                Tensor::fp32(vec![inputs.len(), 3, side, side], planes.concat())
            }
            Form::Pixels => {
                let pixels: Vec<&[u8]> = inputs.iter().filter_map(ModelInput::pixels).collect();
                Tensor::new(vec![inputs.len(), side, side, 3], TensorData::Uint8(pixels.concat()))
            }
        };
        Ok(tensor?)
    }

    fn classification(&self, logits: &[f32]) -> Result<Classification, ClassifyError> {
        let probabilities = softmax(logits)?;
        let ranked = top_k(logits, self.top.max(1))?;
        // Classes are fewer than CLASSES_MAX, so indices are u32.
        let top: Vec<(u32, f32)> = (ranked.iter()).map(|&class| (class as u32, probabilities[class])).collect();
        Ok(Classification { class: top[0].0, top, logits: logits.to_vec() })
    }
}

fn classification(manifest: &Manifest) -> Result<ImageClassification, OpenError> {
    match &manifest.task {
        Task::ImageClassification(task) => Ok(task.clone()),
        Task::Identity | Task::Vector(_) => Err(OpenError::OtherTask { name: manifest.name.clone() }),
    }
}

/// What the manifest says about the model's tensors.
pub fn interface(task: &ImageClassification) -> Interface {
    let side = task.input.side as usize;
    Interface {
        input: Side { tensor: task.input.tensor.clone(), shape: vec![3, side, side] },
        output: Side { tensor: task.output_tensor.clone(), shape: vec![task.classes as usize] },
        picture: Some(Normalisation { mean: task.input.mean, scale: task.input.scale }),
    }
}

/// Checks the backend's tensors; the form in which it takes pictures.
fn check_tensors(name: &str, task: &ImageClassification, backend: &dyn Backend) -> Result<Form, OpenError> {
    let mismatch = |role, tensor: &str| OpenError::Tensors { name: name.to_owned(), role, tensor: tensor.to_owned() };
    let side = task.input.side as usize;
    let description = backend.describe();
    let form = match description.inputs.as_slice() {
        [spec] if spec.name == task.input.tensor => match spec.data_type {
            DataType::Fp32 if fits(&spec.shape, &[3, side, side]) => Some(Form::Planes),
            DataType::Uint8 if fits(&spec.shape, &[side, side, 3]) => Some(Form::Pixels),
            _ => None,
        },
        _ => None,
    };
    let form = form.ok_or_else(|| mismatch("single input", &task.input.tensor))?;
    let has_output = (description.outputs.iter())
        .any(|spec| spec.name == task.output_tensor && fits(&spec.shape, &[task.classes as usize]));
    if has_output { Ok(form) } else { Err(mismatch("output", &task.output_tensor)) }
}

/// Whether a specification allows any batch of tensors of shape `item`.
pub(crate) fn fits(shape: &[Option<usize>], item: &[usize]) -> bool {
    match shape.split_first() {
        Some((_, rest)) => {
            rest.len() == item.len() && (rest.iter().zip(item)).all(|(want, got)| want.is_none_or(|want| want == *got))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests;
