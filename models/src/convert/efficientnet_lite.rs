//! EfficientNet-Lite: EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6, and
//! with stem and head that do not scale. The table of stages is the paper's Table 1.

use super::checkpoint::{Checkpoint, Weights};
use super::fold::{BatchNorm, Folded, fold};
use super::onnx_file::{Attribute, Graph};
use super::round::round_to_int8;
use super::{ConvertError, Precision};

/// Added to variances, as TensorFlow's training did.
const EPSILON: f64 = 1e-3;
const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 1280;
const CLASSES: usize = 1000;
/// Channel counts are multiples of this.
const CHANNEL_UNIT: usize = 8;

/// The sizes whose weights we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// 224-pixel input, 4.6 million weights.
    Lite0,
    /// 240-pixel input, 5.4 million weights.
    Lite1,
    /// 260-pixel input, 6.1 million weights.
    Lite2,
}

impl Variant {
    /// The input's side, in pixels.
    pub fn side(self) -> usize {
        match self {
            Self::Lite0 => 224,
            Self::Lite1 => 240,
            Self::Lite2 => 260,
        }
    }

    /// Width and depth multipliers, in tenths.
    fn scaling(self) -> (usize, usize) {
        match self {
            Self::Lite0 => (10, 10),
            Self::Lite1 => (10, 11),
            Self::Lite2 => (11, 12),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lite0 => "efficientnet-lite0",
            Self::Lite1 => "efficientnet-lite1",
            Self::Lite2 => "efficientnet-lite2",
        }
    }
}

/// A row of the table: the same block, repeated.
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels_in: usize,
    channels_out: usize,
}

const fn stage(
    repeats: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels_in: usize,
    channels_out: usize,
) -> Stage {
    Stage { repeats, kernel, stride, expansion, channels_in, channels_out }
}

const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 32, 16),
    stage(2, 3, 2, 6, 16, 24),
    stage(2, 5, 2, 6, 24, 40),
    stage(3, 3, 2, 6, 40, 80),
    stage(3, 5, 1, 6, 80, 112),
    stage(4, 5, 2, 6, 112, 192),
    stage(1, 3, 1, 6, 192, 320),
];

/// One inverted-residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels_in: usize,
    channels_out: usize,
}

fn blocks(variant: Variant) -> Vec<Block> {
    let (width, depth) = variant.scaling();
    let last = STAGES.len() - 1;
    let mut blocks = Vec::new();
    for (i, stage) in STAGES.iter().enumerate() {
        let repeats = match i {
            0 => stage.repeats,
            _ if i == last => stage.repeats,
            _ => (stage.repeats * depth).div_ceil(10),
        };
        let channels_in = match i {
            0 => STEM_CHANNELS,
            _ => scaled_channels(stage.channels_in, width),
        };
        let channels_out = scaled_channels(stage.channels_out, width);
        for repeat in 0..repeats {
            blocks.push(Block {
                kernel: stage.kernel,
                stride: if repeat == 0 { stage.stride } else { 1 },
                expansion: stage.expansion,
                channels_in: if repeat == 0 { channels_in } else { channels_out },
                channels_out,
            });
        }
    }
    blocks
}

/// `channels` × `width_tenths` ∕ 10 to the nearest multiple of eight, but never more than a tenth below.
fn scaled_channels(channels: usize, width_tenths: usize) -> usize {
    let scaled = channels * width_tenths;
    let unit = CHANNEL_UNIT * 10;
    let nearest = ((scaled + unit / 2) / unit * CHANNEL_UNIT).max(CHANNEL_UNIT);
    if nearest * 100 < scaled * 9 { nearest + CHANNEL_UNIT } else { nearest }
}

/// Builds the ONNX file, using up every tensor of `checkpoint`.
pub(super) fn build(checkpoint: Checkpoint, variant: Variant, precision: Precision) -> Result<Vec<u8>, ConvertError> {
    let mut builder = Builder::new(checkpoint, variant.side(), precision);
    builder.network(variant)?;
    if let Some(name) = builder.checkpoint.names().next() {
        return Err(ConvertError::Unused { name: name.into() });
    }
    let side = variant.side();
    Ok(builder.graph.into_file(variant.name(), ("input", &[3, side, side]), ("logits", &[CLASSES])))
}

struct Builder {
    checkpoint: Checkpoint,
    graph: Graph,
    precision: Precision,
    /// The side of the current feature map, in pixels.
    side: usize,
}

