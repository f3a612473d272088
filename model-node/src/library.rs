//! Where a node's versions come from: its store, or models that it was given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dropbear_certificates::Digest;
use dropbear_models::{Manifest, Runtime, Store, Task};
use dropbear_wire::v1::Tensor;

use crate::batcher::Limits;
use crate::metrics::Metrics;
use crate::model::classification::ImageClassifier;
use crate::model::identity::Identity;
use crate::model::numbers::Numbers;
use crate::model::{Model, ModelCard, ModelError, Sessions};
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
    /// How sessions use the machine.
    pub sessions: Sessions,
    /// How versions are run.
    pub running: Running,
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
        let stored = stored.ok_or_else(|| ModelError("the version's files are not in the store".into()))?;
        let place = Place { manifest: &stored.manifest, path: &stored.path, onnxruntime: self.onnxruntime.as_deref() };
        place.with_model(self.sessions.clone(), Start(&self.running))
    }
}

struct Start<'a>(&'a Running);

impl Visit for Start<'_> {
    type Result = Result<Box<dyn Engine>, ModelError>;

    fn visit<M: Model>(self, model: M) -> Self::Result {
        self.0.start(model)
    }
}

/// Something to be done with a model, whatever its type.
pub(crate) trait Visit {
    /// What comes of it.
    type Result;

    /// Does it.
    fn visit<M: Model>(self, model: M) -> Self::Result;
}

/// Where a model's files lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) path: &'a Path,
    pub(crate) onnxruntime: Option<&'a Path>,
}

impl Place<'_> {
    /// Does something with the model that the manifest describes.
    pub(crate) fn with_model<R, V>(self, sessions: Sessions, visit: V) -> Result<R, ModelError>
    where
        V: Visit<Result = Result<R, ModelError>>,
    {
        let runtime = || self.onnxruntime.map(Runtime::load).transpose().map_err(ModelError::new);
        match self.manifest.task.clone() {
            Task::Identity => visit.visit(Identity::new(self.manifest)),
            Task::ImageClassification(task) => {
                visit.visit(ImageClassifier::new(self.path, self.manifest, task, runtime()?, sessions))
            }
            Task::Vector(task) => visit.visit(Numbers::new(self.path, self.manifest, task, runtime()?, sessions)),
        }
    }
}
