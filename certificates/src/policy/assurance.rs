//! Assurance: how far a tally is safe against missing and lying owners.

use core::fmt;

use crate::cbor::{CborError, Decoder};

/// How far a tally is safe against missing and lying owners; ordered from weakest to strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// No claim: there is no winner, or too few votes for it.
    None,
    /// Honest owners stand behind the result. A ranked or exact winner was named by at least one honest model; what
    /// `median` and `within` promise is said by [`Policy::promise`](super::Policy::promise).
    Supported,
    /// And the ballots left out could not have changed it.
    Decisive,
    /// And neither could f_g lying owners.
    Robust,
}

impl Assurance {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// From its number on the wire.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Supported),
            2 => Some(Self::Decisive),
            3 => Some(Self::Robust),
            _ => None,
        }
    }

    /// From its name, for a level that can be demanded: `supported`, `decisive` or `robust`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Supported, Self::Decisive, Self::Robust].into_iter().find(|level| level.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Supported => "supported",
            Self::Decisive => "decisive",
            Self::Robust => "robust",
        }
    }

    /// The strongest level of a winner that `winner` owners named, where one ballot shifts the lead by at most one.
    /// `lead` is zero when the best two candidates tie.
    #[must_use]
    pub const fn of(winner: usize, lead: usize, missing: usize, faults: usize) -> Self {
        Self::of_weighted(winner, lead, 1, missing, faults)
    }

    /// As [`Assurance::of`], where one ballot shifts the lead by at most `weight` (DESIGN's w).
    #[must_use]
    pub const fn of_weighted(named: usize, lead: usize, weight: usize, missing: usize, faults: usize) -> Self {
        if lead == 0 || named <= faults {
            Self::None
        } else if lead > weight * (faults + missing) {
            Self::Robust
        } else if lead > weight * missing {
            Self::Decisive
        } else {
            Self::Supported
        }
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        Self::from_code(input.uint()?).ok_or(CborError::Bounds)
    }

    /// Reads a level that can be demanded: anything but [`Assurance::None`].
    pub(crate) fn decode_demand(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        match Self::decode(input)? {
            Self::None => Err(CborError::Bounds),
            level => Ok(level),
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
