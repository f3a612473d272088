//! EfficientNet-Lite: EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6, and
//! with stem and head that do not scale. The table of stages is the paper's Table 1.
//!
//! This is the architecture alone, batch normalisation folded into the convolutions; [`crate::convert`] brings the
//! weights.

/// The metadata of a safetensors file that names the architecture of its weights.
pub(crate) const ARCHITECTURE_KEY: &str = "architecture";
pub(crate) const STEM_CHANNELS: usize = 32;
pub(crate) const HEAD_CHANNELS: usize = 1280;
pub(crate) const CLASSES: usize = 1000;
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
    /// Every size.
    pub const ALL: [Self; 3] = [Self::Lite0, Self::Lite1, Self::Lite2];

    /// The size whose architecture has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// The input's side, in pixels.
    pub const fn side(self) -> usize {
        match self {
            Self::Lite0 => 224,
            Self::Lite1 => 240,
            Self::Lite2 => 260,
        }
    }

    /// The architecture's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lite0 => "efficientnet-lite0",
            Self::Lite1 => "efficientnet-lite1",
            Self::Lite2 => "efficientnet-lite2",
        }
    }

    /// Width and depth multipliers, in tenths.
    const fn scaling(self) -> (usize, usize) {
        match self {
            Self::Lite0 => (10, 10),
            Self::Lite1 => (10, 11),
            Self::Lite2 => (11, 12),
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

/// A network of one size, from a picture to the features that its classifier averages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) stem: Convolution,
    pub(crate) blocks: Vec<Block>,
    pub(crate) head: Convolution,
}

/// An inverted-residual block: expand (unless the expansion is 1), convolve each channel, project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) expand: Option<Convolution>,
    pub(crate) depthwise: Convolution,
    pub(crate) project: Convolution,
    /// The block's input is added to its output.
    pub(crate) residual: bool,
}

impl Block {
    fn convolutions(&self) -> impl Iterator<Item = &Convolution> {
        self.expand.iter().chain([&self.depthwise, &self.project])
    }
}

/// A convolution with a bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Convolution {
    pub(crate) name: String,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Zeros above and left, and below and right.
    pub(crate) padding: (usize, usize),
    pub(crate) groups: usize,
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    /// ReLU6 follows.
    pub(crate) activated: bool,
}

impl Convolution {
    /// Outputs, inputs per group, kernel, kernel.
    pub(crate) const fn weight_shape(&self) -> [usize; 4] {
        [self.channels_out, self.channels_in / self.groups, self.kernel, self.kernel]
    }
}

impl Network {
    /// The network of this size.
    pub(crate) fn new(variant: Variant) -> Self {
        Self::with_side(variant, variant.side())
    }

    /// The network of this size for pictures of another side: its weights have the same shapes.
    pub(crate) fn with_side(variant: Variant, side: usize) -> Self {
        let mut plan = Plan { side };
        let stem = plan.convolution("stem", Kernel { size: 3, stride: 2, groups: 1 }, (3, STEM_CHANNELS), true);
        let mut blocks = Vec::new();
        let mut channels = STEM_CHANNELS;
        for row in rows(variant) {
            blocks.push(plan.block(blocks.len(), &row));
            channels = row.channels_out;
        }
        let head = plan.convolution("head", POINTWISE, (channels, HEAD_CHANNELS), true);
        Self { stem, blocks, head }
    }

    /// Every convolution, in the order in which they run.
    pub(crate) fn convolutions(&self) -> impl Iterator<Item = &Convolution> {
        let blocks = self.blocks.iter().flat_map(Block::convolutions);
        std::iter::once(&self.stem).chain(blocks).chain(std::iter::once(&self.head))
    }
}

/// One block's row of the scaled table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels_in: usize,
    channels_out: usize,
}

fn rows(variant: Variant) -> Vec<Row> {
    let (width, depth) = variant.scaling();
    let last = STAGES.len() - 1;
    let mut rows = Vec::new();
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
            rows.push(Row {
                kernel: stage.kernel,
                stride: if repeat == 0 { stage.stride } else { 1 },
                expansion: stage.expansion,
                channels_in: if repeat == 0 { channels_in } else { channels_out },
                channels_out,
            });
        }
    }
    rows
}

/// `channels` × `width_tenths` ∕ 10 to the nearest multiple of eight, but never more than a tenth below.
fn scaled_channels(channels: usize, width_tenths: usize) -> usize {
    let scaled = channels * width_tenths;
    let unit = CHANNEL_UNIT * 10;
    let nearest = ((scaled + unit / 2) / unit * CHANNEL_UNIT).max(CHANNEL_UNIT);
    if nearest * 100 < scaled * 9 { nearest + CHANNEL_UNIT } else { nearest }
}

#[derive(Clone, Copy)]
struct Kernel {
    size: usize,
    stride: usize,
    groups: usize,
}

const POINTWISE: Kernel = Kernel { size: 1, stride: 1, groups: 1 };

struct Plan {
    /// The side of the current feature map, in pixels.
    side: usize,
}

impl Plan {
    fn block(&mut self, i: usize, row: &Row) -> Block {
        let wide = row.channels_in * row.expansion;
        let expand = (row.expansion != 1)
            .then(|| self.convolution(&format!("b{i}.exp"), POINTWISE, (row.channels_in, wide), true));
        let kernel = Kernel { size: row.kernel, stride: row.stride, groups: wide };
        let depthwise = self.convolution(&format!("b{i}.dw"), kernel, (wide, wide), true);
        let project = self.convolution(&format!("b{i}.proj"), POINTWISE, (wide, row.channels_out), false);
        Block { expand, depthwise, project, residual: row.stride == 1 && row.channels_in == row.channels_out }
    }

    fn convolution(&mut self, name: &str, kernel: Kernel, channels: (usize, usize), activated: bool) -> Convolution {
        let Kernel { size, stride, groups } = kernel;
        let padding = self.padding(size, stride);
        let (channels_in, channels_out) = channels;
        Convolution { name: name.into(), kernel: size, stride, padding, groups, channels_in, channels_out, activated }
    }

    /// TensorFlow's `SAME` padding: the output's side is the input's ∕ stride, rounded up, and what cannot be split
    /// evenly goes below and to the right.
    fn padding(&mut self, kernel: usize, stride: usize) -> (usize, usize) {
        let output = self.side.div_ceil(stride);
        let total = ((output - 1) * stride + kernel).saturating_sub(self.side);
        self.side = output;
        (total / 2, total - total / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variants_have_the_published_blocks() {
        assert_eq!(rows(Variant::Lite0).len(), 16);
        assert_eq!(rows(Variant::Lite1).len(), 21);
        assert_eq!(rows(Variant::Lite2).len(), 21);
        let widths: Vec<usize> = (rows(Variant::Lite2).iter()).map(|b| b.channels_out).collect();
        let last = Row { kernel: 3, stride: 1, expansion: 6, channels_in: 208, channels_out: 352 };
        assert_eq!(rows(Variant::Lite2).last(), Some(&last));
        assert_eq!(widths[..4], [16, 24, 24, 24]);
    }

    #[test]
    fn padding_goes_below_and_to_the_right() {
        let mut plan = Plan { side: 224 };
        assert_eq!((plan.padding(3, 2), plan.side), ((0, 1), 112));
        assert_eq!(plan.padding(5, 2), (1, 2));
        assert_eq!(plan.padding(5, 1), (2, 2));
        plan.side = 65;
        assert_eq!((plan.padding(3, 2), plan.side), ((1, 1), 33));
        assert_eq!(plan.padding(1, 1), (0, 0));
    }
}
