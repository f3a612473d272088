//! The block that mobile networks are made of.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, bail};

use super::blocks::{Line, Map};
use super::depthwise::Depthwise;
use super::passes::{Source, channelwise, pointwise};
use super::pointwise::Pointwise;
use super::storage::{lines, maps, zeros};
use super::workers::Workers;

/// What lies between the two halves of a block, of as many pictures as are computed together, is to fit into this.
const BETWEEN_BYTES: usize = 1 << 20;

/// Expand, convolve each channel, project, and add the input: blocks to blocks. The expanded map, by far the largest, never
/// exists as a whole: each task expands a few rows of a few channels, convolves them, and forgets them.
#[derive(Clone, Debug)]
pub struct InvertedResidual {
    workers: Arc<Workers>,
    expand: Option<Pointwise>,
    depthwise: Depthwise,
    project: Pointwise,
    residual: bool,
}

impl InvertedResidual {
    /// From its parts; with `residual`, the input is added to the output.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn new(
        workers: Arc<Workers>,
        expand: Option<Pointwise>,
        depthwise: Depthwise,
        project: Pointwise,
        residual: bool,
    ) -> Result<Self> {
        let wide = depthwise.weights.blocks();
        let input = expand.as_ref().map_or(wide, |expand| expand.weights.blocks_in());
        let expanded = expand.as_ref().map_or(wide, |expand| expand.weights.blocks_out());
        if expanded != wide || project.weights.blocks_in() != wide {
            bail!("the layers of a block have {expanded}, {wide} and {} blocks", project.weights.blocks_in());
        }
        if residual && (project.weights.blocks_out() != input || depthwise.window.stride != 1) {
            bail!("a block's input cannot be added to its output: they have other sizes");
        }
        Ok(Self { workers, expand, depthwise, project, residual })
    }

    fn blocks_in(&self) -> usize {
        self.expand.as_ref().map_or(self.depthwise.weights.blocks(), |expand| expand.weights.blocks_in())
    }
}

impl CustomOp1 for InvertedResidual {
    fn name(&self) -> &'static str {
        "inverted-residual"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (input, map) = maps(storage, layout, self.blocks_in())?;
        let wide = self.depthwise.over(&map)?;
        let target = Map { blocks: self.project.weights.blocks_out(), ..wide };
        if self.residual && target != map {
            bail!("a block's input {map:?} cannot be added to its output {target:?}");
        }
        let mut output = zeros(&target);
        let together = (BETWEEN_BYTES / (wide.picture() * size_of::<Line>()).max(1)).clamp(1, map.batch.max(1));
        let mut between = self.workers.between();
        let pictures = input.chunks((together * map.picture()).max(1));
        for (input, output) in pictures.zip(lines(&mut output).chunks_mut(together * target.picture())) {
            let batch = input.len() / map.picture();
            let (map, wide) = (Map { batch, ..map }, Map { batch, ..wide });
            let between = between.some(batch * wide.picture());
            let source = match &self.expand {
                Some(expand) => Source::Expanded(input, &expand.weights, expand.activated),
                None => Source::Channels(input),
            };
            let layer = &self.depthwise;
            let shape = (&layer.weights, layer.window);
            channelwise(&self.workers, (&source, &map), shape, layer.activated, (between, &wide));
            let residual = self.residual.then_some(input);
            let layer = &self.project;
            pointwise(&self.workers, (between, &wide), &layer.weights, residual, layer.activated, output);
        }
        Ok((CpuStorage::F32(output), target.shape().into()))
    }
}
