//! The kernels of `network.cu`, and recorded work.

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaFunction, CudaGraph, LaunchConfig, PushKernelArg};
use half::f16;

use super::products::Factor;
use super::{Buffer, Stream};
use crate::backend::Normalisation;

/// Without the ending that says in which numbers they compute.
pub(in crate::backend::cuda) const LAYERS: [&str; 6] =
    ["stem", "depthwise_3_1", "depthwise_3_2", "depthwise_5_1", "depthwise_5_2", "pool"];
/// The endings.
pub(in crate::backend::cuda) const FORMS: [&str; 2] = ["fp16", "fp32"];
/// Threads of a block.
const THREADS: u32 = 128;
/// `STRIP` in `network.cu`.
const STRIP: usize = 4;
/// `GROUP` in `network.cu`.
pub(in crate::backend::cuda) const GROUP: usize = 8;
/// `STEM_CHANNELS` in `network.cu`.
pub(in crate::backend::cuda) const STEM_CHANNELS: usize = 32;

/// Numbers that feature maps consist of.
pub trait Feature: Factor {
    /// Its kernels' ending.
    #[doc(hidden)]
    const FORM: &'static str;
    /// From a weight.
    #[doc(hidden)]
    fn of(weight: f32) -> Self;
}

impl Feature for f32 {
    const FORM: &'static str = "fp32";

    fn of(weight: f32) -> Self {
        weight
    }
}

impl Feature for f16 {
    const FORM: &'static str = "fp16";

    fn of(weight: f32) -> Self {
        Self::from_f32(weight)
    }
}

/// A window that slides over square feature maps.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda) struct Window {
    pub(in crate::backend::cuda) kernel: usize,
    pub(in crate::backend::cuda) stride: usize,
    /// Zeros above and left.
    pub(in crate::backend::cuda) padding: usize,
    pub(in crate::backend::cuda) side: usize,
    pub(in crate::backend::cuda) side_out: usize,
}

/// Work that was recorded.
pub(in crate::backend::cuda) struct Graph(CudaGraph);

// SAFETY: a graph is a handle that any thread may use; `&mut` keeps it to one at a time.
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Graph")
    }
}

impl Graph {
    /// Queues the work again. The memory that it was recorded with must still be there.
    pub(in crate::backend::cuda) fn replay(&mut self) -> Result<(), String> {
        self.0.launch().map_err(|error| error.to_string())
    }
}

impl Stream {
    /// Records what `work` asks of the stream, instead of doing it.
    pub(in crate::backend::cuda) fn record(&self, work: impl FnOnce() -> Result<(), String>) -> Result<Graph, String> {
        let text = |error: cudarc::driver::DriverError| error.to_string();
        self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(text)?;
        let done = work();
        // Recording ends whether or not the work went well.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).map_err(text);
        done?;
        graph?.map(Graph).ok_or_else(|| "nothing was recorded".into())
    }

    fn layer(&self, name: &str, form: &str) -> Result<&CudaFunction, String> {
        self.kernels.layers.get(&format!("{name}_{form}")).ok_or_else(|| format!("there is no kernel {name}_{form}"))
    }

