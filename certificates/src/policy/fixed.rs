//! Fixed point: how real-valued outputs become votes, alike on every platform.
//!
//! A value v stands for v / 2^fraction_bits. Magnitudes stay at or below 2^31 - 1, so that every sum and distance of a
//! policy stays below 2^53 and any language computes it exactly. What has no single meaning is refused at the door: NaN,
//! the infinities and negative zero.

use alloc::vec::Vec;

use crate::cbor::{CborError, Decoder, Encoder};

/// The largest magnitude of a fixed-point value.
pub const FIXED_MAX: i64 = (1 << 31) - 1;

/// A tensor has at most this many values.
pub const TENSOR_LENGTH_MAX: usize = 1024;

/// A value has at most this many fraction bits.
pub const FRACTION_BITS_MAX: u32 = 30;

/// What a group's tensors must fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorBounds {
    /// Values per tensor, 1 to [`TENSOR_LENGTH_MAX`].
    pub length: u32,
    /// Fraction bits, at most [`FRACTION_BITS_MAX`].
    pub fraction_bits: u32,
    /// The smallest value allowed.
    pub min: i64,
    /// The largest value allowed.
    pub max: i64,
}

/// Why an output is no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixedError {
    /// NaN, an infinity or negative zero.
    #[error("value {0} is NaN, infinite or negative zero: the model's output has no single meaning")]
    NotANumber(usize),
    /// Outside the charter's range.
    #[error("value {0} lies outside the range that the charter allows")]
    Range(usize),
    /// Not as many values as the charter says.
    #[error("{0} values where the charter demands another number")]
    Length(usize),
}

impl TensorBounds {
    /// Whether the bounds themselves make sense.
    #[must_use]
    pub const fn is_well_formed(&self) -> bool {
        let length_fits = 1 <= self.length && self.length as usize <= TENSOR_LENGTH_MAX;
        let range_fits = -FIXED_MAX <= self.min && self.min <= self.max && self.max <= FIXED_MAX;
        length_fits && range_fits && self.fraction_bits <= FRACTION_BITS_MAX
    }

    /// Whether `values` can be a vote.
    #[must_use]
    pub fn admit(&self, values: &[i64]) -> bool {
        values.len() == self.length as usize && values.iter().all(|value| (self.min..=self.max).contains(value))
    }

    /// Converts a model's output, rounding to the nearest value, ties to even.
    ///
    /// # Errors
    /// [`FixedError`] names the first value that cannot be voted.
    pub fn convert(&self, output: &[f32]) -> Result<Vec<i64>, FixedError> {
        if output.len() != self.length as usize {
            return Err(FixedError::Length(output.len()));
        }
        let one = |(place, value): (usize, &f32)| {
            if !value.is_finite() || value.to_bits() == (-0.0_f32).to_bits() {
                return Err(FixedError::NotANumber(place));
            }
            let value = scaled(*value, self.fraction_bits).ok_or(FixedError::Range(place))?;
            if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(FixedError::Range(place)) }
        };
        output.iter().enumerate().map(one).collect()
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.array(4).uint(self.length.into()).uint(self.fraction_bits.into()).int(self.min).int(self.max);
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(4)?;
        let bounds = Self {
            length: input.uint_max(TENSOR_LENGTH_MAX as u64)? as u32,
            fraction_bits: input.uint_max(FRACTION_BITS_MAX.into())? as u32,
            min: input.int()?,
            max: input.int()?,
        };
        if bounds.is_well_formed() { Ok(bounds) } else { Err(CborError::Bounds) }
    }
}

/// `value * 2^bits` rounded to nearest, ties to even, in integers only; `None` beyond [`FIXED_MAX`].
fn scaled(value: f32, bits: u32) -> Option<i64> {
    let raw = value.to_bits();
    let (exponent, fraction) = ((raw >> 23 & 0xff) as i32, i64::from(raw & 0x7f_ffff));
    let (mantissa, exponent) = if exponent == 0 { (fraction, -149) } else { (fraction | 1 << 23, exponent - 150) };
    let shift = exponent + bits as i32;
    let magnitude = if shift >= 0 {
        // 24 bits shifted by 8 or more exceed the range anyway, unless the value is zero.
        if mantissa != 0 && shift > 8 { return None } else { mantissa << shift.min(8) }
    } else if shift < -25 {
        0
    } else {
        let (kept, lost, half) = (mantissa >> -shift, mantissa & ((1 << -shift) - 1), 1 << (-shift - 1));
        kept + i64::from(lost > half || (lost == half && kept & 1 == 1))
    };
    (magnitude <= FIXED_MAX).then_some(if value.is_sign_negative() { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const BOUNDS: TensorBounds = TensorBounds { length: 1, fraction_bits: 16, min: -FIXED_MAX, max: FIXED_MAX };

    #[test]
    fn what_has_no_single_meaning_is_refused() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0] {
            assert_eq!(BOUNDS.convert(&[value]), Err(FixedError::NotANumber(0)), "{value}");
        }
        assert_eq!(BOUNDS.convert(&[32768.0]), Err(FixedError::Range(0)));
        assert_eq!(BOUNDS.convert(&[f32::MAX]), Err(FixedError::Range(0)));
        assert_eq!(BOUNDS.convert(&[]), Err(FixedError::Length(0)));
        assert_eq!(BOUNDS.convert(&[0.5]), Ok(vec![1 << 15]));
        assert_eq!(BOUNDS.convert(&[0.0]), Ok(vec![0]));
        assert_eq!(BOUNDS.convert(&[-1.0]), Ok(vec![-(1 << 16)]));
        assert_eq!(BOUNDS.convert(&[f32::MIN_POSITIVE]), Ok(vec![0]));
    }

    #[test]
    fn ties_go_to_even() {
        let bounds = TensorBounds { fraction_bits: 0, ..BOUNDS };
        for (value, rounded) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (2.500_001, 3)] {
            assert_eq!(bounds.convert(&[value]), Ok(vec![rounded]), "{value}");
        }
    }

    proptest! {
        #[test]
        fn conversion_matches_double_precision(value in -40_000.0_f32..40_000.0, bits in 0..=FRACTION_BITS_MAX) {
            // A float times a power of two is exact in double precision; only the rounding is ours.
            let exact = f64::from(value) * f64::from(1_u32 << bits);
            let expected = exact.round_ties_even() as i64;
            let found = scaled(value, bits);
            prop_assert_eq!(found, (expected.abs() <= FIXED_MAX).then_some(expected));
        }
    }
}
