//! Models as artefacts and sessions: manifests, pre- and post-processing, local backends.
//!
//! ```text
//! JPEG/PNG/raw ──decode──▶ DecodedImage ──Preprocessor──▶ ModelInput ──Classifier──▶ Classification
//!                          (any thread)                   (any thread)               (one worker, one Backend)
//! ```
//!
//! This crate knows no keys, votes or networks, and needs no async runtime; it starts threads where an inference is to use
//! several alone. A [`Manifest`] says what
//! a model is, and its [`Card`] tells people; a [`Backend`] runs it; a [`Classifier`] is the two together for image
//! classification, [`Vectors`] for numbers. A [`Store`] keeps versions by digest. [`convert`] turns published weights
//! into artefacts.

pub mod backend;
pub mod card;
pub mod classify;
pub mod convert;
mod efficientnet_lite;
pub mod image;
pub mod labels;
pub mod manifest;
pub mod preprocess;
pub mod run;
pub mod scores;
pub mod store;
pub mod tensor;
pub mod vector;

pub use backend::candle::Candle;
pub use backend::cuda::Gpu;
pub use backend::identity::Identity;
pub use backend::linear::Linear;
pub use backend::onnx::{Onnx, Runtime, RuntimeError};
pub use backend::{Backend, BackendError, Description, Interface, TensorSpec};
pub use card::{Card, CardError};
pub use classify::{Classification, Classifier, ClassifyError, OpenError};
pub use image::{DecodedImage, ImageError};
pub use labels::{Labels, LabelsError};
pub use manifest::{Artefact, ImageClassification, ImageInput, Manifest, ManifestError, Task, VectorKind, VectorTask};
pub use preprocess::{Form, ModelInput, Preprocessor};
pub use run::{Device, Precision, Provider, ProviderOptions, RunOptions};
pub use store::{Store, StoreError, Stored};
pub use tensor::{DataType, Tensor, TensorData, TensorError};
pub use vector::{VectorError, Vectors};
