//! What the sample models' cards say, see [`dropbear_models::Card`].
//!
//! A card lies beside its manifest, which names its digest: what a card says is part of the version.

use dropbear_models::convert::Precision;

use super::check::known_accuracy;
use super::files::{CLASSES, CROP_MARGIN, LICENCE, MEAN, SCALE};
use super::pins::{self, Model};

/// The card of a model, as a file.
pub(super) fn card(model: &Model) -> String {
    let (name, lineage, side) = (model.name, model.lineage, model.variant.side());
    let (right, labelled) = known_accuracy(name);
    let accuracy = right as f64 / labelled as f64;
    let licence = LICENCE.to_ascii_lowercase();
    let shorter_side = side + CROP_MARGIN as usize;
    let photos = pins::labelled_photos_source();
    let rounding = match model.precision {
        Precision::Fp32 => "",
        Precision::Int8 => {
            "Each channel's weights are rounded to 255 values, as an 8-bit model has them; they are stored and computed \
             with in 32 bits all the same.\n"
        }
    };
    format!(
        "---
license: {licence}
pipeline_tag: image-classification
inputs: >-
  a picture of any size: the middle {side}/{shorter_side} of its shorter side, resized to {side} by {side} pixels,
  red, green and blue, each sample s as (s - {MEAN}) / {SCALE}
outputs: scores (logits) of the {CLASSES} classes of ImageNet-1k
lineage: {lineage}
model-index:
- name: {name}
  results:
  - task:
      type: image-classification
    dataset:
      name: {labelled} labelled photos of the Python package {photos}
      type: imagenet-1k
    metrics:
    - type: accuracy
      value: {accuracy:.2}
      name: {right} of {labelled} right
---
# {name}

{lineage}, converted from PyTorch.
{rounding}
- **For** trying Dropbear out. It says which of {CLASSES} classes a picture shows, and nothing about pictures that show
  none of them.
- **Trained by** others, on ImageNet-1k: see the package that the weights come from.
- **Measured** by `dropbear zoo check` on {labelled} photos. That is too few to rank models by.
- **Not independent**: every sample model is an EfficientNet-Lite, trained on the same pictures. Where one errs, the
  others are likelier to.
"
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Format, files, pins};
    use dropbear_models::{Card, CardError};

    #[test]
    fn every_card_speaks_of_its_model() -> Result<(), CardError> {
        for model in pins::MODELS {
            let (text, manifest) = (super::card(model), files::manifest(model, Format::Onnx));
            let card = Card::parse(text.as_bytes())?;
            card.check(&manifest)?;
            assert_eq!(card.lineage, manifest.lineage.as_str());
            let named = manifest.card.expect("every model has a card");
            assert_eq!(
                (named.file, named.blake3),
                (format!("{}.md", model.name), *blake3::hash(text.as_bytes()).as_bytes())
            );
        }
        Ok(())
    }

    #[test]
    fn a_card_says_what_was_measured() -> Result<(), CardError> {
        for (name, accuracy, words) in [("lite2", 0.9, "18 of 20 right"), ("lite0-int8", 0.85, "17 of 20 right")] {
            let model = pins::MODELS.iter().find(|model| model.name == name).expect("a sample model");
            let metrics = Card::parse(super::card(model).as_bytes())?.metrics.expect("metrics");
            let metric = &metrics[0]["results"][0]["metrics"][0];
            assert_eq!((metric["value"].as_f64(), metric["name"].as_str()), (Some(accuracy), Some(words)));
        }
        Ok(())
    }
}
