//! TorchScript sessions on libtorch: on CPUs, and on NVIDIA GPUs with streams, pinned buffers and CUDA graphs.
//!
//! ```text
//! host memory ──copy──▶ pinned ──queued copy──▶ device ──normalise, model──▶ device ──queued copy──▶ pinned ──▶ host
//!                                └──────────── one stream per session, waited for once ───────────┘
//! ```
//!
//! A session belongs to one thread. Sessions of several threads overlap: one copies while another computes. What a
//! small batch asks of the GPU is recorded once per batch size and replayed: launching its kernels one by one would take
//! longer than they run.

#[cfg(torch_cuda)]
mod gpu;
#[cfg(torch_cuda)]
mod on_gpu;

use tch::{CModule, IValue, Kind, Tensor};

#[cfg(torch_cuda)]
use on_gpu::OnGpu;

/// How a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The GPU's number; none for the CPU.
    pub gpu: Option<u32>,
    /// Compute in half precision; on GPUs alone.
    pub half: bool,
    /// Threads that share one operator's work on the CPU. libtorch has one number for the whole process: the last wins.
    pub threads: usize,
}

/// A batch of inputs, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Numbers as the model takes them.
    Numbers {
        /// `[batch, …]`
        shape: &'a [usize],
        /// The elements, row-major.
        elements: &'a [f32],
    },
    /// Pictures, `[batch, height, width, 3]`; the model takes (sample − mean) ∕ scale as `[batch, 3, height, width]`.
    Pixels {
        /// `[batch, height, width, 3]`
        shape: [usize; 4],
        /// The samples, row-major.
        samples: &'a [u8],
        /// Subtracted from each sample.
        mean: f32,
        /// Divides the difference.
        scale: f32,
    },
}

/// The model's one output tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub elements: Vec<f32>,
}

/// Why a session cannot be had or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The artefact is no TorchScript module that this libtorch reads.
    #[error("{0}")]
    Artefact(String),
    /// There is no such device.
    #[error("{0}")]
    Device(String),
    /// libtorch failed.
    #[error("{0}")]
    Failed(String),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // The first line says what is wrong; then come C++ frames.
        let text = error.to_string();
        Self::Failed(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// A loaded TorchScript module, on one device.
#[derive(Debug)]
pub struct Session {
    module: CModule,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Cpu,
    #[cfg(torch_cuda)]
    Gpu(OnGpu),
}

impl Session {
    /// Loads a module from memory. Its `forward` takes one tensor and returns one.
    ///
    /// # Errors
    /// [`Error`] if there is no such device, or libtorch refuses the module.
    pub fn load(artefact: &[u8], options: Options) -> Result<Self, Error> {
        tch::set_num_threads(i32::try_from(options.threads.max(1)).unwrap_or(i32::MAX));
        let (device, place) = place(options)?;
        let artefact = &mut &*artefact;
        let module = tch::no_grad(|| CModule::load_data_on_device(artefact, device));
        let mut module = module.map_err(|error| Error::Artefact(Error::from(error).to_string()))?;
        module.f_set_eval()?;
        if options.half {
            module.to(device, Kind::Half, false);
        }
        Ok(Self { module, place })
    }

    /// Runs the module on a batch.
    ///
    /// # Errors
    /// [`Error::Failed`] with what libtorch says.
    pub fn run(&mut self, input: Input<'_>) -> Result<Output, Error> {
        tch::no_grad(|| match &mut self.place {
            Place::Cpu => output(&forward(&self.module, &on_cpu(input)?)?),
            #[cfg(torch_cuda)]
            Place::Gpu(gpu) => gpu.run(&self.module, input),
        })
    }
}

/// What libtorch this is.
#[must_use]
pub fn about() -> String {
    let cuda = if cfg!(torch_cuda) { "with CUDA" } else { "without CUDA" };
    format!("libtorch 2.11 {cuda}, {} GPUs", tch::Cuda::device_count())
}

fn place(options: Options) -> Result<(tch::Device, Place), Error> {
    let Some(number) = options.gpu else {
        return match options.half {
            true => Err(Error::Device("half precision is for GPUs".into())),
            false => Ok((tch::Device::Cpu, Place::Cpu)),
        };
    };
    on_gpu(number, options.half)
}

#[cfg(torch_cuda)]
fn on_gpu(number: u32, half: bool) -> Result<(tch::Device, Place), Error> {
    let count = tch::Cuda::device_count();
    if i64::from(number) >= count {
        let driver = "is the NVIDIA driver installed, and new enough for CUDA 13?";
        return Err(Error::Device(format!("libtorch sees {count} GPUs, so there is no cuda:{number}: {driver}")));
    }
    let gpu = OnGpu::new(number, half)?;
    Ok((gpu.device(), Place::Gpu(gpu)))
}

#[cfg(not(torch_cuda))]
fn on_gpu(_number: u32, _half: bool) -> Result<(tch::Device, Place), Error> {
    Err(Error::Device("this dropbear was built with a libtorch without CUDA".into()))
}

fn forward(module: &CModule, input: &Tensor) -> Result<Tensor, Error> {
    match module.forward_is(&[IValue::Tensor(input.shallow_clone())])? {
        IValue::Tensor(output) => Ok(output),
        _ => Err(Error::Failed("the module returned something other than a tensor".into())),
    }
}

fn on_cpu(input: Input<'_>) -> Result<Tensor, Error> {
    Ok(match input {
        Input::Numbers { shape, elements } => Tensor::f_from_slice(elements)?.f_reshape(dimensions(shape))?,
        Input::Pixels { shape, samples, mean, scale } => {
            let samples = Tensor::f_from_slice(samples)?.f_reshape(dimensions(&shape))?;
            normalised(&samples, Kind::Float, mean, scale)?.f_contiguous()?
        }
    })
}

/// `[batch, height, width, 3]` samples as `[batch, 3, height, width]` numbers, whose channels stay innermost in memory.
fn normalised(samples: &Tensor, kind: Kind, mean: f32, scale: f32) -> Result<Tensor, Error> {
    let numbers = samples.f_permute([0, 3, 1, 2])?.f_to_kind(kind)?;
    Ok(numbers.f_sub_scalar(f64::from(mean))?.f_div_scalar(f64::from(scale))?)
}

fn output(tensor: &Tensor) -> Result<Output, Error> {
    let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let shape = tensor.size().iter().map(|&length| usize::try_from(length).unwrap_or(0)).collect();
    let mut elements = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut elements, tensor.numel())?;
    Ok(Output { shape, elements })
}

fn dimensions(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&length| i64::try_from(length).unwrap_or(i64::MAX)).collect()
}
