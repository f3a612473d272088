//! Convolutions of each channel by itself.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::blocks::Map;
use super::passes::{Source, Window, channelwise};
use super::storage::{lines, maps, zeros};
use super::weights::Channelwise;
use super::workers::Workers;

/// A convolution of each channel by itself, a bias, and ReLU6 if it is activated: blocks to blocks.
#[derive(Clone, Debug)]
pub struct Depthwise {
    workers: Arc<Workers>,
    pub(super) weights: Channelwise,
    pub(super) window: Window,
    pub(super) activated: bool,
}

impl Depthwise {
    /// From a weight `[C, 1, kernel, kernel]`, with a kernel of 3 or 5, and a bias `[C]`; the stride is 1 or 2.
    ///
    /// # Errors
    /// When they have other shapes, or numbers that are not finite.
    pub fn new(
        workers: Arc<Workers>,
        (weight, bias): (&Tensor, &Tensor),
        window: Window,
        activated: bool,
    ) -> Result<Self> {
        let weights = Channelwise::new(weight, bias)?;
        if weights.kernel != window.kernel || !matches!(window.stride, 1 | 2) {
            bail!("a window of {window:?} is not that of {:?} with stride 1 or 2", weight.dims());
        }
        Ok(Self { workers, weights, window, activated })
    }

    /// The sizes after it.
    pub(super) fn over(&self, map: &Map) -> Result<Map> {
        self.window.over(&Map { blocks: self.weights.blocks(), ..*map })
    }
}

impl CustomOp1 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (input, map) = maps(storage, layout, self.weights.blocks())?;
        let target = self.over(&map)?;
        let mut output = zeros(&target);
        let source = Source::Channels(input);
        let shape = (&self.weights, self.window);
        channelwise(&self.workers, (&source, &map), shape, self.activated, (lines(&mut output), &target));
        Ok((CpuStorage::F32(output), target.shape().into()))
    }
}
