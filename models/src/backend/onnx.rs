//! ONNX Runtime, loaded at run time: building needs no native library, and an owner brings the flavour they have.
//!
//! On GPUs that is the build of `onnxruntime-gpu`: `libonnxruntime_providers_shared.so`, `libonnxruntime_providers_cuda.so`
//! and, for TensorRT, `libonnxruntime_providers_tensorrt.so` lie beside `libonnxruntime.so`. They need the driver, CUDA 13
//! (`libcudart.so.13`, `libcublas.so.13`, `libcublasLt.so.13`, `libcurand.so.10`; for our kernels `libnvrtc.so.13`), and,
//! not before a model first uses them, `libcufft.so.12` and cuDNN 9 (`libcudnn.so.9` and its parts). The loader must find
//! all of them: installed with the system, named in `LD_LIBRARY_PATH`, or in
//! [`ProviderOptions`](crate::run::ProviderOptions). A model that is to run on a GPU never runs on the CPU instead, nor does
//! any part of it, unless `cpu` is among its providers.
//!
//! Pictures go to GPUs as pixels and are normalised there, in our own kernel; the session reads them where they lie.

#[expect(unsafe_code, reason = "a session is given places on a device, which only their owner knows to be right")]
mod bound;
mod provider;
mod runtime;
mod staging;

pub use runtime::{Runtime, RuntimeError};

use std::borrow::Cow;

use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

use self::staging::Staging;
use super::cuda::Gpu;
use super::{Backend, BackendError, Description, Interface, Normalisation, TensorSpec};
use crate::preprocess::normalised;
use crate::run::{Device, Provider, RunOptions};
use crate::tensor::{DataType, Tensor, TensorData};

/// One ONNX Runtime session: one model, one worker.
#[derive(Debug)]
pub struct Onnx {
    session: Session,
    description: Description,
    provider: Provider,
    passed_over: Vec<String>,
    /// Pixels are made into planes here, not by whoever calls.
    pictures: Option<Pictures>,
}

/// Where pixels are made into planes.
#[derive(Debug)]
enum Pictures {
    /// Here, for a session that came to run on the CPU after all.
    Host(Normalisation),
    /// On the GPU.
    Device(Box<Staging>),
}

impl Onnx {
    /// Loads an ONNX model from memory, so that the bytes whose digest was checked are the bytes that run.
    ///
    /// # Errors
    /// [`BackendError::Artefact`] where ONNX Runtime refuses the model, or the model has inputs that are not tensors;
    /// [`BackendError::Unavailable`] where none of the providers works.
    pub fn load(
        runtime: &Runtime,
        artefact: &[u8],
        interface: &Interface,
        options: &RunOptions,
    ) -> Result<Self, BackendError> {
        let provider::Opened { session, provider, passed_over } = provider::open(runtime, artefact, options)?;
        let mut description = Description { inputs: specs(session.inputs())?, outputs: specs(session.outputs())? };
        let pictures = match (options.device, interface.picture, side(&description)) {
            (Device::Cuda(number), Some(by), Some(side)) => {
                description.inputs[0].data_type = DataType::Uint8;
                description.inputs[0].shape[1..].copy_from_slice(&[Some(side), Some(side), Some(3)]);
                Some(match provider {
                    Provider::Cpu => Pictures::Host(by),
                    Provider::Cuda | Provider::Tensorrt => {
                        let graph = options.provider_options.cuda_graph;
                        let staging = Staging::new(Gpu::open(number)?, side, by, &description.outputs, graph)?;
                        Pictures::Device(Box::new(staging))
                    }
                })
            }
            _ => None,
        };
        Ok(Self { session, description, provider, passed_over, pictures })
    }

