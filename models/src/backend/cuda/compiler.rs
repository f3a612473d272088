//! The kernels, compiled by NVRTC.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{BackendError, guarded, raw, unavailable};

const SOURCE: &str = concat!(include_str!("kernels.cu"), include_str!("network.cu"));

/// What the kernels are compiled to; the number is a compute capability, times ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The text that a driver compiles for its device. A driver takes no text of a CUDA newer than itself.
    Ptx(u32),
    /// The device's own code.
    Machine(u32),
}

impl Target {
    fn option(self) -> String {
        match self {
            Self::Ptx(capability) => format!("--gpu-architecture=compute_{capability}"),
            Self::Machine(capability) => format!("--gpu-architecture=sm_{capability}"),
        }
    }
}

/// What was compiled before, by capability.
static COMPILED: Mutex<BTreeMap<u32, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// The kernels for devices of this capability.
pub(super) fn kernels(capability: u32) -> Result<Vec<u8>, BackendError> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernels) = compiled.get(&capability) {
        return Ok(kernels.clone());
    }
    let kernels = compile(Target::Machine(capability))?;
    compiled.insert(capability, kernels.clone());
    Ok(kernels)
}

pub(super) fn compile(target: Target) -> Result<Vec<u8>, BackendError> {
    if !raw::has_compiler() {
        return Err(unavailable(
            "CUDA's run-time compiler is missing (libnvrtc.so.13 is not found): install CUDA 13, or the Python package \
             nvidia-cuda-nvrtc of version 13, and name the folder of libnvrtc.so.13 in LD_LIBRARY_PATH",
        ));
    }
    let source = std::ffi::CString::new(SOURCE).map_err(unavailable)?;
    let options = [target.option(), "--std=c++17".to_owned()];
    guarded(|| {
        let code = raw::compile(&source, &options, matches!(target, Target::Machine(_)));
        code.map_err(|reason| unavailable(format!("NVRTC refuses the kernels for {target:?}: {reason}")))
    })
}
