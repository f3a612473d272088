//! EfficientNet-Lite as a safetensors file: the weights alone, with the name of the architecture that they belong to.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{Dtype, View};

use super::checkpoint::Weights;
use super::weighted::EfficientNetLite;
use crate::efficientnet_lite::ARCHITECTURE_KEY;

/// The file. Tensors are sorted by name, and there is one entry of metadata: the same weights give the same bytes.
pub(super) fn write(model: &EfficientNetLite) -> Vec<u8> {
    let metadata = HashMap::from([(ARCHITECTURE_KEY.to_owned(), model.variant.name().to_owned())]);
    safetensors::serialize(model.tensors().map(|(name, weights)| (name, Fp32(weights))), Some(metadata))
        .expect("a header of these names is short")
}

struct Fp32<'a>(&'a Weights);

impl View for Fp32<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.elements.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::efficientnet_lite::Variant;
    use safetensors::SafeTensors;

    #[test]
    fn the_file_names_the_architecture_and_has_every_tensor() -> Result<(), Box<dyn std::error::Error>> {
        let model = EfficientNetLite::synthetic(Variant::Lite0);
        let bytes = model.to_safetensors();
        assert_eq!(bytes, model.to_safetensors());
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let architecture = HashMap::from([("architecture".to_owned(), "efficientnet-lite0".to_owned())]);
        assert_eq!(header.metadata(), &Some(architecture));
        let file = SafeTensors::deserialize(&bytes)?;
        assert_eq!(file.len(), model.tensors().count());
        for (name, weights) in model.tensors() {
            let tensor = file.tensor(&name)?;
            let elements: Vec<u8> = weights.elements.iter().flat_map(|element| element.to_le_bytes()).collect();
            assert!(tensor.shape() == weights.shape && tensor.data() == elements, "{name}");
        }
        Ok(())
    }
}
