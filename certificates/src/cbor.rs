//! The subset of CBOR that signed objects use: core deterministic encoding (RFC 8949 section 4.2.1), nothing else.
//!
//! Integers below 2^53, byte and text strings, arrays, maps with ascending integer keys, and null. The decoder refuses
//! what the encoder would not have written: longer integers than needed, indefinite lengths, tags, floats, trailing
//! bytes. It never recurses, so hostile input cannot exhaust the stack.

use alloc::vec::Vec;

use crate::digest::Digest;

/// Integers beyond this magnitude lose precision in JavaScript; no field needs them.
pub const INT_MAX: u64 = (1 << 53) - 1;

const MAJOR_UINT: u8 = 0;
const MAJOR_NINT: u8 = 1;
const MAJOR_BYTES: u8 = 2;
const MAJOR_TEXT: u8 = 3;
const MAJOR_ARRAY: u8 = 4;
const MAJOR_MAP: u8 = 5;
const NULL: u8 = 0xf6;

/// Why bytes are not deterministic CBOR of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The input ends inside an item.
    #[error("the input ends too early")]
    Truncated,
    /// Bytes follow the last expected item.
    #[error("unexpected bytes follow the end")]
    Trailing,
    /// Another type stands where this one must be.
    #[error("an item has another type than its place demands")]
    Type,
    /// A number or length is not in its shortest form, or is not allowed at all.
    #[error("an item is not in deterministic encoding")]
    NotDeterministic,
    /// A value or length lies outside its bounds.
    #[error("a value or length is out of bounds")]
    Bounds,
}

