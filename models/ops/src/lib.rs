//! Operations on candle's tensors for mobile networks: depthwise, pointwise and fused convolutions on processors.
//!
//! candle convolves groups of channels one after the other, which is a hundred times slower than need be where every
//! channel is a group. These are `CustomOp`s ([`apply_op1_no_bwd`](candle_core::Tensor::apply_op1_no_bwd)) for processors:
//!
//! | operation | takes | gives |
//! |---|---|---|
//! | [`Stem`] | `[N, C, H, W]` | blocks |
//! | [`Depthwise`], [`Pointwise`], [`InvertedResidual`] | blocks | blocks |
//! | [`PooledPointwise`] | blocks | `[N, outputs]` |
//! | [`Linear`] | `[N, inputs]` | `[N, outputs]` |
//!
//! A feature map in *blocks* is `[N, ⌈C ∕ 16⌉, H, W, 16]`: the values of a pixel in sixteen channels lie side by side, as
//! vector instructions take them, and a convolution of each channel stays within one block. Channels that fill up the
//! last block are zero. [`to_blocks`] and [`from_blocks`] convert.
//!
//! Every output is one chain of fused multiply-adds in a fixed order. Results are the same bits for every batch size,
//! number of threads and instruction set. A processor without fused multiply-add (x86 before 2013) computes them in
//! software: slowly, and the same.

mod aligned;
mod blocks;
mod depthwise;
mod inverted_residual;
mod kernels;
mod passes;
mod pointwise;
pub mod reference;
mod stem;
mod storage;
mod weights;
mod workers;

pub use blocks::{BLOCK, from_blocks, to_blocks};
pub use depthwise::Depthwise;
pub use inverted_residual::InvertedResidual;
pub use passes::Window;
pub use pointwise::{Linear, Pointwise, PooledPointwise};
pub use stem::Stem;
pub use workers::Workers;

#[cfg(test)]
mod tests;
