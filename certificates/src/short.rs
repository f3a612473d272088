//! SHA-256 of short messages, whose length is known before they are hashed.
//!
//! Most of what is hashed here fills one to four blocks: commitments, leaves, nodes. Such a message is padded where it is
//! put together and compressed in one call; a streaming hash would copy it through its buffer part by part.

use crate::digest::Digest;

const BLOCK_BYTES: usize = 64;
const BLOCKS_MAX: usize = 4;
/// The bit that ends a message, and its length.
const PADDING_BYTES_MIN: usize = 9;

/// A short message has at most this many bytes.
pub(crate) const SHORT_BYTES_MAX: usize = BLOCKS_MAX * BLOCK_BYTES - PADDING_BYTES_MIN;

/// SHA-256's initial state (FIPS 180-4 section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A message of at most [`SHORT_BYTES_MAX`] bytes.
pub(crate) struct Short {
    blocks: [[u8; BLOCK_BYTES]; BLOCKS_MAX],
    length: usize,
}

impl Default for Short {
    fn default() -> Self {
        Self { blocks: [[0; BLOCK_BYTES]; BLOCKS_MAX], length: 0 }
    }
}

impl Short {
    /// Appends bytes.
    ///
    /// # Panics
    /// Beyond [`SHORT_BYTES_MAX`], which callers rule out.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.length + bytes.len();
        assert!(end <= SHORT_BYTES_MAX, "{end} bytes are no short message");
        self.blocks.as_flattened_mut()[self.length..end].copy_from_slice(bytes);
        self.length = end;
        self
    }

    /// As [`Short::push`]; a copy of known length is a few instructions.
    pub(crate) fn push_fixed<const N: usize>(&mut self, bytes: &[u8; N]) -> &mut Self {
        let end = self.length + N;
        assert!(end <= SHORT_BYTES_MAX, "{end} bytes are no short message");
        if let Some(room) = self.blocks.as_flattened_mut()[self.length..].first_chunk_mut() {
            *room = *bytes;
        }
        self.length = end;
        self
    }

    /// SHA-256 of the message.
    pub(crate) fn digest(mut self) -> Digest {
        let count = (self.length + PADDING_BYTES_MIN).div_ceil(BLOCK_BYTES);
        let bytes = self.blocks.as_flattened_mut();
        bytes[self.length] = 0x80;
        let end = count * BLOCK_BYTES;
        bytes[end - 8..end].copy_from_slice(&(self.length as u64 * 8).to_be_bytes());
        let mut state = INITIAL;
        sha2::block_api::compress256(&mut state, &self.blocks[..count]);
        let mut hash = [0; 32];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Digest(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_hashes_as_the_standard_says() {
        let message: [u8; SHORT_BYTES_MAX] = core::array::from_fn(|place| place as u8);
        for length in 0..=SHORT_BYTES_MAX {
            let (head, tail) = message[..length].split_at(length / 3);
            let mut short = Short::default();
            short.push(head).push(tail);
            assert_eq!(short.digest(), Digest::of(&message[..length]), "{length} bytes");
        }
    }
}
