//! The inner loops, for the widest vectors that the processor has.
//!
//! Every output is one chain of fused multiply-adds: the bias, then the products in the order of the weights. However
//! many lanes, pixels or threads there are, the chain is the same, and so is the result, to the last bit.

use std::ops::Range;

use pulp::{Arch, Scalar, Simd, WithSimd};

use super::blocks::{Line, PANEL};
use super::weights::Panel;

/// The vector instructions of one processor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instructions(Arch);

impl Instructions {
    pub(super) fn of_this_processor() -> Self {
        Self(Arch::new())
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(super) fn every() -> Vec<Self> {
        let mut every = vec![Self(Arch::Scalar)];
        #[cfg(target_arch = "x86_64")]
        every.extend(pulp::x86::V3::try_new().map(|simd| Self(Arch::V3(simd))));
        every.push(Self::of_this_processor());
        every
    }

    /// Runs a kernel whose tiles fill the registers. Only one shape is compiled for each set of instructions.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(simd) => Simd::vectorize(simd, Shaped::<K, 1, 2, 14, 7>(kernel)),
            #[cfg(target_arch = "x86_64")]
            Arch::V3(simd) => Simd::vectorize(simd, Shaped::<K, 2, 1, 6, 3>(kernel)),
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(simd) => Simd::vectorize(simd, Shaped::<K, 4, 1, 6, 3>(kernel)),
            _ => Simd::vectorize(Scalar::new(), Shaped::<K, 16, 1, 1, 1>(kernel)),
        }
    }
}

/// An inner loop for any vector instructions.
pub(super) trait Kernel {
    /// A block is `VECTORS` vectors. Tiles are `BLOCKS` blocks of `FULL` pixels, or of `HALF`.
    fn run<S: Simd, const VECTORS: usize, const BLOCKS: usize, const FULL: usize, const HALF: usize>(self, simd: S);
}

struct Shaped<K, const VECTORS: usize, const BLOCKS: usize, const FULL: usize, const HALF: usize>(K);

impl<K: Kernel, const VECTORS: usize, const BLOCKS: usize, const FULL: usize, const HALF: usize> WithSimd
    for Shaped<K, VECTORS, BLOCKS, FULL, HALF>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<S, VECTORS, BLOCKS, FULL, HALF>(simd);
    }
}

/// The largest value that an activated layer returns.
const SIX: f32 = 6.0;

/// A product of pixels and a panel of weights, with what follows it.
pub(super) struct Multiply<'a> {
    /// One picture: the blocks of input channels, each of `pixels` pixels.
    pub(super) input: &'a [Line],
    pub(super) pixels: usize,
    pub(super) panel: Panel<'a>,
    /// Added before the activation: the panel's blocks, each of `pixels` pixels.
    pub(super) residual: Option<&'a [Line]>,
    pub(super) activated: bool,
    /// The pixels to compute.
    pub(super) range: Range<usize>,
    pub(super) output: [&'a mut [Line]; PANEL],
    pub(super) target: Target,
}

/// Where in an output a pixel goes: `width` of them side by side, then `pitch` further.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The pixel that goes to the place `origin`; the first of its row.
    pub(super) first: usize,
    pub(super) origin: usize,
    pub(super) width: usize,
    pub(super) pitch: usize,
}

impl Target {
    /// One after the other.
    pub(super) const fn flat(first: usize) -> Self {
        Self { first, origin: 0, width: usize::MAX, pitch: 0 }
    }
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const BLOCKS: usize, const FULL: usize, const HALF: usize>(self, simd: S) {
        match self.panel.width() {
            PANEL => self.tiles::<S, VECTORS, PANEL, BLOCKS, FULL, HALF>(simd),
            _ => self.tiles::<S, VECTORS, 1, 1, FULL, HALF>(simd),
        }
    }
}

