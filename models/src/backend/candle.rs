//! candle: EfficientNet-Lite from a safetensors file, on processors, without any native library.
//!
//! The artefact holds every weight and bias of the network as FP32, batch normalisation folded in, and says in its metadata
//! which network that is: `{"architecture": "efficientnet-lite0"}` (see
//! [`to_safetensors`](crate::convert::EfficientNetLite::to_safetensors)). Answers are the same bits for every batch size,
//! number of threads and processor; they differ from ONNX Runtime's in the sixth digit.

mod artefact;
mod network;
mod on_gpu;

use candle_core::Device as CandleDevice;
use candle_core::Tensor as CandleTensor;

use super::{Backend, BackendError, Description, Interface};
use crate::efficientnet_lite::{self, CLASSES, Variant};
use crate::run::{Device, Precision, RunOptions};
use crate::tensor::Tensor;
use artefact::Weights;
use network::Network;

/// One network on one worker.
#[derive(Debug)]
pub struct Candle {
    network: Network,
    description: Description,
}

impl Candle {
    /// Loads a safetensors file from memory.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] for another device than the processor or another precision than FP32;
    /// [`BackendError::Artefact`] if the file is not exactly the weights of the network that it names, or that network is
    /// not of this `interface`.
    pub fn load(artefact: &[u8], interface: &Interface, options: &RunOptions) -> Result<Self, BackendError> {
        available(options)?;
        let weights = Weights::read(artefact)?;
        let variant = weights.variant();
        fits(variant, interface)?;
        let plan = efficientnet_lite::Network::new(variant);
        let network = Network::new(&plan, weights, options.intra_threads)?;
        let description = Description { inputs: vec![interface.input.spec()], outputs: vec![interface.output.spec()] };
        Ok(Self { network, description })
    }
}

/// Whether the network in the file is the one in the manifest.
fn fits(variant: Variant, interface: &Interface) -> Result<(), BackendError> {
    let side = variant.side();
    if interface.input.shape == [3, side, side] && interface.output.shape == [CLASSES] {
        return Ok(());
    }
    Err(refused(format!(
        "{} takes 3 planes with a side of {side} and gives {CLASSES} scores; its manifest says {:?} and {:?}",
        variant.name(),
        interface.input.shape,
        interface.output.shape,
    )))
}

/// Loads a safetensors file for the device that `options` name: candle computes on processors, our own kernels on GPUs.
pub(super) fn load(
    artefact: &[u8],
    interface: &Interface,
    options: &RunOptions,
) -> Result<Box<dyn Backend>, BackendError> {
    Ok(match options.device {
        Device::Cpu => Box::new(Candle::load(artefact, interface, options)?),
        Device::Cuda(number) => on_gpu::load(artefact, interface, number, options.precision)?,
    })
}

fn available(options: &RunOptions) -> Result<(), BackendError> {
    let missing = match (options.device, options.precision) {
        (Device::Cpu, Precision::Fp32) => return Ok(()),
        (Device::Cpu, precision) => format!("in {precision}: it computes in {}", Precision::Fp32),
        (device, _) => format!("on {device}: it runs on CPUs; use the backend `onnx`, or the device `{}`", Device::Cpu),
    };
    Err(BackendError::Unavailable { reason: format!("the backend `candle` does not run {missing}") })
}

impl Backend for Candle {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        let batch = inputs.first().and_then(Tensor::as_fp32).ok_or_else(|| failed("the input is not FP32"))?;
        // ReLU6 would make numbers of what is none.
        if !batch.iter().all(|sample| sample.is_finite()) {
            return Err(BackendError::Input { reason: "samples must be finite".into() });
        }
        let pictures = CandleTensor::from_slice(batch, inputs[0].shape(), &CandleDevice::Cpu).map_err(failed)?;
        let scores = self.network.run(&pictures).map_err(failed)?;
        let shape = scores.dims().to_vec();
        let scores = scores.flatten_all().and_then(|scores| scores.to_vec1()).map_err(failed)?;
        Tensor::fp32(shape, scores).map(|tensor| vec![tensor]).map_err(failed)
    }
}

fn refused(reason: impl ToString) -> BackendError {
    BackendError::Artefact { reason: reason.to_string() }
}

fn failed(reason: impl ToString) -> BackendError {
    BackendError::Failed { reason: reason.to_string() }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
