//! The convolution that a network begins with.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::blocks::{BLOCK, Line, Map, parts};
use super::kernels::{Multiply, Target};
use super::passes::Window;
use super::storage::{lines, numbers, zeros};
use super::weights::Packed;
use super::workers::Workers;

/// A convolution of few channels, a bias, and ReLU6 if it is activated: `[N, C, H, W]` to blocks.
#[derive(Clone, Debug)]
pub struct Stem {
    workers: Arc<Workers>,
    weights: Packed,
    channels: usize,
    window: Window,
    activated: bool,
}

impl Stem {
    /// From a weight `[outputs, C, kernel, kernel]` and a bias `[outputs]`.
    ///
    /// # Errors
    /// When they have other shapes, or numbers that are not finite.
    pub fn new(
        workers: Arc<Workers>,
        (weight, bias): (&Tensor, &Tensor),
        window: Window,
        activated: bool,
    ) -> Result<Self> {
        let (_, channels, kernel, columns) = weight.dims4()?;
        if (kernel, columns) != (window.kernel, window.kernel) || channels * kernel == 0 {
            bail!("a window of {window:?} is not that of {:?}", weight.dims());
        }
        Ok(Self { workers, weights: Packed::new(weight, bias)?, channels, window, activated })
    }

    /// What each pixel of one row of output is computed from, in the order of the weights: blocks of `width` pixels.
    fn gather(&self, picture: &[f32], (height, width): (usize, usize), row: usize, columns: &mut [Line], count: usize) {
        let Window { kernel, stride, padding: (before, _) } = self.window;
        columns.fill(Line::default());
        for channel in 0..self.channels {
            for y in 0..kernel {
                let Some(from) = (row * stride + y).checked_sub(before).filter(|y| *y < height) else { continue };
                let from = &picture[(channel * height + from) * width..][..width];
                for x in 0..kernel {
                    let input = (channel * kernel + y) * kernel + x;
                    let (block, lane) = (input / BLOCK, input % BLOCK);
                    let first = before.saturating_sub(x).div_ceil(stride);
                    let samples = from[(first * stride + x - before).min(width)..].iter().step_by(stride);
                    let lines = columns[block * count..][..count].iter_mut().skip(first);
                    for (line, sample) in lines.zip(samples) {
                        line[lane] = *sample;
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Stem {
    fn name(&self) -> &'static str {
        "stem"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        if channels != self.channels {
            bail!("the weights are for {} channels, not for {channels}", self.channels);
        }
        let input = numbers(storage, layout)?;
        let target = self.window.over(&Map { batch, blocks: self.weights.blocks_out(), height, width })?;
        let mut output = zeros(&target);
        let count = target.width;
        let rows = if self.workers.threads() == 1 { target.height } else { target.height.div_ceil(8) };
        self.workers.run(parts(&target, lines(&mut output), rows), |scratch, part| {
            let columns = scratch.some(self.weights.blocks_in() * count);
            let picture = &input[part.picture * channels * height * width..][..channels * height * width];
            let [mut first, mut second] = part.blocks.map(|block| block.chunks_mut(count));
            for row in part.rows {
                self.gather(picture, (height, width), row, columns, count);
                self.workers.dispatch(Multiply {
                    input: &*columns,
                    pixels: count,
                    panel: self.weights.panel(part.panel),
                    residual: None,
                    activated: self.activated,
                    range: 0..count,
                    output: [first.next().unwrap_or_default(), second.next().unwrap_or_default()],
                    target: Target::flat(0),
                });
            }
        });
        Ok((CpuStorage::F32(output), target.shape().into()))
    }
}
