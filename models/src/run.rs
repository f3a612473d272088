//! How a model is run: where, on how many threads, in which precision.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// How one session may use the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Where it runs.
    pub device: Device,
    /// Threads that share one operator's work on a CPU. One is best where several workers share the cores.
    pub intra_threads: usize,
    /// What it computes in.
    pub precision: Precision,
    /// What ONNX Runtime computes with: the first of these that works, and those after it for what the first cannot. None:
    /// what suits the device.
    pub providers: Vec<Provider>,
    /// How those are set up.
    pub provider_options: ProviderOptions,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            intra_threads: 1,
            precision: Precision::Fp32,
            providers: Vec::new(),
            provider_options: ProviderOptions::default(),
        }
    }
}

/// What ONNX Runtime computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// NVIDIA TensorRT: builds an engine for the device when it first meets a shape, which takes minutes.
    Tensorrt,
    /// NVIDIA CUDA and cuDNN.
    Cuda,
    /// The processor. A model that is to run on a GPU runs here only where this is named.
    Cpu,
}

/// How ONNX Runtime's providers for GPUs are set up. As TOML, each field may be left out:
///
/// ```toml
/// tf32 = false
/// prefer_nhwc = false
/// cuda_graph = false
/// engine_cache = "data/engines"
/// cuda_libraries = "/opt/nvidia/cu13/lib"
/// cudnn_libraries = "/opt/nvidia/cudnn/lib"
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderOptions {
    /// CUDA: round what is multiplied to TF32, which is faster and less exact.
    pub tf32: bool,
    /// CUDA: lay channels out last where it can.
    pub prefer_nhwc: bool,
    /// Record the work of each batch size and replay it. For models that run wholly on the GPU, on one worker per process.
    pub cuda_graph: bool,
    /// TensorRT: where its engines are kept; if not set, they are built anew whenever a model is loaded.
    pub engine_cache: Option<PathBuf>,
    /// The folder of `libcudart.so.13`, `libcublas.so.13`, `libcufft.so.12` and so on, if the loader does not find them.
    pub cuda_libraries: Option<PathBuf>,
    /// The folder of `libcudnn.so.9` and its parts, if the loader does not find them.
    pub cudnn_libraries: Option<PathBuf>,
}

/// A device that runs models. Written `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number, as CUDA counts them.
    Cuda(u32),
}

/// The numbers that a model computes in. Weights and results are FP32 outside the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    Fp32,
    /// Half precision; on GPUs alone.
    Fp16,
}

/// A name of no device, or of no precision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{got}` is none of {known}")]
pub struct UnknownName {
    got: String,
    known: &'static str,
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let unknown = || UnknownName { got: text.into(), known: "`cpu`, `cuda`, `cuda:N`" };
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", number)) => number.parse().map(Self::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, UnknownName> {
        text.parse()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Precision {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "fp32" => Ok(Self::Fp32),
            "fp16" => Ok(Self::Fp16),
            _ => Err(UnknownName { got: text.into(), known: "`fp32`, `fp16`" }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
        })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensorrt => "tensorrt",
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_and_their_options_are_read_from_toml() -> Result<(), toml::de::Error> {
        #[derive(Deserialize)]
        struct File {
            providers: Vec<Provider>,
            options: ProviderOptions,
        }
        let file: File = toml::from_str(
            "providers = [\"tensorrt\", \"cuda\", \"cpu\"]\noptions = { tf32 = true, engine_cache = \"engines\" }",
        )?;
        assert_eq!(file.providers, [Provider::Tensorrt, Provider::Cuda, Provider::Cpu]);
        let expected =
            ProviderOptions { tf32: true, engine_cache: Some("engines".into()), ..ProviderOptions::default() };
        assert_eq!(file.options, expected);
        assert!(toml::from_str::<ProviderOptions>("nhwc = true").is_err());
        Ok(())
    }

    #[test]
    fn devices_are_written_as_they_are_read() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:11", Device::Cuda(11))] {
            assert_eq!((text.parse(), device.to_string()), (Ok(device), text.to_owned()));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "CUDA"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    #[test]
    fn precisions_are_written_as_they_are_read() {
        for precision in [Precision::Fp32, Precision::Fp16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert!("half".parse::<Precision>().is_err());
    }
}