/// A convolution and the batch normalisation after it.
struct Convolution<'a> {
    /// The name in the graph.
    name: &'a str,
    /// The names in the checkpoint.
    weight: &'a str,
    norm: &'a str,
    kernel: usize,
    stride: usize,
    groups: usize,
    channels_in: usize,
    channels_out: usize,
    activated: bool,
}

impl Builder {
    fn new(checkpoint: Checkpoint, side: usize, precision: Precision) -> Self {
        let mut graph = Graph::default();
        for (name, value) in [("zero", 0.0), ("six", 6.0)] {
            let scalar = Weights { shape: Vec::new(), elements: vec![value] };
            graph.constant(name, &scalar);
        }
        Self { checkpoint, graph, precision, side }
    }

    fn network(&mut self, variant: Variant) -> Result<(), ConvertError> {
        let stem = Convolution {
            name: "stem",
            weight: "_conv_stem",
            norm: "_bn0",
            kernel: 3,
            stride: 2,
            groups: 1,
            channels_in: 3,
            channels_out: STEM_CHANNELS,
            activated: true,
        };
        let mut features = self.convolution(&stem, "input")?;
        let mut channels = STEM_CHANNELS;
        for (i, block) in blocks(variant).iter().enumerate() {
            features = self.block(i, block, &features)?;
            channels = block.channels_out;
        }
        let head = Convolution {
            name: "head",
            weight: "_conv_head",
            norm: "_bn1",
            channels_out: HEAD_CHANNELS,
            ..pointwise(channels)
        };
        let features = self.convolution(&head, &features)?;
        self.classifier(&features)
    }

    /// Expand (unless the expansion is 1), convolve each channel, project; add the input where shapes allow.
    fn block(&mut self, i: usize, block: &Block, input: &str) -> Result<String, ConvertError> {
        let wide = block.channels_in * block.expansion;
        let at = |layer: &str| format!("_blocks.{i}.{layer}");
        let mut features = input.to_owned();
        if block.expansion != 1 {
            let expand = Convolution {
                name: &format!("b{i}.exp"),
                weight: &at("_expand_conv"),
                norm: &at("_bn0"),
                channels_out: wide,
                ..pointwise(block.channels_in)
            };
            features = self.convolution(&expand, &features)?;
        }
        let depthwise = Convolution {
            name: &format!("b{i}.dw"),
            weight: &at("_depthwise_conv"),
            norm: &at("_bn1"),
            kernel: block.kernel,
            stride: block.stride,
            groups: wide,
            channels_in: wide,
            channels_out: wide,
            activated: true,
        };
        features = self.convolution(&depthwise, &features)?;
        let project = Convolution {
            name: &format!("b{i}.proj"),
            weight: &at("_project_conv"),
            norm: &at("_bn2"),
            channels_out: block.channels_out,
            activated: false,
            ..pointwise(wide)
        };
        features = self.convolution(&project, &features)?;
        if block.stride == 1 && block.channels_in == block.channels_out {
            let sum = format!("b{i}.add");
            self.graph.node("Add", &[&features, input], &sum, &[]);
            features = sum;
        }
        Ok(features)
    }

    fn convolution(&mut self, layer: &Convolution<'_>, input: &str) -> Result<String, ConvertError> {
        let Folded { weight, bias } = self.folded(layer)?;
        let (weight_name, bias_name) = (format!("{}.weight", layer.name), format!("{}.bias", layer.name));
        self.weight(&weight_name, weight);
        self.graph.constant(&bias_name, &vector(bias));
        let attributes = [
            ("group", Attribute::Int(layer.groups)),
            ("kernel_shape", Attribute::Ints(vec![layer.kernel; 2])),
            ("pads", Attribute::Ints(self.pads(layer))),
            ("strides", Attribute::Ints(vec![layer.stride; 2])),
        ];
        let output = format!("{}.out", layer.name);
        let inputs = [input, weight_name.as_str(), bias_name.as_str()];
        self.graph.node("Conv", &inputs, &output, &attributes);
        if !layer.activated {
            return Ok(output);
        }
        let activated = format!("{}.act", layer.name);
        self.graph.node("Clip", &[&output, "zero", "six"], &activated, &[]);
        Ok(activated)
    }

