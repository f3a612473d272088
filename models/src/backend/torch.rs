//! libtorch: TorchScript modules, on processors and NVIDIA GPUs. Compiled with the cargo feature `torch`.
//!
//! The artefact is what `torch.jit.save` writes; its `forward` takes one tensor and returns one. TorchScript says nothing of
//! shapes, so the manifest's are tried when the module is loaded.

use dropbear_torch::{Error, Input, Options, Output, Session};

use super::{Backend, BackendError, Description, Interface, Normalisation};
use crate::preprocess::Form;
use crate::run::{Device, Precision, RunOptions};
use crate::tensor::{DataType, Tensor, TensorData};

/// One module on one worker.
#[derive(Debug)]
pub struct Torch {
    session: Session,
    description: Description,
    /// How pixels are normalised, if it takes them.
    pixels: Option<Normalisation>,
}

impl Torch {
    /// Loads a module from memory and tries it.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] if there is no such device; [`BackendError::Artefact`] if libtorch refuses the module,
    /// or it has another `interface`.
    pub fn load(artefact: &[u8], interface: &Interface, options: &RunOptions) -> Result<Self, BackendError> {
        let gpu = match options.device {
            Device::Cpu => None,
            Device::Cuda(number) => Some(number),
        };
        let half = options.precision == Precision::Fp16;
        let session = Session::load(artefact, Options { gpu, half, threads: options.intra_threads });
        let session = session.map_err(|error| match error {
            Error::Device(reason) => BackendError::Unavailable { reason },
            Error::Artefact(reason) | Error::Failed(reason) => BackendError::Artefact { reason },
        })?;
        let mut description =
            Description { inputs: vec![interface.input.spec()], outputs: vec![interface.output.spec()] };
        let pixels = interface.picture.filter(|_| Form::on(options.device) == Form::Pixels);
        if let (Some(_), [_, height, width]) = (pixels, interface.input.shape.as_slice()) {
            description.inputs[0].data_type = DataType::Uint8;
            description.inputs[0].shape = vec![None, Some(*height), Some(*width), Some(3)];
        }
        let mut torch = Self { session, description, pixels };
        torch.attempt(&interface.output.shape)?;
        Ok(torch)
    }

    /// One input of zeros must give one output of the manifest's shape.
    fn attempt(&mut self, output: &[usize]) -> Result<(), BackendError> {
        let spec = &self.description.inputs[0];
        let shape: Vec<usize> = spec.shape.iter().map(|length| length.unwrap_or(1)).collect();
        let count = shape.iter().product();
        let data = match spec.data_type {
            DataType::Uint8 => TensorData::Uint8(vec![0; count]),
            _ => TensorData::Fp32(vec![0.0; count]),
        };
        let refused = |reason: String| BackendError::Artefact { reason };
        let zeros = Tensor::new(shape, data).map_err(|error| refused(error.to_string()))?;
        let got = self.run(&zeros).map_err(|error| refused(format!("it cannot be run: {error}")))?;
        match got.shape.split_first() {
            Some((1, rest)) if rest == output => Ok(()),
            _ => Err(refused(format!("for one input it returns {:?}, not one {output:?}", got.shape))),
        }
    }

    fn run(&mut self, input: &Tensor) -> Result<Output, BackendError> {
        let input = match (input.data(), self.pixels) {
            (TensorData::Fp32(elements), _) => Input::Numbers { shape: input.shape(), elements },
            (TensorData::Uint8(samples), Some(Normalisation { mean, scale })) => {
                let shape = <[usize; 4]>::try_from(input.shape());
                let shape = shape.map_err(|_| failed(format!("pixels of shape {:?}", input.shape())))?;
                Input::Pixels { shape, samples, mean, scale }
            }
            _ => return Err(failed(format!("{:?} tensors are not supported", input.data_type()))),
        };
        self.session.run(input).map_err(failed)
    }
}

impl Backend for Torch {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        let [input] = inputs else { return Err(failed("it takes one tensor")) };
        let Output { shape, elements } = self.run(input)?;
        Ok(vec![Tensor::fp32(shape, elements).map_err(failed)?])
    }
}

fn failed(reason: impl ToString) -> BackendError {
    BackendError::Failed { reason: reason.to_string() }
}
