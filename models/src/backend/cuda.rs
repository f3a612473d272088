//! NVIDIA GPUs: what happens on them before and after a model, in our own kernels.
//!
//! Nothing of CUDA is needed to build, and a machine without a driver is a normal case: [`Gpu::open`] then says what to
//! install. The kernels (`kernels.cu`) are compiled for the device at hand when it is opened, by CUDA's run-time compiler
//! NVRTC. Libraries are found as the loader finds them: `libcuda.so.1` comes with the driver (580 or newer, for CUDA 13),
//! `libnvrtc.so.13` with a CUDA toolkit or the Python package `nvidia-cuda-nvrtc`; its folder may be named in
//! `LD_LIBRARY_PATH`.
//!
//! A [`Gpu`] is one stream of work on a device: what is asked of it happens in order, and after the call has returned.
//! [`Gpu::finish`] waits for all of it; reading results waits by itself.

mod compiler;
pub mod network;
#[expect(unsafe_code, reason = "the driver's interface is C: memory, copies and launches are checked here, once")]
mod raw;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use compiler::Target;
pub use half::f16;
pub use raw::{Buffer, Pinned};

use super::{BackendError, Normalisation};
use crate::scores::NotFinite;

/// The most classes that [`Gpu::rank`] ranks.
pub const RANKS_MAX: usize = 16;
/// The most pictures that are normalised at once.
pub const PICTURES_MAX: usize = u16::MAX as usize;

/// Numbers that cross between the machine and its GPUs.
pub trait Element: raw::Number {}

impl Element for u8 {}
impl Element for u32 {}
impl Element for f32 {}
impl Element for f16 {}

/// Numbers that pictures are normalised to.
pub trait Plane: Element + raw::Plane {}

impl Plane for f32 {}
impl Plane for f16 {}

/// Numbers that feature maps consist of.
pub trait Feature: Element + raw::Feature {}

impl Feature for f32 {}
impl Feature for f16 {}

/// One stream of work on one GPU.
#[derive(Debug)]
pub struct Gpu {
    stream: raw::Stream,
    facts: Facts,
}

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its number, as CUDA counts.
    pub device: u32,
    /// Its name.
    pub name: String,
    /// Its compute capability, times ten.
    pub capability: u32,
    /// Its memory.
    pub memory_bytes: u64,
}

/// The most probable classes of a row and their probabilities, highest first, or why there is no order.
pub type Ranks = Result<Vec<(u32, f32)>, NotFinite>;

/// How many GPUs this machine has.
///
/// # Errors
/// [`BackendError::Unavailable`] where there is no driver, or the driver sees none.
pub fn device_count() -> Result<u32, BackendError> {
    check_driver()?;
    guarded(|| raw::device_count().map_err(unavailable))
}

impl Gpu {
    /// Opens a device and compiles the kernels for it, once per process.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] where the driver, the device or the compiler is missing; it says what to install.
    pub fn open(device: u32) -> Result<Self, BackendError> {
        let count = device_count()?;
        if device >= count {
            return Err(unavailable(format!("there is no cuda:{device}: this machine has {count}, counted from 0")));
        }
        guarded(|| {
            let opened = raw::Opened::new(device).map_err(unavailable)?;
            let facts = opened.facts(device).map_err(unavailable)?;
            let kernels = compiler::kernels(facts.capability)?;
            let stream = opened.stream(kernels).map_err(unavailable)?;
            Ok(Self { stream, facts })
        })
    }

