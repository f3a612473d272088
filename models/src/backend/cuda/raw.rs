//! The driver and NVRTC, as they are. Callers check lengths; what is checked here is that memory and stream belong together.

mod layers;
mod products;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr, HostSlice, LaunchConfig,
    PinnedHostSlice, PushKernelArg, ValidAsZeroBits,
};
use cudarc::nvrtc::{self, Ptx};
use half::f16;

use super::Facts;
use crate::backend::Normalisation;

pub(super) use layers::{FORMS, Feature, GROUP, Graph, LAYERS, STEM_CHANNELS, Window};
pub(super) use products::{Products, Shape, has_products};

pub(super) const KERNELS: [&str; 3] = ["normalise_fp32", "normalise_fp16", "rank_fp32"];
/// Threads of a block that normalises; each takes four pixels.
const NORMALISE_THREADS: u32 = 256;
/// `RANK_THREADS` in `kernels.cu`.
const RANK_THREADS: u32 = 256;

/// Numbers of which any bits are one.
pub trait Number: DeviceRepr + ValidAsZeroBits + Copy {}

impl Number for u8 {}
impl Number for u32 {}
impl Number for f32 {}
impl Number for f16 {}

/// Numbers that a kernel normalises to.
pub trait Plane: Number {
    #[doc(hidden)]
    fn kernel(kernels: &Kernels) -> &CudaFunction;
}

impl Plane for f32 {
    fn kernel(kernels: &Kernels) -> &CudaFunction {
        &kernels.normalise_fp32
    }
}

impl Plane for f16 {
    fn kernel(kernels: &Kernels) -> &CudaFunction {
        &kernels.normalise_fp16
    }
}

/// The compiled kernels.
#[derive(Debug)]
pub struct Kernels {
    normalise_fp32: CudaFunction,
    normalise_fp16: CudaFunction,
    rank_fp32: CudaFunction,
    /// Those of `network.cu`, by name.
    layers: BTreeMap<String, CudaFunction>,
}

/// Memory on a device, of one [`Gpu`](super::Gpu).
#[derive(Debug)]
pub struct Buffer<T>(CudaSlice<T>);

impl<T> Buffer<T> {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where it lies on the device.
    pub(crate) fn address(&mut self) -> u64 {
        let stream = Arc::clone(self.0.stream());
        let (address, _written) = self.0.device_ptr_mut(&stream);
        address
    }
}

/// Memory of the machine that a device copies from.
#[derive(Debug)]
pub struct Pinned<T>(PinnedHostSlice<T>);

impl<T: ValidAsZeroBits> Pinned<T> {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers, once the device has copied what it was to copy.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn numbers(&mut self) -> Result<&mut [T], crate::backend::BackendError> {
        self.0.as_mut_slice().map_err(super::failed)
    }
}

