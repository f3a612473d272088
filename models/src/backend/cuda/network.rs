//! EfficientNet-Lite on a GPU, in our own kernels and cuBLASLt's products.
//!
//! ```text
//! pixels ─stem─▶ wide ─depthwise─▶ deep ─product─▶ narrow ─product─▶ wide ─depthwise─▶ … ─product─▶ wide ─pool─▶ means ─product─▶ scores
//! ```
//!
//! Three buffers hold all feature maps. A projection whose block has a residual adds to the block's input where it lies.
//! Whatever reads an expansion clamps it, so no pass over memory is spent on biases, activations, padding or sums. Between
//! the layers numbers are FP16 or FP32; sums within a layer, pooling and the classifier are FP32.
//!
//! What one batch asks of the GPU is recorded once for each batch size, and replayed: launching its kernels one by one
//! would take longer than a small batch runs.

use std::collections::BTreeMap;

use super::raw::{self, GROUP, Graph, Products, STEM_CHANNELS, Shape, Window};
use super::{Buffer, Feature, Gpu, Pinned, check, failed, unavailable};
use crate::backend::{BackendError, Normalisation};
use crate::efficientnet_lite::{self as plan, CLASSES, Convolution, HEAD_CHANNELS, Variant};

/// The largest batch that is run at once; larger ones are split.
pub const BATCH_MAX: usize = 512;

/// A layer's weight and bias, row-major.
pub type Weights = (Vec<f32>, Vec<f32>);

/// One network with its memory and its stream of work.
pub struct Network<T: Feature> {
    layers: Layers<T>,
    room: Option<Room<T>>,
    products: Products,
    gpu: Gpu,
    by: Normalisation,
    side: usize,
}

struct Layers<T> {
    stem: Sliding,
    blocks: Vec<Block<T>>,
    head: Pointwise<T>,
    classifier: Pointwise<f32>,
    /// The side of the head's feature map.
    side: usize,
}

struct Block<T> {
    expand: Option<Pointwise<T>>,
    depthwise: Sliding,
    project: Pointwise<T>,
    residual: bool,
}

struct Sliding {
    weight: Buffer<f32>,
    bias: Buffer<f32>,
    window: Window,
    channels: usize,
}

struct Pointwise<T> {
    weight: Buffer<T>,
    bias: Buffer<T>,
    inputs: usize,
    outputs: usize,
}

/// Numbers that one picture needs in each buffer of feature maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    wide: usize,
    deep: usize,
    narrow: usize,
}

/// Memory for so many pictures, and what was recorded with it.
struct Room<T> {
    /// First, since they use what follows: fields are dropped in order.
    graphs: BTreeMap<usize, Graph>,
    pictures: usize,
    pinned: Pinned<u8>,
    pixels: Buffer<u8>,
    wide: Buffer<T>,
    deep: Buffer<T>,
    narrow: Buffer<T>,
    means: Buffer<f32>,
    scores: Buffer<f32>,
}

impl<T: Feature> std::fmt::Debug for Network<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("gpu", self.gpu.facts()).finish_non_exhaustive()
    }
}

impl<T: Feature> Network<T> {
    /// Puts a network on a GPU. `take` gives a layer's weight, of the shape that it is asked for, and its bias.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] where cuBLASLt is missing; whatever `take` says; when memory is short.
    pub fn new(
        gpu: Gpu,
        variant: Variant,
        by: Normalisation,
        take: impl FnMut(&str, &[usize]) -> Result<Weights, BackendError>,
    ) -> Result<Self, BackendError> {
        if !raw::has_products() {
            return Err(unavailable(
                "cuBLASLt is missing (libcublasLt.so.13 is not found): install CUDA 13, or the Python package \
                 nvidia-cublas of version 13, and name the folder of libcublasLt.so.13 in LD_LIBRARY_PATH",
            ));
        }
        let products = Products::new(&gpu.stream).map_err(failed)?;
        let layers = Loader { gpu: &gpu, take, side: variant.side() }.layers(&plan::Network::new(variant))?;
        Ok(Self { layers, room: None, products, gpu, by, side: variant.side() })
    }

