//! What runs the sample models, as flags.

use dropbear_model_node::zoo::Format;
use dropbear_models::{Device, Precision};

/// What runs the sample models.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Hardware {
    /// The backend. On GPUs, `candle` is our own kernels.
    #[arg(long, value_enum, default_value_t = Backend::Onnx)]
    pub(crate) backend: Backend,
    /// Where models run: cpu, or a GPU as cuda:0, cuda:1…
    #[arg(long, default_value_t = Device::Cpu)]
    pub(crate) device: Device,
    /// What models compute in: fp32 or fp16. On GPUs fp16 if not given, but for ONNX models.
    #[arg(long)]
    pub(crate) precision: Option<Precision>,
}

/// A backend of the sample models.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Onnx,
    Candle,
    Torch,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { backend: Backend::Onnx, device: Device::Cpu, precision: None }
    }
}

impl Hardware {
    pub(crate) fn precision(&self) -> Precision {
        match (self.precision, self.device, self.backend) {
            (Some(precision), ..) => precision,
            (None, Device::Cuda(_), Backend::Candle | Backend::Torch) => Precision::Fp16,
            (None, ..) => Precision::Fp32,
        }
    }

    pub(crate) const fn is_gpu(&self) -> bool {
        matches!(self.device, Device::Cuda(_))
    }
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Onnx, Self::Candle, Self::Torch];

    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Onnx => Format::Onnx,
            Self::Candle => Format::Candle,
            Self::Torch => Format::Torch,
        }
    }
}