/// Writes deterministic CBOR. The caller writes map keys in ascending order.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An empty encoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty encoder with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The bytes written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    #[inline]
    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        if value <= 23 {
            self.0.push(major << 5 | value as u8);
            return self;
        }
        self.long_head(major << 5, value)
    }

    fn long_head(&mut self, major: u8, value: u64) -> &mut Self {
        match value {
            0..=0xff => self.0.extend([major | 24, value as u8]),
            0x100..=0xffff => {
                self.0.push(major | 25);
                self.0.extend((value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(major | 26);
                self.0.extend((value as u32).to_be_bytes());
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend(value.to_be_bytes());
            }
        }
        self
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        debug_assert!(value <= INT_MAX, "integers stay below 2^53");
        self.head(MAJOR_UINT, value)
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        debug_assert!(value.unsigned_abs() <= INT_MAX, "integers stay below 2^53");
        match u64::try_from(value) {
            Ok(value) => self.head(MAJOR_UINT, value),
            Err(_) => self.head(MAJOR_NINT, !value as u64),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(MAJOR_BYTES, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A digest, as a byte string of 32.
    pub fn digest(&mut self, value: &Digest) -> &mut Self {
        // Most of what is encoded: one copy of known length.
        let mut item = [0; 34];
        item[0] = MAJOR_BYTES << 5 | 24;
        item[1] = 32;
        item[2..].copy_from_slice(value.as_bytes());
        self.0.extend_from_slice(&item);
        self
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(MAJOR_TEXT, value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The head of an array of `items`; the items follow.
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.head(MAJOR_ARRAY, items as u64)
    }

    /// The head of a map of `pairs`; keys and values follow, keys ascending.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAJOR_MAP, pairs as u64)
    }

    /// Null.
    pub fn null(&mut self) -> &mut Self {
        self.0.push(NULL);
        self
    }

    /// An item that is encoded already.
    pub fn raw(&mut self, item: &[u8]) -> &mut Self {
        self.0.extend_from_slice(item);
        self
    }
}

/// Reads deterministic CBOR and refuses everything else.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads from `input`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`CborError::Trailing`] if bytes are left.
    pub const fn finish(self) -> Result<(), CborError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CborError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let (value, least) = match info {
            0..=23 => (u64::from(info), 0),
            24 => (u64::from(self.take(1)?[0]), 24),
            25 => (self.be(2)?, 0x100),
            26 => (self.be(4)?, 0x1_0000),
            27 => (self.be(8)?, 0x1_0000_0000),
            _ => return Err(CborError::NotDeterministic),
        };
        if value < least {
            return Err(CborError::NotDeterministic);
        }
        Ok((major, value))
    }

    fn be(&mut self, length: usize) -> Result<u64, CborError> {
        Ok(self.take(length)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn expect(&mut self, major: u8) -> Result<u64, CborError> {
        let (found, value) = self.head()?;
        if found == major { Ok(value) } else { Err(CborError::Type) }
    }

    /// An unsigned integer of at most [`INT_MAX`].
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        let value = self.expect(MAJOR_UINT)?;
        if value <= INT_MAX { Ok(value) } else { Err(CborError::Bounds) }
    }

    /// An unsigned integer of at most `max`.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn uint_max(&mut self, max: u64) -> Result<u64, CborError> {
        let value = self.uint()?;
        if value <= max { Ok(value) } else { Err(CborError::Bounds) }
    }

    /// A signed integer of magnitude at most [`INT_MAX`].
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn int(&mut self) -> Result<i64, CborError> {
        let (major, value) = self.head()?;
        if value > INT_MAX {
            return Err(CborError::Bounds);
        }
        match major {
            MAJOR_UINT => Ok(value as i64),
            MAJOR_NINT => Ok(-1 - value as i64),
            _ => Err(CborError::Type),
        }
    }

    /// A byte string of at most `max` bytes.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8], CborError> {
        let length = self.expect(MAJOR_BYTES)?;
        self.bounded(length, max)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.bytes(N)?.try_into().map_err(|_| CborError::Bounds)
    }

    /// A digest.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn digest(&mut self) -> Result<Digest, CborError> {
        self.fixed().map(Digest)
    }

    /// A text string of at most `max` bytes of UTF-8.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn text(&mut self, max: usize) -> Result<&'a str, CborError> {
        let length = self.expect(MAJOR_TEXT)?;
        core::str::from_utf8(self.bounded(length, max)?).map_err(|_| CborError::Type)
    }

    fn bounded(&mut self, length: u64, max: usize) -> Result<&'a [u8], CborError> {
        match usize::try_from(length) {
            Ok(length) if length <= max => self.take(length),
            _ => Err(CborError::Bounds),
        }
    }

    /// The head of an array of at most `max` items.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn array(&mut self, max: usize) -> Result<usize, CborError> {
        let items = self.expect(MAJOR_ARRAY)?;
        usize::try_from(items).ok().filter(|items| *items <= max).ok_or(CborError::Bounds)
    }

    /// The head of an array of exactly `items`.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn array_of(&mut self, items: usize) -> Result<(), CborError> {
        if self.array(items)? == items { Ok(()) } else { Err(CborError::Bounds) }
    }

    /// The head of a map of at most `max` pairs.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn map(&mut self, max: usize) -> Result<usize, CborError> {
        let pairs = self.expect(MAJOR_MAP)?;
        usize::try_from(pairs).ok().filter(|pairs| *pairs <= max).ok_or(CborError::Bounds)
    }

    /// Expects exactly this unsigned integer, as map keys and versions are.
    ///
    /// # Errors
    /// [`CborError::Bounds`] if another integer stands here.
    pub fn key(&mut self, key: u64) -> Result<(), CborError> {
        if self.uint()? == key { Ok(()) } else { Err(CborError::Bounds) }
    }

    /// Reads a null if one stands here.
    pub fn null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NULL, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The bytes not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_not_shortest() {
        for bytes in
            [&[0x18, 23][..], &[0x19, 0, 255], &[0x1a, 0, 0, 255, 255], &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255]]
        {
            assert_eq!(Decoder::new(bytes).uint(), Err(CborError::NotDeterministic), "{bytes:x?}");
        }
        assert_eq!(Decoder::new(&[0x5f]).bytes(9), Err(CborError::NotDeterministic), "indefinite length");
        assert_eq!(Decoder::new(&[0x1b, 0, 32, 0, 0, 0, 0, 0, 0]).uint(), Err(CborError::Bounds), "2^53");
    }

    #[test]
    fn refuses_lengths_beyond_the_input_without_allocating() {
        assert_eq!(Decoder::new(&[0x5a, 0xff, 0xff, 0xff, 0xff]).bytes(usize::MAX), Err(CborError::Truncated));
        assert_eq!(Decoder::new(&[0x9a, 0xff, 0xff, 0xff, 0xff]).array(8), Err(CborError::Bounds));
    }

    proptest! {
        #[test]
        fn integers_match_an_independent_encoder(value in -(INT_MAX as i64)..=INT_MAX as i64) {
            let mut ours = Encoder::new();
            ours.int(value);
            let ours = ours.finish();
            prop_assert_eq!(&ours, &minicbor::to_vec(value).unwrap());
            prop_assert_eq!(Decoder::new(&ours).int(), Ok(value));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = Decoder::new(&bytes);
            let _ = (decoder.clone().int(), decoder.clone().text(8), decoder.clone().map(3), decoder.bytes(16));
        }
    }
}
