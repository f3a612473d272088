//! Whether a version is fit for a group: everything that can be found out before anybody else has to do with it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use dropbear_certificates::{Charter, Vote};
use dropbear_model_node::model::{describe, vote_of};
use dropbear_model_node::{ModelCard, Output};
use dropbear_models::{
    Classifier, DecodedImage, ImageClassification, Manifest, OnnxOptions, Runtime, Task, VectorTask, Vectors,
};

/// Side of the pictures that a classifier is tried on.
const PICTURE_SIDE: u32 = 96;
/// Inputs in one run: a model must take batches.
const PROBES: usize = 3;

/// A version that does what its manifest and the charter say.
pub(super) struct Fit {
    pub(super) manifest: Manifest,
    pub(super) card: ModelCard,
}

/// Loads the version at `path` as a node would, and tries it on probe inputs of the charter's shape.
///
/// What is wrong is found in the order of its cost: manifest, card, charter, artefact, answers.
pub(super) fn check(path: &Path, charter: &Charter, onnxruntime: Option<PathBuf>) -> anyhow::Result<Fit> {
    let manifest = Manifest::load(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    manifest.read_card(folder)?;
    let card = describe(&manifest);
    if charter.task != card.task || card.classes.is_some_and(|classes| classes != charter.classes) {
        let classes = card.classes.map_or_else(String::new, |classes| format!(" with {classes} classes"));
        bail!(
            "{} does {}{classes}, but the charter of {} is for {} with {} classes: publish it in another group",
            manifest.name,
            card.task,
            charter.group,
            charter.task,
            charter.classes
        );
    }
    let runtime = || -> anyhow::Result<Runtime> {
        let path =
            onnxruntime.as_ref().context("this model runs on ONNX Runtime: give its library with --onnxruntime")?;
        Ok(Runtime::load(path)?)
    };
    match &manifest.task {
        Task::Identity => votes(&[Output::Canonical(Bytes::from_static(b"probe"))], charter)?,
        Task::ImageClassification(task) => classify(path, task, &runtime()?, charter)?,
        Task::Vector(task) => {
            let runtime = match task.backend {
                dropbear_models::manifest::BackendKind::Onnx => Some(runtime()?),
                dropbear_models::manifest::BackendKind::Linear => None,
            };
            compute(path, task, runtime.as_ref(), charter)?;
        }
    }
    Ok(Fit { manifest, card })
}

fn classify(path: &Path, task: &ImageClassification, runtime: &Runtime, charter: &Charter) -> anyhow::Result<()> {
    let mut model = Classifier::open(path, runtime, OnnxOptions::default()).context("the artefact does not load")?;
    let answers = model.classify(&pictures()?).context("the model does not answer the probe pictures")?;
    let outputs = answers.iter().map(|answer| {
        if answer.logits.len() != task.classes as usize || answer.logits.iter().any(|score| !score.is_finite()) {
            bail!(
                "the model answers a probe picture with {} scores, or with some that are no numbers",
                answer.logits.len()
            );
        }
        let classes = answer.top.iter().map(|(class, _)| *class).collect();
        Ok(Output::Ranking { classes, bytes: Bytes::new() })
    });
    votes(&outputs.collect::<anyhow::Result<Vec<_>>>()?, charter)
}

fn compute(path: &Path, task: &VectorTask, runtime: Option<&Runtime>, charter: &Charter) -> anyhow::Result<()> {
    let mut model = Vectors::open(path, runtime, OnnxOptions::default()).context("the artefact does not load")?;
    let length = task.input_values();
    let probe = |probe: usize| (0..length).map(|place| ((place * (probe + 1)) % 7) as f32 / 7.0).collect::<Vec<_>>();
    let inputs: Vec<_> = (0..PROBES).map(probe).collect();
    let answers = model.infer(&inputs).context("the model does not answer the probe inputs")?;
    votes(&answers.into_iter().map(Output::values).collect::<Vec<_>>(), charter)
}

/// Every probe's answer must be a vote that the charter admits.
fn votes(outputs: &[Output], charter: &Charter) -> anyhow::Result<()> {
    if outputs.iter().any(|output| vote_of(output, charter) == Vote::Abstain) {
        bail!(
            "the charter of {} does not admit the model's answer to a probe input: its policy is {}, so every ballot would abstain",
            charter.group,
            charter.policy.name()
        );
    }
    Ok(())
}

/// A grey picture, a gradient, and a chequered one.
fn pictures() -> anyhow::Result<Vec<DecodedImage>> {
    let side = PICTURE_SIDE;
    let shade = |kind: usize, x: u32, y: u32| match kind {
        0 => 127,
        1 => ((x + y) * 255 / (2 * side)) as u8,
        _ => {
            if (x / 8 + y / 8) % 2 == 0 {
                0
            } else {
                255
            }
        }
    };
    let picture = |kind: usize| {
        let pixels = (0..side).flat_map(|y| (0..side).flat_map(move |x| [shade(kind, x, y); 3]));
        Ok(DecodedImage::from_raw(side, side, pixels.collect())?)
    };
    (0..PROBES).map(picture).collect()
}