    /// What the session runs on.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Providers that were wanted more, and why each is not used.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        let named = (self.description.inputs.iter().zip(inputs))
            .map(|(spec, tensor)| Ok((Cow::from(spec.name.as_str()), borrowed(tensor)?)))
            .collect::<Result<Vec<_>, BackendError>>()?;
        let outputs = self.session.run(named).map_err(failed)?;
        (self.description.outputs.iter())
            .map(|spec| match outputs.get(&spec.name) {
                Some(value) => owned(value),
                None => Err(failed(format!("no output `{}`", spec.name))),
            })
            .collect()
    }
}

impl Backend for Onnx {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.description.check_inputs(inputs)?;
        match (&mut self.pictures, inputs) {
            (Some(Pictures::Device(staging)), [pictures]) => {
                let Description { inputs, outputs } = &self.description;
                let (pixels, [count, _]) = pixels(pictures)?;
                staging.infer(&mut self.session, &inputs[0].name, outputs, pixels, count)
            }
            (Some(Pictures::Host(by)), [pictures]) => {
                let planes = planes(pictures, *by)?;
                self.run(&[planes])
            }
            _ => self.run(inputs),
        }
    }
}

/// The side of the pictures whose planes are the model's only input.
fn side(description: &Description) -> Option<usize> {
    match description.inputs.as_slice() {
        [TensorSpec { data_type: DataType::Fp32, shape, .. }] => match shape.as_slice() {
            [_, Some(3), Some(height), Some(width)] if height == width => Some(*height),
            _ => None,
        },
        _ => None,
    }
}

/// The pixels of `[count, side, side, 3]`, count and side.
fn pixels(pictures: &Tensor) -> Result<(&[u8], [usize; 2]), BackendError> {
    match (pictures.data(), pictures.shape()) {
        (TensorData::Uint8(pixels), &[count, side, ..]) if count > 0 => Ok((pixels, [count, side])),
        _ => Err(BackendError::Input { reason: "there are no pictures".into() }),
    }
}

fn planes(pictures: &Tensor, by: Normalisation) -> Result<Tensor, BackendError> {
    let (pixels, [count, side]) = pixels(pictures)?;
    let planes = pixels.chunks_exact(3 * side * side).flat_map(|picture| normalised(picture, by.mean, by.scale));
    Tensor::fp32(vec![count, 3, side, side], planes.collect()).map_err(failed)
}

fn specs(outlets: &[Outlet]) -> Result<Vec<TensorSpec>, BackendError> {
    outlets.iter().map(spec).collect()
}

fn spec(outlet: &Outlet) -> Result<TensorSpec, BackendError> {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(BackendError::Artefact { reason: format!("`{}` is not a tensor", outlet.name()) });
    };
    Ok(TensorSpec {
        name: outlet.name().to_owned(),
        data_type: data_type(*ty).ok_or_else(|| BackendError::Artefact {
            reason: format!("`{}` has elements of type {ty}", outlet.name()),
        })?,
        shape: shape.iter().map(|&dim| usize::try_from(dim).ok()).collect(),
    })
}

fn data_type(element: TensorElementType) -> Option<DataType> {
    match element {
        TensorElementType::Float32 => Some(DataType::Fp32),
        TensorElementType::Uint8 => Some(DataType::Uint8),
        _ => None,
    }
}

fn borrowed(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    let shape = tensor.shape().to_vec();
    match tensor.data() {
        TensorData::Fp32(elements) => {
            TensorRef::from_array_view((shape, elements.as_slice())).map(Into::into).map_err(failed)
        }
        TensorData::Uint8(elements) => {
            TensorRef::from_array_view((shape, elements.as_slice())).map(Into::into).map_err(failed)
        }
        TensorData::Encoded { data_type, .. } => {
            Err(BackendError::Input { reason: format!("{data_type:?} tensors are not supported by this backend") })
        }
    }
}

