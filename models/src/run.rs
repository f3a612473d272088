//! How a model is run: where, on how many threads, in which precision.

use std::fmt;
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
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { device: Device::Cpu, intra_threads: 1, precision: Precision::Fp32 }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
