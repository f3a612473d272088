//! Sessions on the first provider that works.

use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::{BackendError, Runtime};
use crate::backend::cuda;
use crate::run::{Device, Precision, Provider, RunOptions};

/// A session, and what it runs on.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) provider: Provider,
    /// Why providers that were wanted more are not used.
    pub(super) passed_over: Vec<String>,
}

pub(super) fn open(runtime: &Runtime, artefact: &[u8], options: &RunOptions) -> Result<Opened, BackendError> {
    let wanted = wanted(options)?;
    let has_gpu = match options.device {
        Device::Cpu => Ok(()),
        Device::Cuda(_) => preload(options).and_then(|()| cuda::device_count().map(|_| ())),
    };
    let mut passed_over = Vec::new();
    for (place, &provider) in wanted.iter().enumerate() {
        let refused = match (&has_gpu, provider) {
            (_, Provider::Cuda | Provider::Cpu) if options.precision == Precision::Fp16 => continue,
            (Err(error), Provider::Tensorrt | Provider::Cuda) => error.to_string(),
            _ => match session(runtime, artefact, options, &wanted[place..]) {
                Ok(session) => return Ok(Opened { session, provider, passed_over }),
                Err(Refused::Artefact(reason)) if wanted == [Provider::Cpu] => {
                    return Err(BackendError::Artefact { reason });
                }
                Err(Refused::Artefact(reason) | Refused::Provider(reason)) => reason,
            },
        };
        passed_over.push(format!("{provider}: {refused}"));
    }
    has_gpu?;
    Err(BackendError::Unavailable {
        reason: format!(
            "ONNX Runtime at {} cannot run the model on {}. {}. {HELP}",
            runtime.library().display(),
            options.device,
            passed_over.join(". ")
        ),
    })
}

const HELP: &str = "GPUs need the build `onnxruntime-gpu` with libonnxruntime_providers_cuda.so beside libonnxruntime.so, and \
                    CUDA 13 and cuDNN 9 where the loader finds them (LD_LIBRARY_PATH, or `cuda_libraries` and \
                    `cudnn_libraries`); naming `cpu` among the providers lets the processor take what the GPU cannot";

/// The providers to try, in order.
fn wanted(options: &RunOptions) -> Result<Vec<Provider>, BackendError> {
    let unavailable = |reason: &str| Err(BackendError::Unavailable { reason: reason.to_owned() });
    let named = &options.providers;
    match (options.device, options.precision) {
        (Device::Cpu, Precision::Fp16) => unavailable("on a CPU models run in fp32"),
        (Device::Cpu, Precision::Fp32) if named.iter().any(|provider| *provider != Provider::Cpu) => {
            unavailable("providers for GPUs need a device `cuda:N`")
        }
        (Device::Cpu, Precision::Fp32) => Ok(vec![Provider::Cpu]),
        (Device::Cuda(_), Precision::Fp16) if !named.contains(&Provider::Tensorrt) => unavailable(
            "ONNX Runtime computes in the artefact's precision: fp16 needs the provider `tensorrt`, or an artefact that is in \
             half precision and `fp32` here",
        ),
        (Device::Cuda(_), _) if named.is_empty() => Ok(vec![Provider::Cuda]),
        (Device::Cuda(_), _) => Ok(named.clone()),
    }
}

/// Loads the libraries that ONNX Runtime's provider for CUDA and our kernels need, where they are told apart.
fn preload(options: &RunOptions) -> Result<(), BackendError> {
    let folders = &options.provider_options;
    if folders.cuda_libraries.is_none() && folders.cudnn_libraries.is_none() {
        return Ok(());
    }
    ep::cuda::preload_dylibs(folders.cuda_libraries.as_deref(), folders.cudnn_libraries.as_deref())
        .map_err(|error| BackendError::Unavailable { reason: error.to_string() })
}

#[cfg(test)]
pub(super) fn attempt(
    runtime: &Runtime,
    artefact: &[u8],
    options: &RunOptions,
    providers: &[Provider],
) -> Result<Session, String> {
    session(runtime, artefact, options, providers).map_err(|refused| match refused {
        Refused::Artefact(reason) => format!("(at the artefact) {reason}"),
        Refused::Provider(reason) => reason,
    })
}

