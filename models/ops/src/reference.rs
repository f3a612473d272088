//! A convolution in double precision and without haste, against which the operations are held.

/// One picture, or its features: `[channels, height, width]`.
#[derive(Clone, Debug)]
pub struct Planes {
    /// How many planes.
    pub channels: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
    /// Plane by plane, row by row.
    pub values: Vec<f64>,
}

/// A convolution's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The window's side.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
    /// Zeros above and left, and below and right.
    pub padding: (usize, usize),
    /// Channels are convolved within so many groups.
    pub groups: usize,
    /// Planes of the input.
    pub channels_in: usize,
    /// Planes of the output.
    pub channels_out: usize,
    /// ReLU6 follows.
    pub activated: bool,
}

/// The output; `weight` is `[channels_out, channels_in / groups, kernel, kernel]`.
pub fn convolve(input: &Planes, layer: &Layer, weight: &[f32], bias: &[f32]) -> Planes {
    let Layer { kernel, stride, padding: (before, after), groups, channels_out, .. } = *layer;
    let places = |side: usize| (side + before + after - kernel) / stride + 1;
    let (height, width) = (places(input.height), places(input.width));
    let group = input.channels / groups;
    let mut values = Vec::new();
    for output in 0..channels_out {
        for y in 0..height {
            for x in 0..width {
                let mut sum = f64::from(bias[output]);
                for channel in 0..group {
                    let plane = output / (channels_out / groups) * group + channel;
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let (Some(y), Some(x)) =
                                ((y * stride + ky).checked_sub(before), (x * stride + kx).checked_sub(before))
                            else {
                                continue;
                            };
                            if y < input.height && x < input.width {
                                let weight = weight[((output * group + channel) * kernel + ky) * kernel + kx];
                                sum += input.values[(plane * input.height + y) * input.width + x] * f64::from(weight);
                            }
                        }
                    }
                }
                values.push(if layer.activated { sum.clamp(0.0, 6.0) } else { sum });
            }
        }
    }
    Planes { channels: channels_out, height, width, values }
}
