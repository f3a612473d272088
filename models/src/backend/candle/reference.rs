//! The network in double precision and without haste.

use dropbear_ops::reference::{Layer, Planes, convolve};

use crate::convert::EfficientNetLite;
use crate::efficientnet_lite::{Convolution, Network};

const fn layer(layer: &Convolution) -> Layer {
    let Convolution { kernel, stride, padding, groups, channels_in, channels_out, activated, .. } = *layer;
    Layer { kernel, stride, padding, groups, channels_in, channels_out, activated }
}

/// The scores of one picture.
pub(super) fn scores(model: &EfficientNetLite, network: &Network, picture: Planes) -> Vec<f64> {
    let tensors: Vec<&[f32]> = model.tensors().map(|(_, weights)| weights.elements.as_slice()).collect();
    let mut layers = tensors.chunks_exact(2);
    let mut apply = |features: &Planes, layer: &Convolution| {
        let weights = layers.next().expect("as many tensors as layers");
        convolve(features, &self::layer(layer), weights[0], weights[1])
    };
    let mut features = apply(&picture, &network.stem);
    for block in &network.blocks {
        let mut inner = features.clone();
        for layer in block.expand.iter().chain([&block.depthwise, &block.project]) {
            inner = apply(&inner, layer);
        }
        if block.residual {
            inner.values.iter_mut().zip(&features.values).for_each(|(value, input)| *value += input);
        }
        features = inner;
    }
    let features = apply(&features, &network.head);
    let pixels = features.height * features.width;
    let means = features.values.chunks_exact(pixels).map(|plane| plane.iter().sum::<f64>() / pixels as f64);
    let means: Vec<f64> = means.collect();
    let classifier = layers.next().expect("the classifier is last");
    let rows = classifier[0].chunks_exact(means.len()).zip(classifier[1]);
    rows.map(|(row, bias)| row.iter().zip(&means).map(|(w, m)| f64::from(*w) * m).sum::<f64>() + f64::from(*bias))
        .collect()
}