enum Refused {
    /// The provider is not in the library, or lacks what it needs.
    Provider(String),
    /// The model could not be loaded with it.
    Artefact(String),
}

/// A session with the first of `providers`, and with the others for what that one cannot.
fn session(
    runtime: &Runtime,
    artefact: &[u8],
    options: &RunOptions,
    providers: &[Provider],
) -> Result<Session, Refused> {
    let provider = |error: ort::Error<ort::session::builder::SessionBuilder>| Refused::Provider(error.to_string());
    // Idle threads block instead of spinning: other models and the node itself want the same cores.
    let mut builder = Session::builder(runtime.environment())
        .map_err(|error| Refused::Provider(error.to_string()))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(provider)?
        .with_intra_threads(options.intra_threads.max(1))
        .map_err(provider)?
        .with_inter_threads(1)
        .map_err(provider)?
        .with_intra_op_spinning(false)
        .map_err(provider)?
        .with_inter_op_spinning(false)
        .map_err(provider)?;
    let on_gpu = providers.iter().take_while(|provider| **provider != Provider::Cpu);
    let on_gpu: Vec<_> = on_gpu.map(|provider| dispatch(*provider, options)).collect();
    if !on_gpu.is_empty() {
        builder = builder.with_execution_providers(&on_gpu).map_err(provider)?;
        if on_gpu.len() == providers.len() {
            // Nothing of a model runs on a CPU that nobody named.
            builder = builder.with_disable_cpu_fallback().map_err(provider)?;
        }
    }
    builder.commit_from_memory(artefact).map_err(|error| Refused::Artefact(error.to_string()))
}

fn dispatch(provider: Provider, options: &RunOptions) -> ExecutionProviderDispatch {
    let device = match options.device {
        Device::Cpu => 0,
        Device::Cuda(number) => i32::try_from(number).unwrap_or(i32::MAX),
    };
    let set = &options.provider_options;
    let dispatch = match provider {
        Provider::Cpu => ep::CPU::default().build(),
        // Heuristic: an exhaustive search takes seconds whenever a batch has a new size, and may choose otherwise each time.
        Provider::Cuda => ep::CUDA::default()
            .with_device_id(device)
            .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
            .with_tf32(set.tf32)
            .with_prefer_nhwc(set.prefer_nhwc)
            .with_cuda_graph(set.cuda_graph)
            .build(),
        Provider::Tensorrt => {
            let tensorrt = ep::TensorRT::default()
                .with_device_id(device)
                .with_fp16(options.precision == Precision::Fp16)
                .with_cuda_graph(set.cuda_graph);
            match &set.engine_cache {
                None => tensorrt.build(),
                Some(folder) => tensorrt
                    .with_engine_cache(true)
                    .with_engine_cache_path(folder.display())
                    .with_timing_cache(true)
                    .with_timing_cache_path(folder.display())
                    .build(),
            }
        }
    };
    dispatch.error_on_failure()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(device: Device, precision: Precision, providers: &[Provider]) -> Result<Vec<Provider>, BackendError> {
        wanted(&RunOptions { device, precision, providers: providers.to_vec(), ..RunOptions::default() })
    }

    #[test]
    fn the_device_decides_unless_providers_are_named() -> Result<(), BackendError> {
        use Provider::{Cpu, Cuda, Tensorrt};
        assert_eq!(on(Device::Cpu, Precision::Fp32, &[])?, [Cpu]);
        assert_eq!(on(Device::Cuda(0), Precision::Fp32, &[])?, [Cuda]);
        assert_eq!(on(Device::Cuda(1), Precision::Fp32, &[Tensorrt, Cuda, Cpu])?, [Tensorrt, Cuda, Cpu]);
        assert_eq!(on(Device::Cuda(1), Precision::Fp16, &[Tensorrt, Cuda])?, [Tensorrt, Cuda]);
        Ok(())
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (device, precision, providers) in [
            (Device::Cpu, Precision::Fp16, &[][..]),
            (Device::Cpu, Precision::Fp32, &[Provider::Cuda]),
            (Device::Cuda(0), Precision::Fp16, &[]),
            (Device::Cuda(0), Precision::Fp16, &[Provider::Cuda, Provider::Cpu]),
        ] {
            assert!(matches!(on(device, precision, providers), Err(BackendError::Unavailable { .. })));
        }
    }
}