impl Multiply<'_> {
    /// Tiles of `FULL` pixels and then of `HALF`. The last of them overlaps the one before rather than being smaller:
    /// what is computed twice is the same twice.
    ///
    /// A block is `VECTORS` vectors; the panel has `WIDTH` blocks, of which a tile computes `BLOCKS`.
    #[inline(always)]
    fn tiles<
        S: Simd,
        const VECTORS: usize,
        const WIDTH: usize,
        const BLOCKS: usize,
        const FULL: usize,
        const HALF: usize,
    >(
        mut self,
        simd: S,
    ) {
        let Range { start, end } = self.range;
        let count = end - start;
        let rounds_up = count % FULL > HALF && count >= FULL;
        let full = if rounds_up { count.div_ceil(FULL) } else { count / FULL };
        for block in (0..WIDTH).step_by(BLOCKS) {
            for tile in 0..full {
                let at = (start + tile * FULL).min(end - FULL);
                self.tile::<S, VECTORS, WIDTH, BLOCKS, FULL>(simd, block, at);
            }
            let mut at = start + full * FULL;
            while at < end && count >= HALF {
                self.tile::<S, VECTORS, WIDTH, BLOCKS, HALF>(simd, block, at.min(end - HALF));
                at += HALF;
            }
            while at < end {
                self.tile::<S, VECTORS, WIDTH, BLOCKS, 1>(simd, block, at);
                at += 1;
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const WIDTH: usize, const BLOCKS: usize, const PIXELS: usize>(
        &mut self,
        simd: S,
        first_block: usize,
        at: usize,
    ) {
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; BLOCKS]; PIXELS];
        for pixel in &mut sums {
            for (block, sums) in pixel.iter_mut().enumerate() {
                *sums = load::<S, VECTORS>(&self.panel.bias[first_block + block]);
            }
        }
        let (steps, _) = self.panel.weights.as_chunks::<WIDTH>();
        let (groups, _) = steps.as_chunks::<16>();
        for (group, place) in groups.iter().zip((at..).step_by(self.pixels)) {
            let pixels: &[Line; PIXELS] = self.input[place..].first_chunk().expect("the tile lies inside the picture");
            for (step, weights) in group.iter().enumerate() {
                let mut vectors = [[simd.splat_f32s(0.0); VECTORS]; BLOCKS];
                for (block, vectors) in vectors.iter_mut().enumerate() {
                    *vectors = load::<S, VECTORS>(&weights[first_block + block]);
                }
                for (pixel, sums) in pixels.iter().zip(&mut sums) {
                    let value = simd.splat_f32s(pixel[step]);
                    for (sums, vectors) in sums.iter_mut().zip(&vectors) {
                        for (sum, vector) in sums.iter_mut().zip(vectors) {
                            *sum = simd.mul_add_f32s(value, *vector, *sum);
                        }
                    }
                }
            }
        }
        // A copy: what is indexed by a loop that stays one lies in memory, and the sums are not to.
        let mut values = [[[simd.splat_f32s(0.0); VECTORS]; BLOCKS]; PIXELS];
        for (values, sums) in values.iter_mut().zip(&sums) {
            for (values, sums) in values.iter_mut().zip(sums) {
                for (value, sum) in values.iter_mut().zip(sums) {
                    *value = *sum;
                }
            }
        }
        self.store(simd, first_block, at, &values);
    }

    #[inline(always)]
    fn store<S: Simd, const VECTORS: usize, const BLOCKS: usize, const PIXELS: usize>(
        &mut self,
        simd: S,
        first_block: usize,
        at: usize,
        sums: &[[[S::f32s; VECTORS]; BLOCKS]; PIXELS],
    ) {
        let Target { first, origin, width, pitch } = self.target;
        let (row, mut column) = ((at - first) / width, (at - first) % width);
        let mut place = origin + row * pitch + column;
        for (pixel, sums) in sums.iter().enumerate() {
            for (block, sums) in sums.iter().enumerate() {
                let block = first_block + block;
                let mut values = *sums;
                if let Some(residual) = self.residual {
                    let residual = load::<S, VECTORS>(&residual[block * self.pixels + at + pixel]);
                    for (value, residual) in values.iter_mut().zip(residual) {
                        *value = simd.add_f32s(*value, residual);
                    }
                }
                if self.activated {
                    clamp(simd, &mut values);
                }
                save::<S, VECTORS>(&mut self.output[block][place], values);
            }
            (place, column) = (place + 1, column + 1);
            if column == width {
                (place, column) = (place + pitch - width, 0);
            }
        }
    }
}

