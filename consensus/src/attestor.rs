//! The attestor: at most one header per seq, across crashes.
//!
//! It decides; whoever owns it persists the decision before the signature leaves the process (`coordinator`). Ed25519 is
//! deterministic, so attesting the same header again gives the same bytes and is always safe.

use dropbear_certificates::{Digest, Header};

/// Why a header is not attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// Another header was attested at this seq: signing would be guilt.
    #[error("another header was attested at seq {0}: this disk or this chain is not the one that signed it")]
    Conflict(u64),
    /// Headers are attested in order, without a hole.
    #[error("seq {found} cannot be attested after seq {last}")]
    OutOfOrder {
        /// The last seq attested.
        last: u64,
        /// The seq offered.
        found: u64,
    },
}

/// What was attested last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attestor {
    last: Option<(u64, Digest)>,
}

impl Attestor {
    /// Resumes after the last header of the attestation log.
    #[must_use]
    pub fn resume(last: Option<(u64, Digest)>) -> Self {
        Self { last }
    }

    /// The seq of the last header that was attested; 0 if there was none.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last.map_or(0, |(seq, _)| seq)
    }

    /// Permits attesting `header`. The caller persists (seq, header) before it releases the signature.
    ///
    /// # Errors
    /// [`AttestError`] if an honest coordinator must not sign it.
    pub fn permit(&mut self, header: &Header) -> Result<(), AttestError> {
        let digest = Digest::of(&header.to_bytes());
        let (last, last_digest) = self.last.unwrap_or((0, Digest::ZERO));
        match header.seq {
            seq if seq == last + 1 => {
                self.last = Some((seq, digest));
                Ok(())
            }
            seq if seq == last && digest == last_digest => Ok(()),
            seq if seq == last => Err(AttestError::Conflict(seq)),
            found => Err(AttestError::OutOfOrder { last, found }),
        }
    }
}
