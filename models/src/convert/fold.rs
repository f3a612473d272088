//! Batch normalisation, folded into the convolution before it.

use super::ConvertError;
use super::checkpoint::Weights;

/// The statistics and the affine map of a batch normalisation, one element per channel.
pub(super) struct BatchNorm {
    pub(super) gain: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
}

/// A layer's weight and bias.
pub(super) struct Folded {
    pub(super) weight: Weights,
    pub(super) bias: Weights,
}

/// Folds `norm` into `weight`, whose first dimension is the output channel. Computed in double precision and rounded
/// once, so that folding costs no accuracy.
pub(super) fn fold(mut weight: Weights, norm: &BatchNorm, epsilon: f64, layer: &str) -> Result<Folded, ConvertError> {
    let factors: Vec<f64> = (norm.gain.iter().zip(&norm.variance))
        .map(|(&gain, &variance)| f64::from(gain) / (f64::from(variance) + epsilon).sqrt())
        .collect();
    let per_channel = weight.elements.len() / factors.len().max(1);
    for (channel, factor) in weight.elements.chunks_exact_mut(per_channel.max(1)).zip(&factors) {
        for element in channel {
            *element = (f64::from(*element) * factor) as f32;
        }
    }
    let bias: Vec<f32> = (norm.shift.iter().zip(&norm.mean).zip(&factors))
        .map(|((&shift, &mean), factor)| (f64::from(shift) - f64::from(mean) * factor) as f32)
        .collect();
    if !(weight.elements.iter().chain(&bias)).all(|element| element.is_finite()) {
        return Err(ConvertError::NotFinite { name: layer.into() });
    }
    Ok(Folded { weight, bias: Weights { shape: vec![bias.len()], elements: bias } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_convolution_equals_convolution_then_normalisation() -> Result<(), ConvertError> {
        let weight = Weights { shape: vec![2, 1, 1, 2], elements: vec![1.0, 2.0, -3.0, 4.0] };
        let norm =
            BatchNorm { gain: vec![2.0, 0.5], shift: vec![1.0, -1.0], mean: vec![0.25, 3.0], variance: vec![3.0, 0.0] };
        let folded = fold(weight.clone(), &norm, 1.0, "layer")?;
        let input = [0.5f32, -1.5];
        for channel in 0..2 {
            let dot = |w: &[f32]| w[channel * 2] * input[0] + w[channel * 2 + 1] * input[1];
            let normalised = (dot(&weight.elements) - norm.mean[channel]) / (norm.variance[channel] + 1.0).sqrt()
                * norm.gain[channel]
                + norm.shift[channel];
            assert_eq!(dot(&folded.weight.elements) + folded.bias.elements[channel], normalised);
        }
        Ok(())
    }

    #[test]
    fn a_negative_variance_is_refused() {
        let weight = Weights { shape: vec![1, 1, 1, 1], elements: vec![1.0] };
        let norm = BatchNorm { gain: vec![1.0], shift: vec![0.0], mean: vec![0.0], variance: vec![-1.0] };
        assert!(matches!(
            fold(weight, &norm, 1e-3, "stem"),
            Err(ConvertError::NotFinite { name }) if name == "stem"
        ));
    }
}