    /// Pixels `[pictures, side, side, 3]` to the stem's activated output. Weights are `[kernel, kernel, 3, channels]`.
    pub(in crate::backend::cuda) fn stem<T: Feature>(
        &self,
        pixels: &Buffer<u8>,
        (weights, bias): (&Buffer<f32>, &Buffer<f32>),
        features: &mut Buffer<T>,
        pictures: usize,
        window: Window,
        by: Normalisation,
    ) -> Result<(), String> {
        let count = pictures * window.side_out * window.side_out;
        let room = pictures * window.side * window.side * 3 <= pixels.len()
            && 27 * STEM_CHANNELS <= weights.len()
            && STEM_CHANNELS <= bias.len()
            && count * STEM_CHANNELS <= features.len();
        if !room || window.kernel != 3 || window.stride != 2 {
            return Err(format!("no stem for {pictures} pictures and {window:?}"));
        }
        self.owns(pixels);
        self.owns(weights);
        self.owns(bias);
        self.owns(features);
        let launch = blocks(count)?;
        let [side, side_out, padding] = numbers([window.side, window.side_out, window.padding])?;
        let count = threads(count)?;
        let mut arguments = self.stream.launch_builder(self.layer("stem", T::FORM)?);
        arguments.arg(&pixels.0).arg(&weights.0).arg(&bias.0).arg(&mut features.0);
        arguments.arg(&count).arg(&side).arg(&side_out).arg(&padding).arg(&by.mean).arg(&by.scale);
        // SAFETY: these are the kernel's parameters, and every buffer holds what it reads and writes.
        unsafe { arguments.launch(launch) }.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Feature maps `[pictures, side, side, channels]`, clamped when they are read. Weights are `[kernel, kernel, channels]`.
    pub(in crate::backend::cuda) fn depthwise<T: Feature>(
        &self,
        features: &Buffer<T>,
        (weights, bias): (&Buffer<f32>, &Buffer<f32>),
        result: &mut Buffer<T>,
        (pictures, channels): (usize, usize),
        window: Window,
    ) -> Result<(), String> {
        let Window { kernel, stride, padding, side, side_out } = window;
        let room = pictures * side * side * channels <= features.len()
            && kernel * kernel * channels <= weights.len()
            && channels <= bias.len()
            && pictures * side_out * side_out * channels <= result.len();
        if !room || !channels.is_multiple_of(GROUP) {
            return Err(format!("no depthwise convolution of {pictures} x {channels} and {window:?}"));
        }
        self.owns(features);
        self.owns(weights);
        self.owns(bias);
        self.owns(result);
        let groups = channels / GROUP;
        let count = pictures * side_out * side_out.div_ceil(STRIP) * groups;
        let launch = blocks(count)?;
        let (count, groups) = (threads(count)?, threads(groups)?);
        let [side, side_out, padding] = numbers([side, side_out, padding])?;
        let mut arguments = self.stream.launch_builder(self.layer(&format!("depthwise_{kernel}_{stride}"), T::FORM)?);
        arguments.arg(&features.0).arg(&weights.0).arg(&bias.0).arg(&mut result.0);
        arguments.arg(&count).arg(&groups).arg(&side).arg(&side_out).arg(&padding);
        // SAFETY: these are the kernel's parameters, and every buffer holds what it reads and writes.
        unsafe { arguments.launch(launch) }.map(|_| ()).map_err(|error| error.to_string())
    }

    /// The means of `[pictures, plane, channels]` over the plane, clamped when they are read.
    pub(in crate::backend::cuda) fn pool<T: Feature>(
        &self,
        features: &Buffer<T>,
        means: &mut Buffer<f32>,
        (pictures, plane, channels): (usize, usize, usize),
    ) -> Result<(), String> {
        let room = pictures * plane * channels <= features.len() && pictures * channels <= means.len();
        if !room || !channels.is_multiple_of(GROUP) {
            return Err(format!("no pooling of {pictures} x {plane} x {channels}"));
        }
        self.owns(features);
        self.owns(means);
        let groups = channels / GROUP;
        let launch = blocks(pictures * groups)?;
        let (count, groups, plane) = (threads(pictures * groups)?, threads(groups)?, threads(plane)?);
        let mut arguments = self.stream.launch_builder(self.layer("pool", T::FORM)?);
        arguments.arg(&features.0).arg(&mut means.0).arg(&count).arg(&groups).arg(&plane);
        // SAFETY: these are the kernel's parameters, and every buffer holds what it reads and writes.
        unsafe { arguments.launch(launch) }.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn threads(count: usize) -> Result<u32, String> {
    u32::try_from(count).map_err(|_| format!("{count} threads are too many at once"))
}

fn blocks(count: usize) -> Result<LaunchConfig, String> {
    // Places are counted in 32 bits, the last block's included.
    let count = threads(count)?.checked_add(THREADS).ok_or("too many threads at once")? - 1;
    Ok(LaunchConfig { grid_dim: (count / THREADS, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 })
}

fn numbers<const N: usize>(lengths: [usize; N]) -> Result<[i32; N], String> {
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        *number = i32::try_from(length).map_err(|_| format!("{length} is too long"))?;
    }
    Ok(numbers)
}