/// A convolution of each channel by itself, over rows that are padded already.
pub(super) struct Convolve<'a> {
    /// Rows of `pitch` pixels of one block.
    pub(super) input: &'a [Line],
    pub(super) pitch: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Kernel × kernel lines, row by row.
    pub(super) weights: &'a [Line],
    pub(super) bias: &'a Line,
    pub(super) activated: bool,
    /// Rows of `width` pixels.
    pub(super) output: &'a mut [Line],
    pub(super) width: usize,
}

impl Kernel for Convolve<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const BLOCKS: usize, const FULL: usize, const HALF: usize>(self, simd: S) {
        match (self.kernel, self.stride) {
            (3, 1) => self.rows::<S, VECTORS, HALF, 3, 1>(simd),
            (3, 2) => self.rows::<S, VECTORS, HALF, 3, 2>(simd),
            (5, 1) => self.rows::<S, VECTORS, HALF, 5, 1>(simd),
            (5, 2) => self.rows::<S, VECTORS, HALF, 5, 2>(simd),
            (kernel, stride) => unreachable!("no kernel of {kernel} × {kernel} with stride {stride}"),
        }
    }
}

impl Convolve<'_> {
    #[inline(always)]
    fn rows<S: Simd, const VECTORS: usize, const TILE: usize, const KERNEL: usize, const STRIDE: usize>(self, simd: S) {
        let Self { input, pitch, weights, bias, activated, output, width, .. } = self;
        let (weights, _) = weights.as_chunks::<KERNEL>();
        let weights: &[[Line; KERNEL]; KERNEL] = weights.first_chunk().expect("a kernel has this many rows");
        for (y, output) in output.chunks_exact_mut(width).enumerate() {
            let input = &input[y * STRIDE * pitch..];
            let mut at = 0;
            while at < width && width >= TILE {
                let x = at.min(width - TILE);
                tile::<S, VECTORS, TILE, KERNEL, STRIDE>(simd, input, pitch, weights, bias, activated, x, output);
                at += TILE;
            }
            while at < width {
                tile::<S, VECTORS, 1, KERNEL, STRIDE>(simd, input, pitch, weights, bias, activated, at, output);
                at += 1;
            }
        }
    }
}

/// `TILE` pixels of one row of output, from the column `x` on.
#[expect(clippy::too_many_arguments, reason = "everything stays in registers when this is inlined")]
#[inline(always)]
fn tile<S: Simd, const VECTORS: usize, const TILE: usize, const KERNEL: usize, const STRIDE: usize>(
    simd: S,
    input: &[Line],
    pitch: usize,
    weights: &[[Line; KERNEL]; KERNEL],
    bias: &Line,
    activated: bool,
    x: usize,
    output: &mut [Line],
) {
    let mut sums = [load::<S, VECTORS>(bias); TILE];
    for (y, weights) in weights.iter().enumerate() {
        let row = &input[y * pitch + x * STRIDE..][..(TILE - 1) * STRIDE + KERNEL];
        for (column, weight) in weights.iter().enumerate() {
            let weight = load::<S, VECTORS>(weight);
            for (pixel, sums) in sums.iter_mut().enumerate() {
                let values = load::<S, VECTORS>(&row[column + pixel * STRIDE]);
                for vector in 0..VECTORS {
                    sums[vector] = simd.mul_add_f32s(values[vector], weight[vector], sums[vector]);
                }
            }
        }
    }
    for (mut values, output) in sums.into_iter().zip(&mut output[x..x + TILE]) {
        if activated {
            clamp(simd, &mut values);
        }
        save::<S, VECTORS>(output, values);
    }
}

/// ReLU6.
#[inline(always)]
fn clamp<S: Simd, const VECTORS: usize>(simd: S, values: &mut [S::f32s; VECTORS]) {
    for value in values {
        *value = simd.min_f32s(simd.max_f32s(*value, simd.splat_f32s(0.0)), simd.splat_f32s(SIX));
    }
}

#[inline(always)]
fn load<S: Simd, const VECTORS: usize>(lanes: &Line) -> [S::f32s; VECTORS] {
    *S::as_simd_f32s(lanes).0.first_chunk().expect("a block is this many vectors")
}

#[inline(always)]
fn save<S: Simd, const VECTORS: usize>(lanes: &mut Line, values: [S::f32s; VECTORS]) {
    *S::as_mut_simd_f32s(lanes).0.first_chunk_mut().expect("a block is this many vectors") = values;
}
