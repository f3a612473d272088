//! Where a node's versions come from: its store, or models that it was given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dropbear_certificates::Digest;
use dropbear_models::{OnnxOptions, Runtime, Store, Stored, Task};
use dropbear_wire::v1::Tensor;

use crate::batcher::Limits;
use crate::metrics::Metrics;
use crate::model::classification::ImageClassifier;
use crate::model::identity::Identity;
use crate::model::numbers::Numbers;
use crate::model::{Model, ModelCard, ModelError};
use crate::pool::{Job, Pool, Refusal, Threads, Timeouts};

/// A loaded version, whatever its model.
pub trait Engine: Send + Sync + 'static {
    /// What it is.
    fn card(&self) -> &ModelCard;

    /// Queues all of `jobs`, or none.
    ///
    /// # Errors
    /// [`Refusal`] if they do not fit, or nobody would ever run them.
    fn admit(&self, jobs: Vec<Job<Tensor>>) -> Result<(), Refusal>;

    /// Whether every worker hangs.
    fn is_stuck(&self) -> bool;
}

impl<M: Model> Engine for Pool<M> {
    fn card(&self) -> &ModelCard {
        self.model().card()
    }

    fn admit(&self, jobs: Vec<Job<Tensor>>) -> Result<(), Refusal> {
        Pool::admit(self, jobs)
    }

    fn is_stuck(&self) -> bool {
        Pool::is_stuck(self)
    }
}

/// Versions that can be loaded.
pub trait Library: Send + Sync + 'static {
    /// An estimate of the bytes of memory that the version takes when loaded; none if its files are not here. Reads
    /// small files.
    fn size(&self, version: &Digest) -> Option<u64>;

    /// Loads the version. Blocks.
    ///
    /// # Errors
    /// [`ModelError`] if it cannot be loaded.
    fn open(&self, version: &Digest) -> Result<Box<dyn Engine>, ModelError>;
}

/// How versions are run.
#[derive(Clone, Debug)]
pub struct Running {
    /// Bounds of each version's batcher.
    pub limits: Limits,
    /// How many threads do what, for each version.
    pub threads: Threads,
    /// How long the model may take.
    pub timeouts: Timeouts,
    /// The node's instruments.
    pub metrics: Metrics,
}

impl Running {
    fn start<M: Model>(&self, model: M) -> Result<Box<dyn Engine>, ModelError> {
        let pool = Pool::start(model, self.limits, self.threads, self.timeouts, self.metrics.clone())?;
        Ok(Box::new(pool))
    }
}

/// Models that the node was given.
pub struct Given<M> {
    models: BTreeMap<Digest, Arc<M>>,
    running: Running,
}

impl<M: Model> Given<M> {
    /// A library of these models.
    #[must_use]
    pub fn new(models: Vec<M>, running: Running) -> Self {
        Self { models: models.into_iter().map(|model| (model.card().version, Arc::new(model))).collect(), running }
    }
}

impl<M: Model> Library for Given<M> {
    fn size(&self, version: &Digest) -> Option<u64> {
        self.models.get(version).map(|_| 0)
    }

    fn open(&self, version: &Digest) -> Result<Box<dyn Engine>, ModelError> {
        let model = self.models.get(version).ok_or_else(|| ModelError("the node was not given this version".into()))?;
        self.running.start(Arc::clone(model))
    }
}

/// The versions of a store.
#[derive(Debug)]
pub struct Shelf {
    /// The store.
    pub store: Store,
    /// The ONNX Runtime library; needed by models that run on it.
    pub onnxruntime: Option<PathBuf>,
    /// How a session may use the machine.
    pub options: OnnxOptions,
    /// How versions are run.
    pub running: Running,
}

impl Shelf {
    fn runtime(&self) -> Result<Option<Runtime>, ModelError> {
        self.onnxruntime.as_deref().map(Runtime::load).transpose().map_err(ModelError::new)
    }
}

impl Library for Shelf {
    /// Each worker's session holds the weights, and while one is loaded so does the file in memory.
    fn size(&self, version: &Digest) -> Option<u64> {
        // What is wrong with a version that is there is said when it is loaded.
        let bytes = self.store.find(&version.0).map(|stored| stored.map(|stored| stored.artefact_bytes));
        let copies = self.running.threads.workers as u64 + 1;
        bytes.unwrap_or(Some(0)).map(|bytes| bytes.saturating_mul(copies))
    }

    fn open(&self, version: &Digest) -> Result<Box<dyn Engine>, ModelError> {
        let stored = self.store.find(&version.0).map_err(ModelError::new)?;
        let Stored { manifest, path, .. } =
            stored.ok_or_else(|| ModelError("the version's files are not in the store".into()))?;
        match manifest.task.clone() {
            Task::Identity => self.running.start(Identity::new(&manifest)),
            Task::ImageClassification(task) => {
                let missing = "the model runs on ONNX Runtime: set `onnxruntime` to the path of libonnxruntime";
                let runtime = self.runtime()?.ok_or_else(|| ModelError(missing.into()))?;
                self.running.start(ImageClassifier::new(&path, &manifest, task, runtime, self.options))
            }
            Task::Vector(task) => {
                self.running.start(Numbers::new(&path, &manifest, task, self.runtime()?, self.options))
            }
        }
    }
}