    /// TensorFlow's `SAME` padding: the output's side is the input's ∕ stride, rounded up, and what cannot be split
    /// evenly goes below and to the right.
    fn pads(&mut self, layer: &Convolution<'_>) -> Vec<usize> {
        let output = self.side.div_ceil(layer.stride);
        let total = ((output - 1) * layer.stride + layer.kernel).saturating_sub(self.side);
        self.side = output;
        let (before, after) = (total / 2, total - total / 2);
        vec![before, before, after, after]
    }

    fn folded(&mut self, layer: &Convolution<'_>) -> Result<Folded, ConvertError> {
        let per_group = layer.channels_in / layer.groups;
        let shape = [layer.channels_out, per_group, layer.kernel, layer.kernel];
        let weight = self.take(&format!("{}.weight", layer.weight), &shape)?;
        let mut channelwise = |field: &str| {
            let name = format!("{}.{field}", layer.norm);
            Ok::<_, ConvertError>(self.take(&name, &[layer.channels_out])?.elements)
        };
        let norm = BatchNorm {
            gain: channelwise("weight")?,
            shift: channelwise("bias")?,
            mean: channelwise("running_mean")?,
            variance: channelwise("running_var")?,
        };
        fold(weight, &norm, EPSILON, layer.name)
    }

    fn classifier(&mut self, features: &str) -> Result<(), ConvertError> {
        let weight = self.take("_fc.weight", &[CLASSES, HEAD_CHANNELS])?;
        let bias = self.take("_fc.bias", &[CLASSES])?;
        self.weight("fc.weight", weight);
        self.graph.constant("fc.bias", &bias);
        self.graph.node("GlobalAveragePool", &[features], "pooled", &[]);
        let flatten = [("axis", Attribute::Int(1))];
        self.graph.node("Flatten", &["pooled"], "flat", &flatten);
        let transposed = [("transB", Attribute::Int(1))];
        let inputs = ["flat", "fc.weight", "fc.bias"];
        self.graph.node("Gemm", &inputs, "logits", &transposed);
        Ok(())
    }

    fn weight(&mut self, name: &str, mut weight: Weights) {
        if self.precision == Precision::Int8 {
            round_to_int8(&mut weight);
        }
        self.graph.constant(name, &weight);
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Weights, ConvertError> {
        let weights = self.checkpoint.take(name).ok_or_else(|| ConvertError::Missing { name: name.to_owned() })?;
        if weights.shape != shape {
            return Err(ConvertError::Shape { name: name.to_owned(), expected: shape.to_vec(), got: weights.shape });
        }
        Ok(weights)
    }
}

/// A 1×1 convolution with activation; its names and output channels are still to be filled in.
fn pointwise(channels_in: usize) -> Convolution<'static> {
    Convolution {
        name: "",
        weight: "",
        norm: "",
        kernel: 1,
        stride: 1,
        groups: 1,
        channels_in,
        channels_out: 0,
        activated: true,
    }
}

fn vector(elements: Vec<f32>) -> Weights {
    Weights { shape: vec![elements.len()], elements }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variants_have_the_published_blocks() {
        assert_eq!(blocks(Variant::Lite0).len(), 16);
        assert_eq!(blocks(Variant::Lite1).len(), 21);
        assert_eq!(blocks(Variant::Lite2).len(), 21);
        let widths: Vec<usize> = (blocks(Variant::Lite2).iter()).map(|b| b.channels_out).collect();
        let last = Block { kernel: 3, stride: 1, expansion: 6, channels_in: 208, channels_out: 352 };
        assert_eq!(blocks(Variant::Lite2).last(), Some(&last));
        assert_eq!(widths[..4], [16, 24, 24, 24]);
    }

    #[test]
    fn padding_goes_below_and_to_the_right() {
        let layer = |kernel, stride| Convolution { kernel, stride, ..pointwise(8) };
        let empty = || Checkpoint::default();
        let mut builder = Builder::new(empty(), 224, Precision::Fp32);
        assert_eq!(builder.pads(&layer(3, 2)), [0, 0, 1, 1]);
        assert_eq!(builder.side, 112);
        assert_eq!(builder.pads(&layer(5, 2)), [1, 1, 2, 2]);
        assert_eq!(builder.pads(&layer(5, 1)), [2, 2, 2, 2]);
        builder.side = 65;
        assert_eq!(builder.pads(&layer(3, 2)), [1, 1, 1, 1]);
        assert_eq!(builder.side, 33);
        assert_eq!(builder.pads(&layer(1, 1)), [0, 0, 0, 0]);
    }
}
