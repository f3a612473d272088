//! An EfficientNet-Lite with its weights: a checkpoint's tensors, folded and rounded.

use super::checkpoint::{Checkpoint, Weights};
use super::fold::{BatchNorm, Folded, fold};
use super::round::round_to_int8;
use super::{ConvertError, Precision};
use crate::efficientnet_lite::{CLASSES, Convolution, HEAD_CHANNELS, Network, Variant};

/// Added to variances, as TensorFlow's training did.
const EPSILON: f64 = 1e-3;

/// A network with its weights, ready to be written in the format that a backend loads.
pub struct EfficientNetLite {
    pub(super) variant: Variant,
    pub(super) network: Network,
    /// One for each of the network's convolutions, in their order.
    pub(super) convolutions: Vec<Folded>,
    /// `[classes, features]`
    pub(super) classifier: Folded,
}

impl EfficientNetLite {
    /// Uses up every tensor of `checkpoint`.
    pub(super) fn new(checkpoint: Checkpoint, variant: Variant, precision: Precision) -> Result<Self, ConvertError> {
        let mut source = Source { checkpoint, precision };
        let network = Network::new(variant);
        let convolutions = network.convolutions().map(|layer| source.folded(layer)).collect::<Result<_, _>>()?;
        let classifier = source.classifier()?;
        match source.checkpoint.names().next() {
            Some(name) => Err(ConvertError::Unused { name: name.into() }),
            None => Ok(Self { variant, network, convolutions, classifier }),
        }
    }

    /// Every weight and bias with its name, in the order in which the layers run.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, &Weights)> {
        let layers = self.network.convolutions().map(|layer| layer.name.as_str()).zip(&self.convolutions);
        layers.chain(std::iter::once(("fc", &self.classifier))).flat_map(|(name, folded)| {
            [(format!("{name}.weight"), &folded.weight), (format!("{name}.bias"), &folded.bias)]
        })
    }
}

struct Source {
    checkpoint: Checkpoint,
    precision: Precision,
}

impl Source {
    fn folded(&mut self, layer: &Convolution) -> Result<Folded, ConvertError> {
        let (weight, norm) = published(&layer.name);
        let weight = self.take(&format!("{weight}.weight"), &layer.weight_shape())?;
        let mut channelwise = |field: &str| {
            let name = format!("{norm}.{field}");
            Ok::<_, ConvertError>(self.take(&name, &[layer.channels_out])?.elements)
        };
        let norm = BatchNorm {
            gain: channelwise("weight")?,
            shift: channelwise("bias")?,
            mean: channelwise("running_mean")?,
            variance: channelwise("running_var")?,
        };
        Ok(self.rounded(fold(weight, &norm, EPSILON, &layer.name)?))
    }

    fn classifier(&mut self) -> Result<Folded, ConvertError> {
        let weight = self.take("_fc.weight", &[CLASSES, HEAD_CHANNELS])?;
        let bias = self.take("_fc.bias", &[CLASSES])?;
        Ok(self.rounded(Folded { weight, bias }))
    }

    fn rounded(&self, mut folded: Folded) -> Folded {
        if self.precision == Precision::Int8 {
            round_to_int8(&mut folded.weight);
        }
        folded
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Weights, ConvertError> {
        let weights = self.checkpoint.take(name).ok_or_else(|| ConvertError::Missing { name: name.to_owned() })?;
        if weights.shape != shape {
            return Err(ConvertError::Shape { name: name.to_owned(), expected: shape.to_vec(), got: weights.shape });
        }
        Ok(weights)
    }
}

/// The names in the checkpoint of a convolution and of the batch normalisation after it.
fn published(layer: &str) -> (String, String) {
    match layer.split_once('.') {
        Some((block, layer)) => {
            let (weight, norm) = match layer {
                "exp" => ("_expand_conv", "_bn0"),
                "dw" => ("_depthwise_conv", "_bn1"),
                _ => ("_project_conv", "_bn2"),
            };
            let at = |name: &str| format!("_blocks.{}.{name}", &block[1..]);
            (at(weight), at(norm))
        }
        None if layer == "stem" => ("_conv_stem".into(), "_bn0".into()),
        None => ("_conv_head".into(), "_bn1".into()),
    }
}

#[cfg(test)]
impl EfficientNetLite {
    /// Numbers that look random, of a size that keeps features alive through every layer.
    pub(crate) fn synthetic(variant: Variant) -> Self {
        let mut state = 1u64;
        let mut numbers = |count: usize, bound: f32| -> Vec<f32> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * bound
            };
            (0..count).map(|_| next()).collect()
        };
        let mut folded = |shape: &[usize]| {
            let count: usize = shape.iter().product();
            let weight = numbers(count, (6.0 * shape[0] as f32 / count as f32).sqrt());
            let bias = numbers(shape[0], 0.5);
            Folded {
                weight: Weights { shape: shape.to_vec(), elements: weight },
                bias: Weights { shape: vec![shape[0]], elements: bias },
            }
        };
        let network = Network::new(variant);
        let convolutions = network.convolutions().map(|layer| folded(&layer.weight_shape())).collect();
        let classifier = folded(&[CLASSES, HEAD_CHANNELS]);
        Self { variant, network, convolutions, classifier }
    }
}
