//! The same networks on GPUs, where our own kernels take candle's place.

use half::f16;

use super::artefact::Weights;
use super::{failed, fits, refused};
use crate::backend::cuda::{Feature, Gpu, network};
use crate::backend::{Backend, BackendError, Description, Interface};
use crate::run::Precision;
use crate::tensor::{DataType, Tensor, TensorData};

/// One network on one GPU. It takes pixels.
#[derive(Debug)]
struct OnGpu<T: Feature> {
    network: network::Network<T>,
    description: Description,
}

pub(super) fn load(
    artefact: &[u8],
    interface: &Interface,
    number: u32,
    precision: Precision,
) -> Result<Box<dyn Backend>, BackendError> {
    Ok(match precision {
        Precision::Fp16 => Box::new(OnGpu::<f16>::load(artefact, interface, number)?),
        Precision::Fp32 => Box::new(OnGpu::<f32>::load(artefact, interface, number)?),
    })
}

impl<T: Feature> OnGpu<T> {
    fn load(artefact: &[u8], interface: &Interface, number: u32) -> Result<Self, BackendError> {
        let mut weights = Weights::read(artefact)?;
        let by = interface.picture.ok_or_else(|| refused("on GPUs it takes pictures alone"))?;
        let (variant, side) = (weights.variant(), weights.variant().side());
        fits(variant, interface)?;
        let network = network::Network::new(Gpu::open(number)?, variant, by, |layer, shape| {
            let (weight, bias) = weights.take(layer, shape)?;
            let numbers = |tensor: candle_core::Tensor| tensor.flatten_all().and_then(|tensor| tensor.to_vec1::<f32>());
            Ok((numbers(weight).map_err(failed)?, numbers(bias).map_err(failed)?))
        })?;
        weights.finish()?;
        let mut input = interface.input.spec();
        (input.data_type, input.shape) = (DataType::Uint8, vec![None, Some(side), Some(side), Some(3)]);
        Ok(Self { network, description: Description { inputs: vec![input], outputs: vec![interface.output.spec()] } })
    }
}

impl<T: Feature> Backend for OnGpu<T> {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        let [pictures] = inputs else { return Err(failed("it takes one tensor")) };
        let TensorData::Uint8(pixels) = pictures.data() else { return Err(failed("it takes pixels")) };
        let scores = self.network.run(pixels)?;
        let classes = scores.len() / pictures.shape()[0].max(1);
        Tensor::fp32(vec![pictures.shape()[0], classes], scores).map(|tensor| vec![tensor]).map_err(failed)
    }
}
