//! EfficientNet-Lite as a chain of operations.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::artefact::Weights;
use super::{failed, refused};
use crate::backend::BackendError;
use crate::efficientnet_lite::{self as plan, Block, CLASSES, Convolution, HEAD_CHANNELS};
use dropbear_ops::{Depthwise, InvertedResidual, Linear, Pointwise, PooledPointwise, Stem, Window, Workers};

/// From pictures to scores.
#[derive(Debug)]
pub(super) struct Network {
    workers: Arc<Workers>,
    stem: Stem,
    blocks: Vec<InvertedResidual>,
    head: PooledPointwise,
    classifier: Linear,
}

impl Network {
    /// Uses up every tensor of `weights`.
    pub(super) fn new(
        plan: &plan::Network,
        weights: Weights,
        threads: usize,
    ) -> std::result::Result<Self, BackendError> {
        let workers = Arc::new(Workers::new(threads).map_err(failed)?);
        let mut loader = Loader { workers, weights };
        let stem = loader.stem(&plan.stem)?;
        let blocks = plan.blocks.iter().map(|block| loader.block(block)).collect::<std::result::Result<_, _>>()?;
        let head = loader.head(&plan.head)?;
        let classifier = loader.classifier()?;
        let Loader { workers, weights } = loader;
        weights.finish()?;
        Ok(Self { workers, stem, blocks, head, classifier })
    }

    /// `[N, 3, side, side]` to `[N, classes]`.
    pub(super) fn run(&self, pictures: &Tensor) -> Result<Tensor> {
        self.workers.enter(|| {
            let mut features = pictures.apply_op1_no_bwd(&self.stem)?;
            for block in &self.blocks {
                features = features.apply_op1_no_bwd(block)?;
            }
            features.apply_op1_no_bwd(&self.head)?.apply_op1_no_bwd(&self.classifier)
        })
    }
}

struct Loader {
    workers: Arc<Workers>,
    weights: Weights,
}

type Loaded<T> = std::result::Result<T, BackendError>;

impl Loader {
    fn tensors(&mut self, layer: &Convolution) -> Loaded<(Tensor, Tensor)> {
        self.weights.take(&layer.name, &layer.weight_shape())
    }

    fn stem(&mut self, layer: &Convolution) -> Loaded<Stem> {
        let (weight, bias) = self.tensors(layer)?;
        Stem::new(self.workers.clone(), (&weight, &bias), window(layer), layer.activated).map_err(refused)
    }

    fn block(&mut self, block: &Block) -> Loaded<InvertedResidual> {
        let expand = block.expand.as_ref().map(|layer| self.pointwise(layer)).transpose()?;
        let layer = &block.depthwise;
        let (weight, bias) = self.tensors(layer)?;
        let depthwise = Depthwise::new(self.workers.clone(), (&weight, &bias), window(layer), layer.activated);
        let depthwise = depthwise.map_err(refused)?;
        let project = self.pointwise(&block.project)?;
        InvertedResidual::new(self.workers.clone(), expand, depthwise, project, block.residual).map_err(refused)
    }

    fn pointwise(&mut self, layer: &Convolution) -> Loaded<Pointwise> {
        let (weight, bias) = self.tensors(layer)?;
        Pointwise::new(self.workers.clone(), (&weight, &bias), layer.activated).map_err(refused)
    }

    fn head(&mut self, layer: &Convolution) -> Loaded<PooledPointwise> {
        let (weight, bias) = self.tensors(layer)?;
        PooledPointwise::new(self.workers.clone(), (&weight, &bias)).map_err(refused)
    }

    fn classifier(&mut self) -> Loaded<Linear> {
        let (weight, bias) = self.weights.take("fc", &[CLASSES, HEAD_CHANNELS])?;
        Linear::new(self.workers.clone(), (&weight, &bias)).map_err(refused)
    }
}

const fn window(layer: &Convolution) -> Window {
    Window { kernel: layer.kernel, stride: layer.stride, padding: layer.padding }
}