pub(super) fn has_driver() -> bool {
    // SAFETY: loads the library and unloads it again; the driver does nothing by being loaded.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

pub(super) fn has_compiler() -> bool {
    // SAFETY: as above.
    unsafe { nvrtc::sys::is_culib_present() }
}

pub(super) fn device_count() -> Result<u32, DriverError> {
    Ok(u32::try_from(CudaContext::device_count()?).unwrap_or(0))
}

/// A program of NVRTC's.
struct Program(nvrtc::sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create_program`, and destroyed here alone.
        let _ = unsafe { nvrtc::result::destroy_program(self.0) };
    }
}

/// Machine code, or PTX without its final zero.
pub(super) fn compile(source: &CStr, options: &[String], machine: bool) -> Result<Vec<u8>, String> {
    let name = c"kernels.cu";
    let program = Program(nvrtc::result::create_program(source, Some(name)).map_err(|error| error.to_string())?);
    // SAFETY: the program lives, and `source` outlives it.
    if let Err(error) = unsafe { nvrtc::result::compile_program(program.0, options) } {
        // SAFETY: the program lives.
        let log = unsafe { nvrtc::result::get_program_log(program.0) }.unwrap_or_default();
        let log: Vec<u8> = log.into_iter().map(|c| c as u8).take_while(|c| *c != 0).collect();
        return Err(format!("{error}: {}", String::from_utf8_lossy(&log).trim()));
    }
    if machine {
        return cubin(&program).map_err(|error| error.to_string());
    }
    // SAFETY: the program is compiled.
    let ptx = unsafe { nvrtc::result::get_ptx(program.0) }.map_err(|error| error.to_string())?;
    Ok(ptx.into_iter().map(|c| c as u8).take_while(|c| *c != 0).collect())
}

fn cubin(program: &Program) -> Result<Vec<u8>, nvrtc::result::NvrtcError> {
    let mut size = 0usize;
    // SAFETY: the program is compiled, and `size` is where its length goes.
    unsafe { nvrtc::sys::nvrtcGetCUBINSize(program.0, &mut size) }.result()?;
    let mut code = vec![0u8; size];
    // SAFETY: `code` has the room that was asked for.
    unsafe { nvrtc::sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }.result()?;
    Ok(code)
}

/// A device whose primary context is held: the one that ONNX Runtime uses, too.
pub(super) struct Opened(Arc<CudaContext>);

impl Opened {
    pub(super) fn new(device: u32) -> Result<Self, DriverError> {
        let context = CudaContext::new(device as usize)?;
        // SAFETY: memory is used on the stream that it was allocated on alone (`Stream::owns`), and by ONNX Runtime
        // between two waits.
        unsafe { context.disable_event_tracking() };
        Ok(Self(context))
    }

    pub(super) fn facts(&self, device: u32) -> Result<Facts, DriverError> {
        let (major, minor) = self.0.compute_capability()?;
        let capability = u32::try_from(major * 10 + minor).unwrap_or(0);
        Ok(Facts { device, name: self.0.name()?, capability, memory_bytes: self.0.total_mem()? as u64 })
    }

    pub(super) fn stream(self, code: Vec<u8>) -> Result<Stream, DriverError> {
        let module = self.0.load_module(Ptx::from_binary(code))?;
        let [normalise_fp32, normalise_fp16, rank_fp32] = KERNELS.map(|name| module.load_function(name));
        let names = LAYERS.iter().flat_map(|layer| FORMS.map(|form| format!("{layer}_{form}")));
        let layers = names.map(|name| module.load_function(&name).map(|function| (name, function)));
        let kernels = Kernels {
            normalise_fp32: normalise_fp32?,
            normalise_fp16: normalise_fp16?,
            rank_fp32: rank_fp32?,
            layers: layers.collect::<Result<_, _>>()?,
        };
        Ok(Stream { stream: self.0.new_stream()?, kernels })
    }
}

/// Work on a device, in order.
#[derive(Debug)]
pub(super) struct Stream {
    stream: Arc<CudaStream>,
    kernels: Kernels,
}

impl Stream {
    fn context(&self) -> &Arc<CudaContext> {
        self.stream.context()
    }

    /// Memory of another stream would be used before it is there, or after it is gone.
    fn owns<T>(&self, buffer: &Buffer<T>) {
        assert!(Arc::ptr_eq(buffer.0.stream(), &self.stream), "the memory is another `Gpu`'s");
    }

    pub(super) fn memory(&self) -> Result<(u64, u64), DriverError> {
        let (free, all) = self.context().mem_get_info()?;
        Ok((free as u64, all as u64))
    }

    pub(super) fn buffer<T: Number>(&self, count: usize) -> Result<Buffer<T>, DriverError> {
        self.stream.alloc_zeros(count.max(1)).map(Buffer)
    }

    pub(super) fn pinned<T: Number>(&self, count: usize) -> Result<Pinned<T>, DriverError> {
        // SAFETY: nobody sees the memory before it is filled below.
        let mut memory = unsafe { self.context().alloc_pinned::<T>(count.max(1)) }?;
        let (address, length) = (memory.as_mut_ptr()?, memory.len());
        // SAFETY: the memory has so many numbers, and zero bits are one.
        unsafe { std::ptr::write_bytes(address, 0, length) };
        Ok(Pinned(memory))
    }

    pub(super) fn upload<T: Number>(
        &self,
        from: &Pinned<T>,
        count: usize,
        to: &mut Buffer<T>,
    ) -> Result<(), DriverError> {
        self.owns(to);
        self.context().bind_to_thread()?;
        // SAFETY: used on this stream; the copy is recorded when `_copied` drops, and `Pinned::numbers` waits for it.
        let (host, _copied) = unsafe { from.0.stream_synced_slice(&self.stream) };
        let (device, _written) = to.0.device_ptr_mut(&self.stream);
        // SAFETY: `from` and `to` hold `count` numbers and more; both are freed behind this copy.
        unsafe { result::memcpy_htod_async(device, &host[..count], self.stream.cu_stream()) }
    }

    pub(super) fn download<T: Number>(&self, from: &Buffer<T>, count: usize) -> Result<Vec<T>, DriverError> {
        self.owns(from);
        self.context().bind_to_thread()?;
        // SAFETY: zero bits are a number.
        let mut numbers = vec![unsafe { std::mem::zeroed::<T>() }; count];
        if count > 0 {
            let (device, _read) = from.0.device_ptr(&self.stream);
            // SAFETY: `from` holds `count` numbers and more; `numbers` lives until the copy is done, which is waited for.
            let copied = unsafe { result::memcpy_dtoh_async(&mut numbers, device, self.stream.cu_stream()) };
            let waited = self.stream.synchronize();
            copied.and(waited)?;
        }
        Ok(numbers)
    }

    pub(super) fn normalise<T: Plane>(
        &self,
        pixels: &Buffer<u8>,
        pictures: u32,
        plane: u32,
        by: Normalisation,
        planes: &mut Buffer<T>,
    ) -> Result<(), DriverError> {
        self.owns(pixels);
        self.owns(planes);
        let blocks = plane.div_ceil(4 * NORMALISE_THREADS);
        let launch =
            LaunchConfig { grid_dim: (blocks, pictures, 1), block_dim: (NORMALISE_THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut arguments = self.stream.launch_builder(T::kernel(&self.kernels));
        arguments.arg(&pixels.0).arg(&mut planes.0).arg(&plane).arg(&by.mean).arg(&by.scale);
        // SAFETY: these are the kernel's parameters; both buffers hold 3 × plane numbers of every picture, and the kernel
        // goes no further.
        unsafe { arguments.launch(launch) }.map(|_| ())
    }

    /// `shape` is rows, classes and ranks.
    pub(super) fn rank(
        &self,
        logits: &Buffer<f32>,
        shape: (u32, u32, u32),
        top: &mut Buffer<u32>,
        probabilities: &mut Buffer<f32>,
        not_finite: &mut Buffer<u32>,
    ) -> Result<(), DriverError> {
        self.owns(logits);
        self.owns(top);
        self.owns(probabilities);
        self.owns(not_finite);
        let (rows, classes, k) = shape;
        let launch = LaunchConfig { grid_dim: (rows, 1, 1), block_dim: (RANK_THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut arguments = self.stream.launch_builder(&self.kernels.rank_fp32);
        arguments.arg(&logits.0).arg(&classes).arg(&k);
        arguments.arg(&mut top.0).arg(&mut probabilities.0).arg(&mut not_finite.0);
        // SAFETY: these are the kernel's parameters; there are rows × classes scores, and room for rows × k ranks.
        unsafe { arguments.launch(launch) }.map(|_| ())
    }

    pub(super) fn finish(&self) -> Result<(), DriverError> {
        self.stream.synchronize()
    }

    pub(super) fn finish_device(&self) -> Result<(), DriverError> {
        self.context().synchronize()
    }
}
