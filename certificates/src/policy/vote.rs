//! Votes: what one owner's ballot says about one request.

use alloc::vec::Vec;

use crate::cbor::{CborError, Decoder, Encoder};
use crate::digest::Digest;
use crate::policy::fixed::{FIXED_MAX, TENSOR_LENGTH_MAX};

/// A ranking names at most this many classes.
pub const RANKS_MAX: usize = 16;

/// What one owner's ballot says about one request. Which kind is admitted is the charter's policy's to say, see
/// [`Charter::admits`](crate::Charter::admits).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Vote {
    /// The most likely class (`plurality`).
    Class(u32),
    /// Different classes, the most likely first (`borda`).
    Ranking(Vec<u32>),
    /// Digest of the canonical output (`exact`).
    Output(Digest),
    /// Fixed-point values (`median`, `within`), see [`fixed`](crate::policy::fixed).
    Tensor(Vec<i64>),
    /// The model could not answer; the owner counts as missing, for good.
    Abstain,
}

impl Vote {
    /// The bytes that a vote's commitment covers: `[kind, value]`; none for an abstention.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut out = Encoder::new();
        match self {
            Self::Class(class) => out.array(2).uint(1).uint((*class).into()),
            Self::Ranking(classes) => {
                out.array(2).uint(2).array(classes.len());
                classes.iter().fold(&mut out, |out, class| out.uint((*class).into()))
            }
            Self::Output(digest) => out.array(2).uint(3).digest(digest),
            Self::Tensor(values) => {
                out.array(2).uint(4).array(values.len());
                values.iter().fold(&mut out, |out, value| out.int(*value))
            }
            Self::Abstain => return None,
        };
        Some(out.finish())
    }

    /// Writes the vote as an item of a ballot body: `[kind, value]`, or null for an abstention.
    pub fn encode(&self, out: &mut Encoder) {
        match self.to_bytes() {
            Some(bytes) => out.raw(&bytes),
            None => out.null(),
        };
    }

    /// Reads what [`Vote::encode`] wrote.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        if input.null() {
            return Ok(Self::Abstain);
        }
        input.array_of(2)?;
        match input.uint()? {
            1 => Ok(Self::Class(class(input)?)),
            2 => (0..input.array(RANKS_MAX)?).map(|_| class(input)).collect::<Result<_, _>>().map(Self::Ranking),
            3 => input.digest().map(Self::Output),
            4 => (0..input.array(TENSOR_LENGTH_MAX)?).map(|_| value(input)).collect::<Result<_, _>>().map(Self::Tensor),
            _ => Err(CborError::Bounds),
        }
    }
}

fn class(input: &mut Decoder<'_>) -> Result<u32, CborError> {
    input.uint_max(u32::MAX.into()).map(|class| class as u32)
}

fn value(input: &mut Decoder<'_>) -> Result<i64, CborError> {
    input.int().and_then(|value| if value.abs() <= FIXED_MAX { Ok(value) } else { Err(CborError::Bounds) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_kind_reads_back_and_no_two_share_bytes() {
        let votes = [
            Vote::Class(285),
            Vote::Ranking(vec![285, 1]),
            Vote::Output(Digest::of(b"output")),
            Vote::Tensor(vec![0, -1, FIXED_MAX]),
            Vote::Tensor(vec![]),
            Vote::Abstain,
        ];
        for (place, vote) in votes.iter().enumerate() {
            let mut out = Encoder::new();
            vote.encode(&mut out);
            let bytes = out.finish();
            assert_eq!(Vote::decode(&mut Decoder::new(&bytes)).as_ref(), Ok(vote));
            assert!(votes[..place].iter().all(|other| other.to_bytes() != vote.to_bytes()));
        }
    }

    #[test]
    fn values_beyond_the_bounds_are_refused() {
        let mut out = Encoder::new();
        out.array(2).uint(4).array(1).int(FIXED_MAX + 1);
        assert_eq!(Vote::decode(&mut Decoder::new(&out.finish())), Err(CborError::Bounds));
        let mut out = Encoder::new();
        out.array(2).uint(1).uint(1 << 32);
        assert_eq!(Vote::decode(&mut Decoder::new(&out.finish())), Err(CborError::Bounds));
    }
}
