//! Convolutions of one pixel: products of pixels and a matrix.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::blocks::{BLOCK, Line, Map, PANEL, parts};
use super::kernels::{Multiply, Target};
use super::passes::pointwise;
use super::storage::{lines, maps, numbers, zeros};
use super::weights::Packed;
use super::workers::Workers;

/// A convolution with a kernel of one pixel, a bias, and ReLU6 if it is activated: blocks to blocks. With a second
/// tensor, that is added before the activation.
#[derive(Clone, Debug)]
pub struct Pointwise {
    workers: Arc<Workers>,
    pub(super) weights: Packed,
    pub(super) activated: bool,
}

impl Pointwise {
    /// From a weight `[outputs, inputs, 1, 1]` and a bias `[outputs]`.
    ///
    /// # Errors
    /// When they have other shapes, or numbers that are not finite.
    pub fn new(workers: Arc<Workers>, (weight, bias): (&Tensor, &Tensor), activated: bool) -> Result<Self> {
        let (_, _, 1, 1) = weight.dims4()? else { bail!("{:?} is no kernel of one pixel", weight.dims()) };
        Ok(Self { workers, weights: Packed::new(weight, bias)?, activated })
    }

    fn apply(&self, input: (&[Line], &Map), residual: Option<&[Line]>) -> (CpuStorage, Shape) {
        let target = Map { blocks: self.weights.blocks_out(), ..*input.1 };
        let mut output = zeros(&target);
        pointwise(&self.workers, input, &self.weights, residual, self.activated, lines(&mut output));
        (CpuStorage::F32(output), target.shape().into())
    }
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (input, map) = maps(storage, layout, self.weights.blocks_in())?;
        Ok(self.apply((input, &map), None))
    }
}

impl CustomOp2 for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (input, map) = maps(s1, l1, self.weights.blocks_in())?;
        let (residual, residual_map) = maps(s2, l2, self.weights.blocks_out())?;
        if residual_map != (Map { blocks: self.weights.blocks_out(), ..map }) {
            bail!("{residual_map:?} cannot be added to the products of {map:?}");
        }
        Ok(self.apply((input, &map), Some(residual)))
    }
}

/// [`Pointwise`] with ReLU6 and then each channel's mean: blocks to `[N, outputs]`. The map in between is kept by nobody.
#[derive(Clone, Debug)]
pub struct PooledPointwise(Pointwise);

impl PooledPointwise {
    /// As [`Pointwise::new`].
    ///
    /// # Errors
    /// As [`Pointwise::new`].
    pub fn new(workers: Arc<Workers>, weights: (&Tensor, &Tensor)) -> Result<Self> {
        Pointwise::new(workers, weights, true).map(Self)
    }
}

impl CustomOp1 for PooledPointwise {
    fn name(&self) -> &'static str {
        "pooled-pointwise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Pointwise { workers, weights, activated } = &self.0;
        let (input, map) = maps(storage, layout, weights.blocks_in())?;
        let target = Map { blocks: weights.blocks_out(), height: 1, width: 1, ..map };
        let mut means = zeros(&target);
        let pixels = map.pixels();
        workers.run(parts(&target, lines(&mut means), 1), |scratch, part| {
            let (first, second) = scratch.some(PANEL * pixels).split_at_mut(pixels);
            workers.dispatch(Multiply {
                input: &input[part.picture * map.picture()..][..map.picture()],
                pixels,
                panel: weights.panel(part.panel),
                residual: None,
                activated: *activated,
                range: 0..pixels,
                output: [first, second],
                target: Target::flat(0),
            });
            for (means, lines) in part.blocks.into_iter().zip([first, second]) {
                means.iter_mut().for_each(|means| *means = mean(lines));
            }
        });
        Ok(unpadded(&means, map.batch, weights.outputs()))
    }
}

/// The mean of each lane, summed from the first pixel to the last.
fn mean(pixels: &[Line]) -> Line {
    let mut means = [0.0; BLOCK];
    for pixel in pixels {
        for (mean, value) in means.iter_mut().zip(pixel) {
            *mean += value;
        }
    }
    means.map(|sum| sum / pixels.len() as f32)
}

/// A matrix and a bias: `[N, inputs]` to `[N, outputs]`.
#[derive(Clone, Debug)]
pub struct Linear {
    workers: Arc<Workers>,
    weights: Packed,
}

impl Linear {
    /// From a weight `[outputs, inputs]` and a bias `[outputs]`.
    ///
    /// # Errors
    /// When they have other shapes, or numbers that are not finite.
    pub fn new(workers: Arc<Workers>, (weight, bias): (&Tensor, &Tensor)) -> Result<Self> {
        weight.dims2()?;
        Ok(Self { workers, weights: Packed::new(weight, bias)? })
    }
}

impl CustomOp1 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    /// Rows are pixels of one picture, and their numbers its channels.
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, inputs) = layout.shape().dims2()?;
        if inputs != self.weights.inputs() {
            bail!("the matrix is for {} numbers, not for {inputs}", self.weights.inputs());
        }
        let input = numbers(storage, layout)?;
        let map = Map { batch: 1, blocks: self.weights.blocks_in(), height: 1, width: rows };
        let mut pixels = vec![Line::default(); map.picture()];
        for (row, numbers) in input.chunks_exact(inputs).enumerate() {
            for (block, numbers) in numbers.chunks(BLOCK).enumerate() {
                pixels[block * rows + row][..numbers.len()].copy_from_slice(numbers);
            }
        }
        let target = Map { blocks: self.weights.blocks_out(), ..map };
        let mut output = vec![Line::default(); target.picture()];
        pointwise(&self.workers, (&pixels, &map), &self.weights, None, false, &mut output);
        let by_row = (0..rows).flat_map(|row| output.iter().skip(row).step_by(rows).flatten().copied());
        Ok(unpadded(&by_row.collect::<Vec<f32>>(), rows, self.weights.outputs()))
    }
}

/// Rows of whole blocks, cut off after `width` numbers.
fn unpadded(rows: &[f32], count: usize, width: usize) -> (CpuStorage, Shape) {
    let rows = rows.chunks_exact(width.next_multiple_of(BLOCK));
    (CpuStorage::F32(rows.flat_map(|row| &row[..width]).copied().collect()), (count, width).into())
}
