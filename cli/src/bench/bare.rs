//! The sample models without a market: the most that this machine gives.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use dropbear_bench::node::Sessions;
use dropbear_bench::overhead::{Bare, on_every_core};
use dropbear_model_node::zoo::{GROUP, Zoo};
use dropbear_models::{Classifier, DecodedImage, RunOptions, Runtime};

use crate::hardware::Hardware;

/// Pictures in one request batch, and in one run of a model without a node.
pub(super) const BATCH: usize = 8;

/// One session of each model, on one core.
struct Worker(Vec<Classifier>);

impl Worker {
    fn open(manifests: &[PathBuf], runtime: &Runtime, options: &RunOptions) -> anyhow::Result<Self> {
        let open = |path: &PathBuf| {
            let classifier = Classifier::open(path, Some(runtime), options);
            Ok(classifier.with_context(|| format!("cannot open {}", path.display()))?.with_top(1))
        };
        Ok(Self(manifests.iter().map(open).collect::<anyhow::Result<_>>()?))
    }

    /// Every model's answer to each of the next `batch` pictures. Each model decodes for itself, as its owner must.
    fn answer<P>(&mut self, turn: usize, batch: usize, pictures: &[P], decode: &Decode<P>) -> Result<usize, String> {
        for model in &mut self.0 {
            let next = pictures.iter().cycle().skip(turn * batch % pictures.len()).take(batch);
            let pictures = next.map(decode).collect::<Result<Vec<_>, _>>()?;
            model.classify(&pictures).map_err(|error| error.to_string())?;
        }
        Ok(batch)
    }
}

type Decode<P> = dyn Fn(&P) -> Result<DecodedImage, String> + Send + Sync;

/// The four sample models with a session on every core.
#[derive(Clone)]
pub(super) struct Models(Arc<Mutex<Vec<Worker>>>);

impl Models {
    pub(super) fn open(zoo: &Zoo, hardware: &Hardware) -> anyhow::Result<Self> {
        let runtime = Runtime::load(&zoo.runtime_library()?)?;
        let path = |name: &&str| Ok(zoo.manifest_path_for(name, hardware.backend.format())?);
        let manifests = GROUP.iter().map(path).collect::<anyhow::Result<Vec<_>>>()?;
        let cores = std::thread::available_parallelism()?.get();
        let options = RunOptions { device: hardware.device, precision: hardware.precision(), ..RunOptions::default() };
        let open = |_| Worker::open(&manifests, &runtime, &options);
        let workers = (0..cores).map(open).collect::<anyhow::Result<_>>()?;
        Ok(Self(Arc::new(Mutex::new(workers))))
    }

    /// Classifies `pictures` again and again.
    pub(super) fn on<P: Send + Sync + 'static>(
        &self,
        pictures: Vec<P>,
        decode: impl Fn(&P) -> Result<DecodedImage, String> + Send + Sync + 'static,
    ) -> Bare {
        let workers = Arc::clone(&self.0);
        Arc::new(move |duration| {
            let mut workers = workers.lock().unwrap_or_else(PoisonError::into_inner);
            on_every_core(&mut workers, duration, |worker, turn| worker.answer(turn, BATCH, &pictures, &decode))
        })
    }
}

/// `count` sessions of one model, each on a thread of its own, that classify `pictures` again and again,
/// `batch` at once.
pub(super) fn sessions(
    zoo: &Zoo,
    model: &str,
    hardware: &Hardware,
    (count, batch): (usize, usize),
    pictures: Vec<DecodedImage>,
) -> anyhow::Result<Sessions> {
    let runtime = Runtime::load(&zoo.runtime_library()?)?;
    let manifest = zoo.manifest_path_for(model, hardware.backend.format())?;
    let options = RunOptions { device: hardware.device, precision: hardware.precision(), ..RunOptions::default() };
    let open = |_| Worker::open(std::slice::from_ref(&manifest), &runtime, &options);
    let workers = (0..count).map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let workers = Mutex::new(workers.into_iter().map(|worker| (worker, Vec::new())).collect::<Vec<_>>());
    let decode = |picture: &DecodedImage| Ok(picture.clone());
    Ok(Arc::new(move |duration| {
        let mut workers = workers.lock().unwrap_or_else(PoisonError::into_inner);
        on_every_core(&mut workers, duration, |(worker, done), turn| {
            let answers = worker.answer(turn, batch, &pictures, &decode)?;
            done.push(Instant::now());
            Ok(answers)
        })?;
        Ok(workers.iter_mut().flat_map(|(_, done)| std::mem::take(done)).collect())
    }))
}
