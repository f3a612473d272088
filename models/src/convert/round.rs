//! Rounding weights to eight bits.

use super::checkpoint::Weights;

/// Steps on each side of zero.
const STEPS: f32 = 127.0;

/// Rounds each output channel (the first dimension) to multiples of its largest magnitude ∕ 127.
pub(super) fn round_to_int8(weight: &mut Weights) {
    let channels = weight.shape.first().copied().unwrap_or(0).max(1);
    let per_channel = (weight.elements.len() / channels).max(1);
    for channel in weight.elements.chunks_exact_mut(per_channel) {
        let largest = channel.iter().fold(0.0f32, |max, w| max.max(w.abs()));
        let step = largest / STEPS;
        if step.is_normal() {
            for element in channel {
                let steps = (*element / step).round_ties_even().clamp(-STEPS, STEPS);
                *element = steps * step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_channel_has_few_values_and_moves_little(
            channel in proptest::collection::vec(-3f32..3.0, 300),
        ) {
            let mut rounded = Weights { shape: vec![1, 300], elements: channel.clone() };
            round_to_int8(&mut rounded);
            let largest = channel.iter().fold(0.0f32, |max, w| max.max(w.abs()));
            let distinct: BTreeSet<u32> = rounded.elements.iter().map(|w| (w + 0.0).to_bits()).collect();
            prop_assert!(distinct.len() <= 255);
            for (before, after) in channel.iter().zip(&rounded.elements) {
                prop_assert!((before - after).abs() <= largest / STEPS * 0.5001);
            }
        }
    }

    #[test]
    fn channels_are_rounded_apart_and_zeros_stay() {
        let elements = vec![127.0, 0.4, 0.0, 0.0, 1.27, 0.404];
        let mut weight = Weights { shape: vec![3, 2], elements };
        round_to_int8(&mut weight);
        assert_eq!(weight.elements[..4], [127.0, 0.0, 0.0, 0.0]);
        assert!((weight.elements[5] - 0.4).abs() < 1e-6);
    }
}