fn owned(value: &DynValue) -> Result<Tensor, BackendError> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(failed("an output is not a tensor"));
    };
    let shape = (shape.iter().map(|&dim| usize::try_from(dim))).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let data = match ty {
        TensorElementType::Float32 => TensorData::Fp32(value.try_extract_tensor::<f32>().map_err(failed)?.1.to_vec()),
        TensorElementType::Uint8 => TensorData::Uint8(value.try_extract_tensor::<u8>().map_err(failed)?.1.to_vec()),
        _ => return Err(failed(format!("an output has elements of type {ty}"))),
    };
    Tensor::new(shape, data).map_err(failed)
}

fn failed(reason: impl ToString) -> BackendError {
    BackendError::Failed { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::backend::{Side, cuda};

    /// The model has input `input` `[N, 3, 224, 224]` and output `logits` `[N, 1000]`. On machines with a GPU there is
    /// `examples/gpu_check.rs`.
    #[test]
    #[ignore = "needs ONNX Runtime and a model: DROPBEAR_TEST_ONNXRUNTIME, DROPBEAR_TEST_ONNX_MODEL; alone"]
    fn without_a_gpu_a_model_runs_on_the_cpu_only_where_that_is_named() -> Result<(), Box<dyn std::error::Error>> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
        let runtime = Runtime::load(&variable("DROPBEAR_TEST_ONNXRUNTIME")?)?;
        let artefact = std::fs::read(variable("DROPBEAR_TEST_ONNX_MODEL")?)?;
        let by = Normalisation { mean: 127.0, scale: 128.0 };
        let interface = Interface {
            input: Side { tensor: "input".into(), shape: vec![3, 224, 224] },
            output: Side { tensor: "logits".into(), shape: vec![1000] },
            picture: Some(by),
        };
        let load = |device, providers: &[Provider]| {
            let options = RunOptions { device, providers: providers.to_vec(), ..RunOptions::default() };
            Onnx::load(&runtime, &artefact, &interface, &options)
        };
        if cuda::device_count().is_ok() {
            return Ok(());
        }
        let refused = load(Device::Cuda(0), &[]).map(|_| ());
        assert!(
            matches!(&refused, Err(BackendError::Unavailable { reason }) if reason.contains("driver")),
            "{refused:?}"
        );

        let mut instead = load(Device::Cuda(0), &[Provider::Cuda, Provider::Cpu])?;
        assert_eq!((instead.provider(), instead.passed_over().len()), (Provider::Cpu, 1));
        println!("{:?}", instead.passed_over());
        let pixels: Vec<u8> = (0..2 * 224 * 224 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let pictures = Tensor::new(vec![2, 224, 224, 3], TensorData::Uint8(pixels))?;
        let got = instead.infer(std::slice::from_ref(&pictures))?;
        let mut cpu = load(Device::Cpu, &[])?;
        assert!(matches!(cpu.infer(std::slice::from_ref(&pictures)), Err(BackendError::Input { .. })));
        assert_eq!(got, cpu.infer(&[planes(&pictures, by)?])?);
        Ok(())
    }

    /// What ONNX Runtime itself says is passed on, and names what is missing.
    #[test]
    #[ignore = "needs ONNX Runtime and a model: DROPBEAR_TEST_ONNXRUNTIME, DROPBEAR_TEST_ONNX_MODEL; alone"]
    fn a_library_without_the_provider_says_so() -> Result<(), Box<dyn std::error::Error>> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
        let runtime = Runtime::load(&variable("DROPBEAR_TEST_ONNXRUNTIME")?)?;
        let artefact = std::fs::read(variable("DROPBEAR_TEST_ONNX_MODEL")?)?;
        let options = RunOptions { device: Device::Cuda(0), ..RunOptions::default() };
        for provider in [Provider::Cuda, Provider::Tensorrt] {
            match provider::attempt(&runtime, &artefact, &options, &[provider]) {
                Err(reason) => assert!(reason.contains("not enabled") || reason.contains("Failed to load"), "{reason}"),
                Ok(_) => assert!(cuda::device_count().is_ok(), "a session on a GPU that is not there"),
            }
        }
        Ok(())
    }
}
