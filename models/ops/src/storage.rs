//! Feature maps in candle's storage.

use candle_core::{CpuStorage, Layout, Result, bail};

use super::blocks::{BLOCK, Line, Map};

/// The numbers of a contiguous FP32 tensor.
pub(super) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(numbers), Some((start, end))) => Ok(&numbers[start..end]),
        (CpuStorage::F32(_), None) => bail!("a tensor must be contiguous here"),
        _ => bail!("a tensor must be FP32 here"),
    }
}

/// A tensor in blocks, of which there must be this many.
pub(super) fn maps<'a>(storage: &'a CpuStorage, layout: &Layout, blocks: usize) -> Result<(&'a [Line], Map)> {
    let map = Map::of(layout.dims())?;
    if map.blocks != blocks {
        bail!("the weights are for {blocks} blocks of channels, not for {}", map.blocks);
    }
    Ok((numbers(storage, layout)?.as_chunks().0, map))
}

pub(super) fn zeros(map: &Map) -> Vec<f32> {
    vec![0.0; map.batch * map.picture() * BLOCK]
}

pub(super) fn lines(numbers: &mut [f32]) -> &mut [Line] {
    numbers.as_chunks_mut().0
}
