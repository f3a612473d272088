//! Weights in the order in which they are read.

use candle_core::{DType, Result, Tensor, bail};

use super::aligned::Aligned;
use super::blocks::{BLOCK, Line, PANEL};

/// The weights of a product, panel by panel; channels that fill up blocks are zero.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// For each panel, each input and each block of the panel, the weights of the block's outputs.
    weights: Aligned,
    bias: Aligned,
    blocks_in: usize,
    /// Without those that fill up blocks.
    inputs: usize,
    outputs: usize,
}

/// The weights of [`PANEL`] blocks of outputs, or of the last one.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) weights: &'a [Line],
    pub(super) bias: &'a [Line],
}

impl Panel<'_> {
    /// Blocks of outputs.
    pub(super) const fn width(&self) -> usize {
        self.bias.len()
    }
}

impl Packed {
    /// From `[outputs, inputs…]` and `[outputs]`.
    pub(super) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let outputs = weight.dim(0)?;
        let inputs = weight.elem_count() / outputs.max(1);
        if inputs == 0 {
            bail!("{:?} is no shape of weights", weight.dims());
        }
        let (weight, bias) = (finite(weight)?, biases(bias, outputs)?);
        let rows = inputs.next_multiple_of(BLOCK);
        let mut weights = Aligned::zeros(rows * bias.lines().len());
        let packed = weights.lines_mut();
        for output in 0..outputs {
            let (block, lane) = (output / BLOCK, output % BLOCK);
            let first = block / PANEL * PANEL;
            let width = PANEL.min(bias.lines().len() - first);
            for input in 0..inputs {
                let line = first * rows + input * width + (block - first);
                packed[line][lane] = weight[output * inputs + input];
            }
        }
        Ok(Self { weights, bias, blocks_in: rows / BLOCK, inputs, outputs })
    }

    pub(super) const fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) const fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) const fn blocks_in(&self) -> usize {
        self.blocks_in
    }

    pub(super) fn blocks_out(&self) -> usize {
        self.bias.lines().len()
    }

    pub(super) fn panel(&self, panel: usize) -> Panel<'_> {
        let (first, rows) = (panel * PANEL, self.blocks_in * BLOCK);
        let end = (first + PANEL).min(self.blocks_out());
        Panel { weights: &self.weights.lines()[first * rows..end * rows], bias: &self.bias.lines()[first..end] }
    }
}

/// The weights of a convolution of each channel by itself.
#[derive(Clone, Debug)]
pub(super) struct Channelwise {
    /// For each block, kernel × kernel lines.
    weights: Aligned,
    bias: Aligned,
    pub(super) kernel: usize,
}

impl Channelwise {
    /// From `[channels, 1, kernel, kernel]` and `[channels]`.
    pub(super) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (channels, one, kernel, columns) = weight.dims4()?;
        if one != 1 || columns != kernel || !matches!(kernel, 3 | 5) {
            bail!("{:?} is no shape [C, 1, 3, 3] or [C, 1, 5, 5] of channels' kernels", weight.dims());
        }
        let (weight, bias) = (finite(weight)?, biases(bias, channels)?);
        let taps = kernel * kernel;
        let mut weights = Aligned::zeros(taps * bias.lines().len());
        let packed = weights.lines_mut();
        for channel in 0..channels {
            for tap in 0..taps {
                packed[channel / BLOCK * taps + tap][channel % BLOCK] = weight[channel * taps + tap];
            }
        }
        Ok(Self { weights, bias, kernel })
    }

    pub(super) fn blocks(&self) -> usize {
        self.bias.lines().len()
    }

    pub(super) fn weights(&self, block: usize) -> &[Line] {
        let taps = self.kernel * self.kernel;
        &self.weights.lines()[block * taps..(block + 1) * taps]
    }

    pub(super) fn bias(&self, block: usize) -> &Line {
        &self.bias.lines()[block]
    }
}

fn biases(bias: &Tensor, channels: usize) -> Result<Aligned> {
    if bias.dims() != [channels] || channels == 0 {
        bail!("{:?} is no shape of {channels} biases", bias.dims());
    }
    let mut biases = Aligned::zeros(channels.div_ceil(BLOCK));
    biases.lines_mut().as_flattened_mut()[..channels].copy_from_slice(&finite(bias)?);
    Ok(biases)
}

/// Numbers, row-major. ReLU6 would hide what is none.
fn finite(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype() != DType::F32 {
        bail!("weights are FP32, not {:?}", tensor.dtype());
    }
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => bail!("weights that are not finite"),
    }
}
