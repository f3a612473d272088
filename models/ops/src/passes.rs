//! One operation over a batch of feature maps, cut into tasks.

use super::blocks::{Line, Map, PANEL, Part, parts};
use super::kernels::{Convolve, Multiply, Target};
use super::weights::{Channelwise, Packed};
use super::workers::Workers;
use candle_core::{Result, bail};

/// What a task expands before it convolves fits into this: a part of the processor's second cache.
const SCRATCH_BYTES: usize = 256 << 10;
/// Tasks for each thread, where there are several: nobody waits long for the last one.
const TASKS: usize = 4;

/// How a convolution goes over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its side, in pixels.
    pub kernel: usize,
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Zeros above and left, and below and right.
    pub padding: (usize, usize),
}

impl Window {
    /// How many places there are along a side.
    pub(super) fn places(&self, side: usize) -> Result<usize> {
        match (side + self.padding.0 + self.padding.1).checked_sub(self.kernel) {
            Some(room) if side > 0 && self.stride > 0 => Ok(room / self.stride + 1),
            _ => bail!("a window of {self:?} does not fit a side of {side}"),
        }
    }

    /// The map of the same channels after it.
    pub(super) fn over(&self, map: &Map) -> Result<Map> {
        Ok(Map { height: self.places(map.height)?, width: self.places(map.width)?, ..*map })
    }
}

/// Rows of a task, so that there are enough for all threads.
fn rows(workers: &Workers, map: &Map) -> usize {
    let panels = map.batch * map.blocks.div_ceil(PANEL);
    let wanted = if workers.threads() == 1 { 1 } else { workers.threads() * TASKS };
    map.height.div_ceil(wanted.div_ceil(panels.max(1)))
}

/// The product of every pixel of `input` and `weights`.
pub(super) fn pointwise(
    workers: &Workers,
    (input, map): (&[Line], &Map),
    weights: &Packed,
    residual: Option<&[Line]>,
    activated: bool,
    output: &mut [Line],
) {
    let target = Map { blocks: weights.blocks_out(), ..*map };
    let pixels = map.pixels();
    workers.run(parts(&target, output, rows(workers, &target)), |_, part| {
        let range = part.rows.start * map.width..part.rows.end * map.width;
        let first_block = part.picture * target.blocks + part.panel * PANEL;
        workers.dispatch(Multiply {
            input: &input[part.picture * map.picture()..][..map.picture()],
            pixels,
            panel: weights.panel(part.panel),
            residual: residual.map(|residual| &residual[first_block * pixels..]),
            activated,
            target: Target::flat(range.start),
            range,
            output: part.blocks,
        });
    });
}

/// What a channelwise convolution takes.
pub(super) enum Source<'a> {
    /// These channels.
    Channels(&'a [Line]),
    /// Products of these channels, which are made on the way and kept by nobody.
    Expanded(&'a [Line], &'a Packed, bool),
}

/// A channelwise convolution of a batch of maps, whose sizes are `map` and whose channels are those of `weights`.
pub(super) fn channelwise(
    workers: &Workers,
    (source, map): (&Source<'_>, &Map),
    (weights, window): (&Channelwise, Window),
    activated: bool,
    (output, target): (&mut [Line], &Map),
) {
    let pitch = map.width + window.padding.0 + window.padding.1;
    let rows_max = SCRATCH_BYTES / (PANEL * pitch * size_of::<Line>());
    let rows_max = rows_max.saturating_sub(window.kernel) / window.stride + 1;
    let rows = rows(workers, target).min(rows_max);
    workers.run(parts(target, output, rows), |scratch, part| {
        let lines = ((part.rows.len() - 1) * window.stride + window.kernel) * pitch;
        let (first, second) = scratch.some(PANEL * lines).split_at_mut(lines);
        let mut padded = [first, second];
        fill(workers, source, map, window, &part, pitch, &mut padded);
        for (i, (output, input)) in part.blocks.into_iter().zip(padded).enumerate().filter(|(_, (o, _))| !o.is_empty())
        {
            let block = part.panel * PANEL + i;
            workers.dispatch(Convolve {
                input,
                pitch,
                kernel: window.kernel,
                stride: window.stride,
                weights: weights.weights(block),
                bias: weights.bias(block),
                activated,
                output,
                width: target.width,
            });
        }
    });
}

/// Fills `padded` with the rows that `part` is computed from, zeros around them.
fn fill(
    workers: &Workers,
    source: &Source<'_>,
    map: &Map,
    window: Window,
    part: &Part<'_>,
    pitch: usize,
    padded: &mut [&mut [Line]; PANEL],
) {
    let before = window.padding.0;
    let rows = padded[0].len() / pitch;
    // Rows of the padded map, and which of them are in the map.
    let top = part.rows.start * window.stride;
    let start = top.max(before).min(top + rows);
    let end = (top + rows).min(before + map.height).max(start);
    for padded in padded.iter_mut() {
        padded[..(start - top) * pitch].fill(Line::default());
        padded[(end - top) * pitch..].fill(Line::default());
        for row in padded[(start - top) * pitch..(end - top) * pitch].chunks_exact_mut(pitch) {
            row[..before].fill(Line::default());
            row[before + map.width..].fill(Line::default());
        }
    }
    if start == end {
        return;
    }
    let origin = (start - top) * pitch + before;
    let range = (start - before) * map.width..(end - before) * map.width;
    match source {
        Source::Expanded(input, weights, activated) => {
            let picture = weights.blocks_in() * map.pixels();
            let [first, second] = padded;
            workers.dispatch(Multiply {
                input: &input[part.picture * picture..][..picture],
                pixels: map.pixels(),
                panel: weights.panel(part.panel),
                residual: None,
                activated: *activated,
                target: Target { first: range.start, origin, width: map.width, pitch },
                range,
                output: [first, second],
            });
        }
        Source::Channels(input) => {
            let first_block = part.picture * map.blocks + part.panel * PANEL;
            for (i, (padded, _)) in padded.iter_mut().zip(&part.blocks).enumerate().filter(|(_, (_, o))| !o.is_empty())
            {
                let block = &input[(first_block + i) * map.pixels()..][range.clone()];
                let rows = padded[origin..].chunks_mut(pitch);
                for (from, to) in block.chunks_exact(map.width).zip(rows) {
                    to[..map.width].copy_from_slice(from);
                }
            }
        }
    }
}
