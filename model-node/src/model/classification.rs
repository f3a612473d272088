//! Image classification: pictures in, a class and its scores out.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dropbear_certificates::Digest;
use dropbear_certificates::policy::RANKS_MAX;
use dropbear_models::{
    Classification, Classifier, DecodedImage, ImageClassification, Manifest, ModelInput, Preprocessor, Runtime,
};
use dropbear_wire::v1::Tensor;

use super::{Model, ModelCard, ModelError, Output, Sessions, Unusable, describe};

/// The name of the one input tensor.
pub const INPUT_NAME: &str = "image";

/// An image classifier, on whatever backend its manifest names.
#[derive(Debug)]
pub struct ImageClassifier {
    card: ModelCard,
    task: ImageClassification,
    manifest: PathBuf,
    runtime: Option<Runtime>,
    sessions: Sessions,
}

impl ImageClassifier {
    /// The classifier whose manifest lies at `path`; `task` is that manifest's. Nothing is loaded yet.
    #[must_use]
    pub fn new(
        path: &Path,
        manifest: &Manifest,
        task: ImageClassification,
        runtime: Option<Runtime>,
        sessions: Sessions,
    ) -> Self {
        Self { card: describe(manifest), task, manifest: path.to_owned(), runtime, sessions }
    }
}

impl Model for ImageClassifier {
    type Input = ModelInput;
    type Preparer = Preprocessor;
    type Session = Classifier;

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn preparer(&self) -> Preprocessor {
        Preprocessor::new(&self.task.input, self.sessions.form())
    }

    fn open(&self, place: usize) -> Result<Classifier, ModelError> {
        let classifier = Classifier::open(&self.manifest, self.runtime.as_ref(), self.sessions.of(place));
        let classifier = classifier.map_err(ModelError::new)?;
        // The ledger names the version that was read at the start.
        if Digest(classifier.manifest().version_digest()) != self.card.version {
            let path = self.manifest.display();
            return Err(ModelError(format!("{path} has changed: it is another version now")));
        }
        Ok(classifier.with_top(RANKS_MAX))
    }

    fn prepare(&self, preprocessor: &mut Preprocessor, tensor: Tensor) -> Result<ModelInput, Unusable> {
        Ok(preprocessor.apply(&picture(tensor)?))
    }

    fn infer(&self, classifier: &mut Classifier, inputs: &[ModelInput]) -> Result<Vec<Output>, ModelError> {
        let classifications = classifier.classify_inputs(inputs).map_err(ModelError::new)?;
        Ok(classifications.into_iter().map(output).collect())
    }
}

fn output(classification: Classification) -> Output {
    let bytes: Vec<u8> = classification.logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let classes = classification.top.iter().map(|(class, _)| *class).collect();
    Output::Ranking { classes, bytes: bytes.into() }
}

/// The picture in a tensor: an encoded JPEG or PNG (`BYTES` of shape `[]`), or raw RGB rows (`UINT8` of shape
/// `[height, width, 3]`).
///
/// # Errors
/// [`Unusable`] if the tensor is neither.
pub fn picture(tensor: Tensor) -> Result<DecodedImage, Unusable> {
    if tensor.name != INPUT_NAME {
        return Err(Unusable(format!("the input is not called `{INPUT_NAME}`")));
    }
    match (tensor.datatype.as_str(), tensor.shape.as_slice()) {
        ("BYTES", []) => DecodedImage::decode(&tensor.data).map_err(|error| Unusable(error.to_string())),
        ("UINT8", &[height, width, 3]) => raw(height, width, &tensor.data),
        _ => Err(Unusable(format!("`{INPUT_NAME}` is BYTES of shape [] or UINT8 of shape [height, width, 3]"))),
    }
}

fn raw(height: u64, width: u64, rgb: &Bytes) -> Result<DecodedImage, Unusable> {
    let side = |length: u64| u32::try_from(length).map_err(|_| Unusable("the picture is too large".into()));
    DecodedImage::from_raw(side(height)?, side(width)?, rgb.to_vec()).map_err(|error| Unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(datatype: &str, shape: &[u64], data: &[u8]) -> Tensor {
        let data = Bytes::copy_from_slice(data);
        Tensor { name: INPUT_NAME.into(), datatype: datatype.into(), shape: shape.to_vec(), data }
    }

    #[test]
    fn raw_pixels_are_taken_as_rows_of_rgb() {
        let picture = picture(image("UINT8", &[1, 2, 3], &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!((picture.height(), picture.width()), (1, 2));
    }

    #[test]
    fn what_is_no_picture_is_unusable() {
        for tensor in [
            image("BYTES", &[], b"not a picture"),
            image("BYTES", &[1], b"not a picture"),
            image("UINT8", &[1, 2, 3], &[1, 2, 3]),
            image("UINT8", &[0, 2, 3], &[]),
            image("UINT8", &[u64::MAX, 1, 3], &[1, 2, 3]),
            image("FP32", &[1, 1, 3], &[0; 12]),
            Tensor { name: "picture".into(), ..image("UINT8", &[1, 1, 3], &[1, 2, 3]) },
        ] {
            assert!(picture(tensor.clone()).is_err(), "{tensor:?}");
        }
    }
}
