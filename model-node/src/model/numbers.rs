//! Regression and embedding: numbers in, numbers out.

use std::path::{Path, PathBuf};

use dropbear_certificates::Digest;
use dropbear_models::{Manifest, Runtime, VectorTask, Vectors};
use dropbear_wire::v1::Tensor;

use super::{Model, ModelCard, ModelError, Output, Sessions, Unusable, describe};

/// A model of numbers, on whatever backend its manifest names.
#[derive(Debug)]
pub struct Numbers {
    card: ModelCard,
    task: VectorTask,
    manifest: PathBuf,
    runtime: Option<Runtime>,
    sessions: Sessions,
}

impl Numbers {
    /// The model whose manifest lies at `path`; `task` is that manifest's. Nothing is loaded yet.
    #[must_use]
    pub fn new(
        path: &Path,
        manifest: &Manifest,
        task: VectorTask,
        runtime: Option<Runtime>,
        sessions: Sessions,
    ) -> Self {
        Self { card: describe(manifest), task, manifest: path.to_owned(), runtime, sessions }
    }
}

impl Model for Numbers {
    type Input = Vec<f32>;
    type Preparer = ();
    type Session = Vectors;

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn preparer(&self) {}

    fn open(&self, place: usize) -> Result<Vectors, ModelError> {
        let model =
            Vectors::open(&self.manifest, self.runtime.as_ref(), self.sessions.of(place)).map_err(ModelError::new)?;
        // The ledger names the version that was asked for.
        if Digest(model.manifest().version_digest()) != self.card.version {
            let path = self.manifest.display();
            return Err(ModelError(format!("{path} has changed: it is another version now")));
        }
        Ok(model)
    }

    fn prepare(&self, (): &mut (), tensor: Tensor) -> Result<Vec<f32>, Unusable> {
        if tensor.datatype != "FP32" {
            return Err(Unusable(format!("the input is {}, not FP32", tensor.datatype)));
        }
        let values = numbers(&tensor.data)?;
        match values.len() == self.task.input_values() {
            true => Ok(values),
            false => Err(Unusable(format!("the input has {} values, not {}", values.len(), self.task.input_values()))),
        }
    }

    fn infer(&self, model: &mut Vectors, inputs: &[Vec<f32>]) -> Result<Vec<Output>, ModelError> {
        let results = model.infer(inputs).map_err(ModelError::new)?;
        // Adding zero makes 0 of −0, which is no vote and means the same.
        let unsigned = |values: Vec<f32>| values.into_iter().map(|value| value + 0.0).collect();
        Ok(results.into_iter().map(|values| Output::values(unsigned(values))).collect())
    }
}

/// The numbers in the little-endian contents of an FP32 tensor.
///
/// # Errors
/// [`Unusable`] if they break off.
pub fn numbers(data: &[u8]) -> Result<Vec<f32>, Unusable> {
    match data.as_chunks::<4>() {
        (numbers, []) => Ok(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        _ => Err(Unusable("the contents of an FP32 tensor break off".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn sum(folder: &Path) -> Numbers {
        let artefact = dropbear_models::backend::linear::artefact(&[1.0, -1.0], &[0.0]);
        let digest = blake3::hash(&artefact);
        let path = folder.join("model.toml");
        let text = format!(
            "name = \"difference\"\ntask = \"regression\"\nbackend = \"linear\"\nlicence = \"MIT\"\nlineage = \"none\"\n\
             artefact = {{ file = \"weights\", blake3 = \"{digest}\" }}\ninput = {{ tensor = \"x\", shape = [2] }}\n\
             output = {{ tensor = \"y\", length = 1 }}\n"
        );
        std::fs::write(folder.join("weights"), artefact).unwrap();
        std::fs::write(&path, text).unwrap();
        let manifest = Manifest::load(&path).unwrap();
        let dropbear_models::Task::Vector(task) = manifest.task.clone() else { panic!("a regression") };
        Numbers::new(&path, &manifest, task, None, Sessions::default())
    }

    fn tensor(datatype: &str, data: &[f32]) -> Tensor {
        let data: Vec<u8> = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { name: "x".into(), datatype: datatype.into(), shape: vec![], data: data.into() }
    }

    #[test]
    fn numbers_go_in_and_come_out() {
        let folder = tempfile::tempdir().unwrap();
        let model = sum(folder.path());
        let inputs = [model.prepare(&mut (), tensor("FP32", &[1.5, 1.0])).unwrap()];
        let mut session = model.open(0).unwrap();
        assert_eq!(model.infer(&mut session, &inputs), Ok(vec![Output::values(vec![0.5])]));
        let nothing = [model.prepare(&mut (), tensor("FP32", &[-0.0, 0.0])).unwrap()];
        let outputs = model.infer(&mut session, &nothing).unwrap();
        assert_eq!(outputs[0].bytes(), &Bytes::from_static(&[0; 4]), "no negative zero");
    }

    #[test]
    fn other_tensors_are_unusable() {
        let folder = tempfile::tempdir().unwrap();
        let model = sum(folder.path());
        let broken = Tensor { data: Bytes::from_static(b"12345678x"), ..tensor("FP32", &[]) };
        for tensor in [tensor("FP64", &[1.0, 2.0]), tensor("FP32", &[1.0]), broken] {
            assert!(model.prepare(&mut (), tensor.clone()).is_err(), "{tensor:?}");
        }
    }
}
