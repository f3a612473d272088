//! The backend that returns what it is given: for pipeline tests and for benchmarks of everything but inference.

use super::{Backend, BackendError, Description};
use crate::tensor::Tensor;

/// Echoes any tensors.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    description: Description,
}

impl Identity {
    /// A backend that takes and returns any tensors.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for Identity {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        Ok(inputs.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, TensorData};

    #[test]
    fn any_tensor_comes_back() -> Result<(), Box<dyn std::error::Error>> {
        let inputs = [
            Tensor::fp32(vec![1, 2], vec![0.5, f32::INFINITY])?,
            Tensor::new(
                vec![1],
                TensorData::Encoded { data_type: DataType::Bytes, bytes: vec![2, 0, 0, 0, b'h', b'i'] },
            )?,
        ];
        assert_eq!(Identity::new().infer(&inputs)?, inputs);
        Ok(())
    }
}
