//! Weights in a safetensors file.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};

use super::refused;
use crate::backend::BackendError;
use crate::efficientnet_lite::{ARCHITECTURE_KEY, Variant};

/// The tensors of a network, each of which is taken once.
pub(super) struct Weights {
    variant: Variant,
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Reads a file. Memory stays in proportion to it.
    pub(super) fn read(artefact: &[u8]) -> Result<Self, BackendError> {
        let (_, header) = SafeTensors::read_metadata(artefact).map_err(refused)?;
        let architecture = header.metadata().as_ref().and_then(|entries| entries.get(ARCHITECTURE_KEY));
        let variant = architecture.and_then(|name| Variant::named(name)).ok_or_else(|| {
            let known = Variant::ALL.map(Variant::name).join("`, `");
            refused(format!("its metadata `{ARCHITECTURE_KEY}` is {architecture:?}, none of `{known}`"))
        })?;
        let file = SafeTensors::deserialize(artefact).map_err(refused)?;
        let tensors = file.iter().map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(refused(format!("`{name}` is {:?}, not FP32", view.dtype())));
            }
            let numbers: Vec<f32> =
                (view.data().as_chunks().0.iter()).map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(refused(format!("`{name}` has numbers that are not finite")));
            }
            let tensor = Tensor::from_vec(numbers, view.shape(), &Device::Cpu).map_err(refused)?;
            Ok((name.to_owned(), tensor))
        });
        Ok(Self { variant, tensors: tensors.collect::<Result<_, _>>()? })
    }

    pub(super) fn variant(&self) -> Variant {
        self.variant
    }

    /// The weight and the bias of a layer.
    pub(super) fn take(&mut self, layer: &str, shape: &[usize]) -> Result<(Tensor, Tensor), BackendError> {
        let mut take = |name: String, shape: &[usize]| match self.tensors.remove(&name) {
            Some(tensor) if tensor.dims() == shape => Ok(tensor),
            Some(tensor) => Err(refused(format!("`{name}` has shape {:?}, not {shape:?}", tensor.dims()))),
            None => Err(refused(format!("there is no tensor `{name}`"))),
        };
        Ok((take(format!("{layer}.weight"), shape)?, take(format!("{layer}.bias"), &shape[..1])?))
    }

    /// Checks that every tensor was taken.
    pub(super) fn finish(self) -> Result<(), BackendError> {
        match self.tensors.keys().next() {
            Some(name) => Err(refused(format!("tensor `{name}` is not part of {}", self.variant.name()))),
            None => Ok(()),
        }
    }
}
