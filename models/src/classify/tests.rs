use super::*;
use crate::backend::{Description, TensorSpec};
use crate::tensor::DataType;

const MANIFEST: &str = r#"
name = "brightness"
task = "image-classification"
backend = "onnx"
licence = "Apache-2.0"
lineage = "made for this test"
artefact = { file = "none", blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" }
input = { tensor = "input", side = 2, crop_margin = 0, mean = 0.0, scale = 1.0 }
output = { tensor = "logits", classes = 3 }
"#;

/// Scores each class by the mean of the colour channel with its index.
struct ChannelMeans {
    description: Description,
    spoil: Option<f32>,
}

impl ChannelMeans {
    fn boxed(spoil: Option<f32>) -> Box<Self> {
        let spec = |name: &str, shape: &[Option<usize>]| TensorSpec {
            name: name.into(),
            data_type: DataType::Fp32,
            shape: shape.to_vec(),
        };
        let description = Description {
            inputs: vec![spec("input", &[None, Some(3), Some(2), Some(2)])],
            outputs: vec![spec("logits", &[None, Some(3)])],
        };
        Box::new(Self { description, spoil })
    }
}

impl Backend for ChannelMeans {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        let planes = inputs[0].as_fp32().expect("checked").chunks_exact(4);
        let means = planes.map(|plane| self.spoil.unwrap_or(plane.iter().sum::<f32>() / 4.0));
        Ok(vec![Tensor::fp32(vec![inputs[0].shape()[0], 3], means.collect()).expect("three per picture")])
    }
}

fn plain(rgb: [u8; 3]) -> DecodedImage {
    DecodedImage::from_raw(4, 4, rgb.repeat(16)).expect("16 pixels")
}

#[test]
fn a_batch_is_classified_in_order() -> Result<(), Box<dyn std::error::Error>> {
    let mut classifier = Classifier::new(Manifest::parse(MANIFEST)?, ChannelMeans::boxed(None))?;
    let answers = classifier.classify(&[plain([9, 2, 3]), plain([1, 2, 8]), plain([5, 5, 5])])?;
    let classes: Vec<u32> = answers.iter().map(|a| a.class).collect();
    assert_eq!(classes, [0, 2, 0], "of equal scores the lower class wins");
    assert_eq!(answers[0].logits, [9.0, 2.0, 3.0]);
    let ranked: Vec<u32> = answers[1].top.iter().map(|(class, _)| *class).collect();
    assert_eq!(ranked, [2, 1, 0]);
    assert!(classifier.classify(&[])?.is_empty());
    Ok(())
}

#[test]
fn scores_that_are_no_numbers_are_an_error() -> Result<(), Box<dyn std::error::Error>> {
    let manifest = Manifest::parse(MANIFEST)?;
    let mut classifier = Classifier::new(manifest, ChannelMeans::boxed(Some(f32::NAN)))?;
    assert!(matches!(classifier.classify(&[plain([1, 2, 3])]), Err(ClassifyError::NotFinite(NotFinite { class: 0 }))));
    Ok(())
}

#[test]
fn inputs_of_another_model_are_refused() -> Result<(), Box<dyn std::error::Error>> {
    let manifest = Manifest::parse(MANIFEST)?;
    let mut classifier = Classifier::new(manifest, ChannelMeans::boxed(None))?;
    let foreign = ModelInput::Planes(vec![0.0; 27]);
    assert!(matches!(classifier.classify_inputs(&[foreign]), Err(ClassifyError::Foreign { .. })));
    Ok(())
}

#[test]
fn a_backend_with_other_tensors_is_refused() -> Result<(), Box<dyn std::error::Error>> {
    for (from, to) in [
        ("side = 2", "side = 3"),
        ("\"input\"", "\"image\""),
        ("classes = 3", "classes = 4"),
        ("\"logits\"", "\"scores\""),
    ] {
        let manifest = Manifest::parse(&MANIFEST.replace(from, to))?;
        assert!(matches!(Classifier::new(manifest, ChannelMeans::boxed(None)), Err(OpenError::Tensors { .. })));
    }
    Ok(())
}