    /// The scores, `[pictures, classes]`, of pixels `[pictures, side, side, 3]`.
    ///
    /// # Errors
    /// When the pixels are not whole pictures, memory is short, or the driver fails.
    pub fn run(&mut self, pixels: &[u8]) -> Result<Vec<f32>, BackendError> {
        let picture = 3 * self.side * self.side;
        check(pixels.len().is_multiple_of(picture), "the pixels are not whole pictures")?;
        let mut scores = Vec::with_capacity(pixels.len() / picture * CLASSES);
        for part in pixels.chunks(BATCH_MAX * picture) {
            scores.extend(self.run_part(part, part.len() / picture)?);
        }
        Ok(scores)
    }

    fn run_part(&mut self, pixels: &[u8], pictures: usize) -> Result<Vec<f32>, BackendError> {
        let Self { layers, room, products, gpu, by, side } = self;
        if room.as_ref().is_none_or(|room| room.pictures < pictures) {
            *room = None;
            *room = Some(Room::new(gpu, layers.needs(), *side, pictures.next_power_of_two())?);
        }
        let room = room.as_mut().ok_or_else(|| failed("no room"))?;
        room.pinned.numbers()?[..pixels.len()].copy_from_slice(pixels);
        gpu.upload(&room.pinned, pixels.len(), &mut room.pixels)?;
        match room.graphs.get_mut(&pictures) {
            Some(graph) => graph.replay().map_err(failed)?,
            None => {
                // Once for real, so that the library has loaded what it needs before the work is recorded.
                layers.run(gpu, products, room, pictures, *by).map_err(failed)?;
                gpu.finish()?;
                let graph = gpu.stream.record(|| layers.run(gpu, products, room, pictures, *by)).map_err(failed)?;
                room.graphs.insert(pictures, graph);
            }
        }
        gpu.download(&room.scores, pictures * CLASSES)
    }
}

impl<T: Feature> Room<T> {
    fn new(gpu: &Gpu, needs: Needs, side: usize, pictures: usize) -> Result<Self, BackendError> {
        let samples = pictures * 3 * side * side;
        Ok(Self {
            graphs: BTreeMap::new(),
            pictures,
            pinned: gpu.pinned(samples)?,
            pixels: gpu.buffer(samples)?,
            wide: gpu.buffer(pictures * needs.wide)?,
            deep: gpu.buffer(pictures * needs.deep)?,
            narrow: gpu.buffer(pictures * needs.narrow)?,
            means: gpu.buffer(pictures * HEAD_CHANNELS)?,
            scores: gpu.buffer(pictures * CLASSES)?,
        })
    }
}

impl<T: Feature> Layers<T> {
    fn needs(&self) -> Needs {
        let plane = |side: usize| side * side;
        let mut needs = Needs { wide: plane(self.stem.window.side_out) * STEM_CHANNELS, ..Needs::default() };
        for block in &self.blocks {
            let Window { side, side_out, .. } = block.depthwise.window;
            needs.wide = needs.wide.max(plane(side) * block.depthwise.channels);
            needs.deep = needs.deep.max(plane(side_out) * block.depthwise.channels);
            needs.narrow = needs.narrow.max(plane(side_out) * block.project.outputs);
        }
        needs.wide = needs.wide.max(plane(self.side) * self.head.outputs);
        needs
    }

    /// Queues the work of one batch, from the pixels to the scores.
    fn run(
        &self,
        gpu: &Gpu,
        products: &Products,
        room: &mut Room<T>,
        pictures: usize,
        by: Normalisation,
    ) -> Result<(), String> {
        let Room { pixels, wide, deep, narrow, means, scores, .. } = room;
        let stream = &gpu.stream;
        let Sliding { weight, bias, window, .. } = &self.stem;
        stream.stem(pixels, (weight, bias), wide, pictures, *window, by)?;
        for block in &self.blocks {
            let Sliding { weight, bias, window, channels } = &block.depthwise;
            if let Some(expand) = &block.expand {
                let rows = pictures * window.side * window.side;
                products.multiply(stream, expand.shape(rows), (narrow, &expand.weight, &expand.bias), wide, false)?;
            }
            stream.depthwise(wide, (weight, bias), deep, (pictures, *channels), *window)?;
            let project = &block.project;
            let rows = pictures * window.side_out * window.side_out;
            let matrices = (&*deep, &project.weight, &project.bias);
            products.multiply(stream, project.shape(rows), matrices, narrow, block.residual)?;
        }
        let plane = self.side * self.side;
        let (head, classifier) = (&self.head, &self.classifier);
        products.multiply(stream, head.shape(pictures * plane), (narrow, &head.weight, &head.bias), wide, false)?;
        stream.pool(wide, means, (pictures, plane, head.outputs))?;
        let matrices = (&*means, &classifier.weight, &classifier.bias);
        products.multiply(stream, classifier.shape(pictures), matrices, scores, false)
    }
}