    /// What the device is.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Bytes of memory that are free now, and all that there are.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn memory(&self) -> Result<(u64, u64), BackendError> {
        self.stream.memory().map_err(failed)
    }

    /// Memory on the device, all zero.
    ///
    /// # Errors
    /// When there is not so much.
    pub fn buffer<T: Element>(&self, count: usize) -> Result<Buffer<T>, BackendError> {
        self.stream.buffer(count).map_err(failed)
    }

    /// Memory of the machine, all zero, from which the device copies by itself. It is written, never read: reading it back
    /// is slow.
    ///
    /// # Errors
    /// When there is not so much.
    pub fn pinned<T: Element>(&self, count: usize) -> Result<Pinned<T>, BackendError> {
        self.stream.pinned(count).map_err(failed)
    }

    /// Copies the first `count` numbers to the device.
    ///
    /// # Errors
    /// When either side is shorter, or the driver fails.
    pub fn upload<T: Element>(&self, from: &Pinned<T>, count: usize, to: &mut Buffer<T>) -> Result<(), BackendError> {
        check(count <= from.len() && count <= to.len(), "more is uploaded than there is room for")?;
        self.stream.upload(from, count, to).map_err(failed)
    }

    /// Reads the first `count` numbers back.
    ///
    /// # Errors
    /// When there are fewer, or the driver fails.
    pub fn download<T: Element>(&self, from: &Buffer<T>, count: usize) -> Result<Vec<T>, BackendError> {
        check(count <= from.len(), "more is downloaded than there is")?;
        self.stream.download(from, count).map_err(failed)
    }

    /// `[pictures, side, side, 3]` pixels to `[pictures, 3, side, side]` planes of (sample − mean) ∕ scale, to the bit what
    /// a CPU makes of them.
    ///
    /// # Errors
    /// When a buffer is too short, there are more than [`PICTURES_MAX`] pictures, or the driver fails.
    pub fn normalise<T: Plane>(
        &self,
        pixels: &Buffer<u8>,
        pictures: usize,
        side: usize,
        by: Normalisation,
        planes: &mut Buffer<T>,
    ) -> Result<(), BackendError> {
        let plane = side.checked_mul(side).and_then(|plane| u32::try_from(plane).ok()).filter(|plane| *plane < 1 << 28);
        let plane = plane.ok_or_else(|| failed(format!("pictures of side {side} are too large")))?;
        check(pictures <= PICTURES_MAX, "too many pictures at once")?;
        let count = pictures * 3 * plane as usize;
        check(count <= pixels.len() && count <= planes.len(), "pictures are normalised that are not there")?;
        if count == 0 {
            return Ok(());
        }
        self.stream.normalise(pixels, pictures as u32, plane, by, planes).map_err(failed)
    }

    /// The `k` most probable classes of each of `rows` rows of `classes` scores, as [`softmax`](crate::scores::softmax) and
    /// [`top_k`](crate::scores::top_k) have them: of equal scores the lower class is first.
    ///
    /// # Errors
    /// When `k` is not 1 to [`RANKS_MAX`], there are fewer scores, or the driver fails.
    pub fn rank(
        &self,
        logits: &Buffer<f32>,
        rows: usize,
        classes: usize,
        k: usize,
    ) -> Result<Vec<Ranks>, BackendError> {
        check((1..=RANKS_MAX).contains(&k), "1 to 16 classes can be ranked")?;
        let wide = classes > 0 && u32::try_from(classes).is_ok() && rows <= i32::MAX as usize;
        check(wide && rows.checked_mul(classes).is_some_and(|count| count <= logits.len()), "scores are not there")?;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let k = k.min(classes);
        let (mut top, mut probabilities) = (self.buffer::<u32>(rows * k)?, self.buffer::<f32>(rows * k)?);
        let mut not_finite = self.buffer::<u32>(rows)?;
        let shape = (rows as u32, classes as u32, k as u32);
        self.stream.rank(logits, shape, &mut top, &mut probabilities, &mut not_finite).map_err(failed)?;
        let (top, probabilities) = (self.download(&top, rows * k)?, self.download(&probabilities, rows * k)?);
        let rows = top.chunks_exact(k).zip(probabilities.chunks_exact(k)).zip(self.download(&not_finite, rows)?);
        Ok(rows.map(|((top, probabilities), broken)| ranks(top, probabilities, broken)).collect())
    }

    /// Waits until everything that was asked of it is done.
    ///
    /// # Errors
    /// When something failed meanwhile.
    pub fn finish(&self) -> Result<(), BackendError> {
        self.stream.finish().map_err(failed)
    }

    /// Waits until the device is idle, whoever gave it work.
    ///
    /// # Errors
    /// When something failed meanwhile.
    pub fn finish_device(&self) -> Result<(), BackendError> {
        self.stream.finish_device().map_err(failed)
    }
}

