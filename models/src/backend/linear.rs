//! The backend of one matrix: for regressions and projections, without any native library.
//!
//! The artefact is little-endian `f32`: the matrix row by row, one row per output, then the bias. Sums are taken in
//! double precision, in the order of the inputs: the result is the same on every machine and in every batch.

use super::{Backend, BackendError, Description, Side};
use crate::tensor::Tensor;

/// y = W x + b.
#[derive(Clone, Debug)]
pub struct Linear {
    description: Description,
    /// Row by row.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    /// Loads an artefact.
    ///
    /// # Errors
    /// [`BackendError::Artefact`] if it does not hold exactly the matrix and the bias, all finite.
    pub fn load(artefact: &[u8], input: &Side, output: &Side) -> Result<Self, BackendError> {
        let refused = |reason: String| BackendError::Artefact { reason };
        let (inputs, outputs) = (input.values(), output.values());
        let count = inputs.checked_add(1).and_then(|columns| columns.checked_mul(outputs));
        let bytes = count.and_then(|count| count.checked_mul(4));
        if bytes != Some(artefact.len()) {
            let got = artefact.len();
            return Err(refused(format!("{outputs} × {inputs} weights and {outputs} biases are not {got} bytes")));
        }
        let (numbers, _) = artefact.as_chunks::<4>();
        let mut weights: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if let Some(place) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(refused(format!("number {place} is not finite")));
        }
        let bias = weights.split_off(inputs * outputs);
        let description = Description { inputs: vec![input.spec()], outputs: vec![output.spec()] };
        Ok(Self { description, weights, bias })
    }

    fn apply(&self, input: &[f32]) -> impl Iterator<Item = f32> {
        self.weights.chunks_exact(input.len().max(1)).zip(&self.bias).map(move |(row, bias)| {
            let products = row.iter().zip(input).map(|(weight, value)| f64::from(*weight) * f64::from(*value));
            (products.sum::<f64>() + f64::from(*bias)) as f32
        })
    }
}

impl Backend for Linear {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        let failed = |reason: String| BackendError::Failed { reason };
        let batch = inputs.first().and_then(Tensor::as_fp32).ok_or_else(|| failed("the input is not FP32".into()))?;
        let values = self.weights.len() / self.bias.len().max(1);
        let results: Vec<f32> = batch.chunks_exact(values.max(1)).flat_map(|input| self.apply(input)).collect();
        let shape: Vec<usize> = self.description.outputs[0].shape.iter().map(|length| length.unwrap_or(0)).collect();
        let shape = [&[batch.len() / values.max(1)], &shape[1..]].concat();
        Tensor::fp32(shape, results).map(|tensor| vec![tensor]).map_err(|error| failed(error.to_string()))
    }
}

/// The artefact of a matrix, row by row, and its bias.
#[must_use]
pub fn artefact(weights: &[f32], bias: &[f32]) -> Vec<u8> {
    weights.iter().chain(bias).flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(tensor: &str, shape: &[usize]) -> Side {
        Side { tensor: tensor.into(), shape: shape.to_vec() }
    }

    fn load(artefact: &[u8]) -> Result<Linear, BackendError> {
        Linear::load(artefact, &side("x", &[2]), &side("y", &[3]))
    }

    #[test]
    fn each_item_of_a_batch_goes_through_the_matrix() -> Result<(), Box<dyn std::error::Error>> {
        let mut linear = load(&artefact(&[1.0, 0.0, 0.0, 1.0, 2.0, -1.0], &[0.0, 10.0, 0.5]))?;
        let outputs = linear.infer(&[Tensor::fp32(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0])?])?;
        assert_eq!(outputs, [Tensor::fp32(vec![2, 3], vec![1.0, 12.0, 0.5, 3.0, 14.0, 2.5])?]);
        let other = linear.infer(&[Tensor::fp32(vec![2, 3], vec![0.0; 6])?]);
        assert!(matches!(other, Err(BackendError::Input { .. })));
        Ok(())
    }

    #[test]
    fn a_truncated_artefact_or_one_with_holes_is_refused() {
        let whole = artefact(&[1.0; 6], &[0.0; 3]);
        assert!(load(&whole).is_ok());
        for broken in [&whole[..whole.len() - 1], &whole[..32], &[], &artefact(&[f32::NAN; 6], &[0.0; 3])] {
            assert!(matches!(load(broken), Err(BackendError::Artefact { .. })));
        }
    }
}