impl<T> Pointwise<T> {
    const fn shape(&self, rows: usize) -> Shape {
        Shape { rows, inputs: self.inputs, outputs: self.outputs }
    }
}

struct Loader<'a, F> {
    gpu: &'a Gpu,
    take: F,
    /// The side of the feature map that the next layer reads.
    side: usize,
}

impl<F: FnMut(&str, &[usize]) -> Result<Weights, BackendError>> Loader<'_, F> {
    fn layers<T: Feature>(mut self, network: &plan::Network) -> Result<Layers<T>, BackendError> {
        let stem = self.sliding(&network.stem)?;
        let blocks = network.blocks.iter().map(|block| {
            let expand = block.expand.as_ref().map(|layer| self.pointwise(layer)).transpose()?;
            let depthwise = self.sliding(&block.depthwise)?;
            let project = self.pointwise(&block.project)?;
            Ok(Block { expand, depthwise, project, residual: block.residual })
        });
        let blocks = blocks.collect::<Result<Vec<_>, BackendError>>()?;
        let head = self.pointwise(&network.head)?;
        let classifier = self.product("fc", (HEAD_CHANNELS, CLASSES), &[CLASSES, HEAD_CHANNELS])?;
        Ok(Layers { stem, blocks, head, classifier, side: self.side })
    }

    /// Weights `[outputs, inputs per group, row, column]` as `[row, column, inputs per group, outputs]`.
    fn sliding(&mut self, layer: &Convolution) -> Result<Sliding, BackendError> {
        let [outputs, inputs, kernel, _] = layer.weight_shape();
        let (weight, bias) = (self.take)(&layer.name, &layer.weight_shape())?;
        let taps = kernel * kernel;
        let mut turned = vec![0.0; weight.len()];
        for output in 0..outputs {
            for input in 0..inputs {
                for tap in 0..taps {
                    turned[(tap * inputs + input) * outputs + output] = weight[(output * inputs + input) * taps + tap];
                }
            }
        }
        let side = self.side;
        self.side = side.div_ceil(layer.stride);
        let padding = layer.padding.0;
        Ok(Sliding {
            weight: self.put(&turned)?,
            bias: self.put(&bias)?,
            window: Window { kernel, stride: layer.stride, padding, side, side_out: self.side },
            channels: outputs,
        })
    }

    fn pointwise<T: Feature>(&mut self, layer: &Convolution) -> Result<Pointwise<T>, BackendError> {
        self.product(&layer.name, (layer.channels_in, layer.channels_out), &layer.weight_shape())
    }

    fn product<T: Feature>(
        &mut self,
        name: &str,
        (inputs, outputs): (usize, usize),
        shape: &[usize],
    ) -> Result<Pointwise<T>, BackendError> {
        debug_assert!(inputs.is_multiple_of(GROUP) && outputs.is_multiple_of(GROUP), "channels come in groups");
        let (weight, bias) = (self.take)(name, shape)?;
        let numbers = |weights: &[f32]| -> Vec<T> { weights.iter().map(|weight| T::of(*weight)).collect() };
        Ok(Pointwise { weight: self.put(&numbers(&weight))?, bias: self.put(&numbers(&bias))?, inputs, outputs })
    }

    fn put<N: super::Element>(&self, numbers: &[N]) -> Result<Buffer<N>, BackendError> {
        let mut pinned = self.gpu.pinned(numbers.len())?;
        pinned.numbers()?.copy_from_slice(numbers);
        let mut buffer = self.gpu.buffer(numbers.len())?;
        self.gpu.upload(&pinned, numbers.len(), &mut buffer)?;
        // The pinned memory goes.
        self.gpu.finish()?;
        Ok(buffer)
    }
}