/// As `rank_fp32` writes "every score is finite".
const NONE: u32 = u32::MAX;

fn ranks(top: &[u32], probabilities: &[f32], broken: u32) -> Ranks {
    match broken {
        NONE => Ok(top.iter().copied().zip(probabilities.iter().copied()).collect()),
        class => Err(NotFinite { class: class as usize }),
    }
}

fn check_driver() -> Result<(), BackendError> {
    if raw::has_driver() {
        return Ok(());
    }
    Err(unavailable(
        "there is no NVIDIA driver on this machine (libcuda.so.1 is not found): install one of version 580 or newer, or run \
         models on `cpu`",
    ))
}

/// The bindings panic where a library lacks a function.
fn guarded<R>(work: impl FnOnce() -> Result<R, BackendError>) -> Result<R, BackendError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said =
            (panic.downcast_ref::<String>().map(String::as_str)).or_else(|| panic.downcast_ref::<&str>().copied());
        let said = said.unwrap_or("a function is missing");
        Err(unavailable(format!("the NVIDIA driver or NVRTC does not suit (580 and CUDA 13 or newer do): {said}")))
    })
}

fn check(holds: bool, rule: &str) -> Result<(), BackendError> {
    if holds { Ok(()) } else { Err(failed(rule)) }
}

fn unavailable(reason: impl ToString) -> BackendError {
    BackendError::Unavailable { reason: reason.to_string() }
}

fn failed(reason: impl ToString) -> BackendError {
    BackendError::Failed { reason: reason.to_string() }
}

/// Compiles the kernels for a target, without any device.
///
/// # Errors
/// [`BackendError::Unavailable`] where NVRTC is missing, or refuses.
pub fn compile(target: Target) -> Result<Vec<u8>, BackendError> {
    compiler::compile(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On machines with a driver there is nothing to see here.
    #[test]
    fn without_a_driver_the_error_says_what_to_install() {
        if raw::has_driver() {
            return;
        }
        let Err(BackendError::Unavailable { reason }) = Gpu::open(0) else { panic!("there is no driver") };
        assert!(reason.contains("NVIDIA driver") && reason.contains("580"), "{reason}");
    }

    #[test]
    fn without_the_compiler_the_error_says_what_to_install() {
        match compile(Target::Ptx(80)) {
            Ok(ptx) => assert!(!ptx.is_empty()),
            Err(error) => assert!(error.to_string().contains("nvidia-cuda-nvrtc"), "{error}"),
        }
    }

    /// Run by `models/cuda/check.sh`, which brings NVRTC along.
    #[test]
    #[ignore = "needs NVRTC: models/cuda/check.sh"]
    fn kernels_compile_for_every_generation() -> Result<(), BackendError> {
        for capability in [80, 90] {
            let ptx = compile(Target::Ptx(capability))?;
            let ptx = std::str::from_utf8(&ptx).expect("PTX is text");
            let layers = raw::LAYERS.iter().flat_map(|layer| raw::FORMS.map(|form| format!("{layer}_{form}")));
            for kernel in raw::KERNELS.map(str::to_owned).into_iter().chain(layers) {
                assert!(ptx.contains(&format!(".entry {kernel}(")), "{kernel}");
            }
            assert!(ptx.contains(&format!(".target sm_{capability}")), "{ptx}");
            assert!(compile(Target::Machine(capability))?.starts_with(b"\x7fELF"));
            println!("compute_{capability}: {} bytes of PTX", ptx.len());
        }
        Ok(())
    }

    #[test]
    fn a_panic_of_the_bindings_is_an_error() {
        let result = guarded::<()>(|| panic!("Missing symbol cuNew"));
        assert!(matches!(result, Err(BackendError::Unavailable { reason }) if reason.contains("cuNew")));
    }
}
