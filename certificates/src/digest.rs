//! SHA-256 digests and the tagged hashes of every commitment.

use alloc::string::String;
use core::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::short::{SHORT_BYTES_MAX, Short};

/// A SHA-256 value: 32 bytes, shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of nothing in particular; marks "no parent" in the first block.
    pub const ZERO: Self = Self([0; 32]);

    /// Plain SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// SHA-256 of `tag || 0x00 || parts...`: no two kinds of object can share a digest.
    ///
    /// `tag` is ASCII without zero bytes; callers pass parts of fixed or self-delimiting length.
    #[must_use]
    pub fn tagged(tag: &str, parts: &[&[u8]]) -> Self {
        debug_assert!(tag.bytes().all(|byte| byte.is_ascii_graphic()));
        let length = tag.len() + 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        if length <= SHORT_BYTES_MAX {
            let mut short = Short::default();
            short.push(tag.as_bytes()).push_fixed(&[0]);
            for part in parts {
                match part.as_array::<32>() {
                    Some(digest) => short.push_fixed(digest),
                    None => short.push(part),
                };
            }
            return short.digest();
        }
        let mut hash = Sha256::new();
        hash.update(tag.as_bytes());
        hash.update([0]);
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads exactly 32 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads 64 lower-case hex digits.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        Self::from_slice(&HEXLOWER.decode(hex.as_bytes()).ok()?)
    }

    /// The first 16 hex digits, for people; never compare by it.
    #[must_use]
    pub fn short(&self) -> String {
        HEXLOWER.encode(&self.0[..8])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
