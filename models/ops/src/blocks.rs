//! How feature maps lie in memory.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

/// Channels that lie side by side.
pub const BLOCK: usize = 16;
/// Blocks of output channels that one task computes together.
pub(super) const PANEL: usize = 2;

/// A pixel's values in the channels of one block.
pub(super) type Line = [f32; BLOCK];

/// `[N, C, H, W]` to blocks `[N, ⌈C ∕ 16⌉, H, W, 16]`; channels that fill up the last block are zero.
///
/// # Errors
/// When the tensor has another number of dimensions.
pub fn to_blocks(planes: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = planes.dims4()?;
    let blocks = channels.div_ceil(BLOCK);
    let planes = planes.pad_with_zeros(1, 0, blocks * BLOCK - channels)?;
    planes.reshape((batch, blocks, BLOCK, height, width))?.permute((0, 1, 3, 4, 2))?.contiguous()
}

/// What [`to_blocks`] made, back to `[N, channels, H, W]`.
///
/// # Errors
/// When the tensor is not in blocks, or has fewer channels.
pub fn from_blocks(blocks: &Tensor, channels: usize) -> Result<Tensor> {
    let map = Map::of(blocks.dims())?;
    let planes = blocks.permute((0, 1, 4, 2, 3))?.contiguous()?;
    planes.reshape((map.batch, map.blocks * BLOCK, map.height, map.width))?.narrow(1, 0, channels)?.contiguous()
}

/// The sizes of a batch of feature maps in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) batch: usize,
    pub(super) blocks: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Map {
    pub(super) fn of(dims: &[usize]) -> Result<Self> {
        match *dims {
            [batch, blocks, height, width, BLOCK] => Ok(Self { batch, blocks, height, width }),
            _ => bail!("a tensor of shape {dims:?} is not in blocks of {BLOCK} channels"),
        }
    }

    pub(super) const fn shape(&self) -> (usize, usize, usize, usize, usize) {
        (self.batch, self.blocks, self.height, self.width, BLOCK)
    }

    pub(super) const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Lines of one picture.
    pub(super) const fn picture(&self) -> usize {
        self.blocks * self.pixels()
    }
}

/// What one task writes: some rows of one picture, in the blocks of one panel.
pub(super) struct Part<'a> {
    pub(super) picture: usize,
    pub(super) panel: usize,
    pub(super) rows: Range<usize>,
    /// One for each block of the panel; the last panel may have fewer than [`PANEL`].
    pub(super) blocks: [&'a mut [Line]; PANEL],
}

/// Cuts `map` into parts of at most `rows` rows. All pictures of one panel follow one another: they share its weights.
pub(super) fn parts<'a>(map: &Map, data: &'a mut [Line], rows: usize) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    if map.picture() == 0 {
        return parts;
    }
    let part = rows.max(1) * map.width;
    for (picture, data) in data.chunks_exact_mut(map.picture()).enumerate() {
        for (panel, data) in data.chunks_mut(PANEL * map.pixels()).enumerate() {
            let (first, second) = data.split_at_mut(map.pixels());
            let mut second = second.chunks_mut(part);
            for (i, first) in first.chunks_mut(part).enumerate() {
                let start = i * rows.max(1);
                let rows = start..start + first.len() / map.width;
                let blocks = [first, second.next().unwrap_or_default()];
                parts.push(Part { picture, panel, rows, blocks });
            }
        }
    }
    parts.sort_by_key(|part| part.panel);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn blocks_and_back() -> Result<()> {
        let planes = Tensor::arange(0f32, 2.0 * 20.0 * 6.0, &Device::Cpu)?.reshape((2, 20, 2, 3))?;
        let blocks = to_blocks(&planes)?;
        assert_eq!(blocks.dims(), [2, 2, 2, 3, 16]);
        let pixel = blocks.get(1)?.get(1)?.get(0)?.get(2)?.to_vec1::<f32>()?;
        let mut expected = vec![0.0; 16];
        for (channel, value) in (16..20).zip(&mut expected) {
            *value = (120 + channel * 6 + 2) as f32;
        }
        assert_eq!(pixel, expected);
        let back = from_blocks(&blocks, 20)?;
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, planes.flatten_all()?.to_vec1::<f32>()?);
        assert!(from_blocks(&planes, 20).is_err());
        Ok(())
    }

    #[test]
    fn parts_cover_a_map_once() {
        let map = Map { batch: 2, blocks: 3, height: 5, width: 2 };
        let mut data = vec![[0.0; BLOCK]; 2 * map.picture()];
        let parts = parts(&map, &mut data, 2);
        assert_eq!(parts.len(), 2 * 2 * 3);
        let mut rows = 0;
        for part in parts {
            let lines = part.rows.len() * map.width;
            rows += part.rows.len();
            assert_eq!(part.blocks[0].len(), lines);
            assert_eq!(part.blocks[1].len(), if part.panel == 0 { lines } else { 0 });
            part.blocks.into_iter().flatten().for_each(|line| line[0] += 1.0);
        }
        assert_eq!(rows, 2 * 2 * 5);
        assert!(data.iter().all(|line| line[0] == 1.0));
    }
}
