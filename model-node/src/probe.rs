//! Trying a version before it is published: it must load, do what the charter asks for, and answer with votes.

use std::path::Path;

use bytes::Bytes;
use dropbear_certificates::{Charter, Vote};
use dropbear_models::{Manifest, ManifestError, Task};
use dropbear_wire::v1::Tensor;

use crate::library::{Place, Visit};
use crate::model::classification::INPUT_NAME;
use crate::model::{Model, ModelCard, ModelError, Sessions, describe, vote_of};
use crate::standing::fits;

/// What came of trying a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// What it is.
    pub card: ModelCard,
    /// Its votes on the probe inputs.
    pub votes: Vec<Vote>,
}

/// Why a version is not fit to be published.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The manifest, the artefact or the card.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It does something else than the group.
    #[error("the version does not fit the charter: {0}")]
    Charter(String),
    /// It does not load, or fails.
    #[error("the version does not run: {0}")]
    Model(#[from] ModelError),
}

/// Loads the version whose manifest lies at `path`, and has it answer `inputs`. Blocks.
///
/// # Errors
/// [`ProbeError`] unless every input is answered with a vote that the charter admits.
pub fn probe(
    path: &Path,
    charter: &Charter,
    inputs: &[Tensor],
    onnxruntime: Option<&Path>,
) -> Result<Probed, ProbeError> {
    let manifest = Manifest::load(path)?;
    manifest.read_card(path.parent().unwrap_or(Path::new(".")))?;
    let card = describe(&manifest);
    fits(charter, &card).map_err(|misfit| ProbeError::Charter(misfit.to_string()))?;
    let place = Place { manifest: &manifest, path, onnxruntime };
    let votes = place.with_model(Sessions::default(), Answer { charter, inputs })?;
    match votes.iter().position(|vote| *vote == Vote::Abstain) {
        Some(place) => {
            let reason = format!("its answer to probe {place} is no vote under policy `{}`", charter.policy.name());
            Err(ProbeError::Charter(reason + ": look at the shape and the range that the charter demands"))
        }
        None => Ok(Probed { card, votes }),
    }
}

/// An input that any model of the task can answer.
#[must_use]
pub fn plain_input(task: &Task) -> Tensor {
    let floats = |count: usize| Bytes::from(vec![0; 4 * count]);
    match task {
        Task::Identity => Tensor { name: "input".into(), datatype: "FP32".into(), shape: vec![1], data: floats(1) },
        Task::ImageClassification(_) => {
            let data = Bytes::from(vec![127; 8 * 8 * 3]);
            Tensor { name: INPUT_NAME.into(), datatype: "UINT8".into(), shape: vec![8, 8, 3], data }
        }
        Task::Vector(task) => {
            let shape = task.input_shape.iter().copied().map(u64::from).collect();
            Tensor {
                name: task.input_tensor.clone(),
                datatype: "FP32".into(),
                shape,
                data: floats(task.input_values()),
            }
        }
    }
}

struct Answer<'a> {
    charter: &'a Charter,
    inputs: &'a [Tensor],
}

impl Visit for Answer<'_> {
    type Result = Result<Vec<Vote>, ModelError>;

    fn visit<M: Model>(self, model: M) -> Self::Result {
        let (mut session, mut preparer) = (model.open(0)?, model.preparer());
        let prepare = |(place, input): (usize, &Tensor)| {
            let prepared = model.prepare(&mut preparer, input.clone());
            prepared.map_err(|unusable| ModelError(format!("it can make nothing of probe {place}: {unusable}")))
        };
        let inputs = self.inputs.iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let outputs = model.infer(&mut session, &inputs)?;
        if outputs.len() != inputs.len() {
            return Err(ModelError(format!("it gave {} answers to {} probes", outputs.len(), inputs.len())));
        }
        Ok(outputs.iter().map(|output| vote_of(output, self.charter)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::charter;
    use dropbear_certificates::Policy;
    use dropbear_certificates::policy::TensorBounds;
    use dropbear_models::backend::linear::artefact;

    fn write(folder: &Path, weights: &[u8]) -> std::path::PathBuf {
        let digest = blake3::hash(weights);
        let manifest = format!(
            "name = \"twice\"\ntask = \"regression\"\nbackend = \"linear\"\nlicence = \"MIT\"\nlineage = \"none\"\n\
             artefact = {{ file = \"weights\", blake3 = \"{digest}\" }}\n\
             input = {{ tensor = \"x\", shape = [1] }}\noutput = {{ tensor = \"y\", length = 1 }}\n"
        );
        std::fs::write(folder.join("weights"), weights).unwrap();
        std::fs::write(folder.join("model.toml"), manifest).unwrap();
        folder.join("model.toml")
    }

    fn numbers(length: u32) -> Charter {
        let tensor = TensorBounds { length, fraction_bits: 4, min: -100, max: 100 };
        Charter { policy: Policy::Median { tensor }, ..charter("regression", 1) }
    }

    fn try_out(path: &Path, charter: &Charter) -> Result<Probed, ProbeError> {
        let task = Manifest::load(path).unwrap().task;
        probe(path, charter, &[plain_input(&task)], None)
    }

    #[test]
    fn a_fit_version_votes_on_the_probes() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), &artefact(&[2.0], &[1.5]));
        let probed = try_out(&path, &numbers(1)).unwrap();
        assert_eq!((probed.card.name.as_str(), probed.votes), ("twice", vec![Vote::Tensor(vec![24])]));
    }

    #[test]
    fn what_is_not_fit_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), &artefact(&[2.0], &[1.5]));
        let reason = |charter: &Charter| try_out(&path, charter).unwrap_err().to_string();
        assert!(reason(&numbers(2)).contains("no vote under policy `median`"));
        assert!(reason(&charter("identity", 1)).contains("the group's task is identity"));
        let other = [Tensor { datatype: "FP64".into(), ..plain_input(&Manifest::load(&path).unwrap().task) }];
        let refused = probe(&path, &numbers(1), &other, None).unwrap_err().to_string();
        assert!(refused.contains("can make nothing of probe 0"), "{refused}");
        std::fs::write(folder.path().join("weights"), [0; 8]).unwrap();
        assert!(reason(&numbers(1)).contains("is not the artefact"));
        let path = write(folder.path(), &[0; 5]);
        let truncated = try_out(&path, &numbers(1)).unwrap_err().to_string();
        assert!(truncated.contains("are not 5 bytes"), "{truncated}");
    }
}
