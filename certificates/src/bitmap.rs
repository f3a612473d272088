//! Sets of members or owners, by their place in a roster.

use crate::cbor::{CborError, Decoder, Encoder};

/// Rosters and committees have at most this many places.
pub const PLACES_MAX: usize = 128;

/// A set of places: bit `i` of byte `i / 8`, least significant first. As long as its roster needs, padding bits zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    places: usize,
    bytes: [u8; PLACES_MAX / 8],
}

impl Bitmap {
    /// The empty set over `places`.
    ///
    /// # Panics
    /// If there are more than [`PLACES_MAX`].
    #[must_use]
    pub const fn new(places: usize) -> Self {
        assert!(places <= PLACES_MAX, "more places than any roster has");
        Self { places, bytes: [0; PLACES_MAX / 8] }
    }

    /// Adds a place; false if it was there.
    ///
    /// # Panics
    /// If `place` is outside the roster.
    pub fn insert(&mut self, place: usize) -> bool {
        assert!(place < self.places, "place {place} of {}", self.places);
        let (byte, bit) = (&mut self.bytes[place / 8], 1 << (place % 8));
        let new = *byte & bit == 0;
        *byte |= bit;
        new
    }

    /// Whether the set has this place.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        place < self.places && self.bytes[place / 8] >> (place % 8) & 1 == 1
    }

    /// How many places the set has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// The places, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.places).filter(|place| self.contains(*place))
    }

    /// Whether two sets share a place.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.bytes.iter().zip(&other.bytes).any(|(a, b)| a & b != 0)
    }

    /// Adds every place of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (byte, more) in self.bytes.iter_mut().zip(&other.bytes) {
            *byte |= more;
        }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.bytes(self.as_bytes());
    }

    pub(crate) fn decode(input: &mut Decoder<'_>, places: usize) -> Result<Self, CborError> {
        Self::from_bytes(input.bytes(places.div_ceil(8))?, places)
    }

    /// The bytes: as many as the roster needs.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.places.div_ceil(8)]
    }

    /// Reads a set over `places`.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are not as many as the roster needs, or a padding bit is set.
    pub fn from_bytes(bytes: &[u8], places: usize) -> Result<Self, CborError> {
        if places > PLACES_MAX || bytes.len() != places.div_ceil(8) {
            return Err(CborError::Bounds);
        }
        let padding = !places.is_multiple_of(8) && bytes.last().is_some_and(|last| last >> (places % 8) != 0);
        if padding {
            return Err(CborError::NotDeterministic);
        }
        let mut map = Self::new(places);
        map.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_bits_and_other_lengths_are_refused() {
        let decode = |bytes: &[u8], places| {
            let mut out = Encoder::new();
            out.bytes(bytes);
            Bitmap::decode(&mut Decoder::new(&out.finish()), places)
        };
        assert_eq!(decode(&[0b1111], 4).map(|map| map.count()), Ok(4));
        assert_eq!(decode(&[0b1_1111], 4), Err(CborError::NotDeterministic));
        assert_eq!(decode(&[0b1111, 0], 4), Err(CborError::Bounds));
        assert_eq!(decode(&[], 4), Err(CborError::Bounds));
        assert_eq!(decode(&[0xff], 8).map(|map| map.iter().sum::<usize>()), Ok(28));
    }
}
