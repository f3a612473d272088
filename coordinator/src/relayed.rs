//! What coordinators relay to each other: entries before they are ordered, and attestations after.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use dropbear_certificates::{Header, PublicKey, Signature};

const ENTRY: u8 = 0;
const ATTESTATION: u8 = 1;
const SIGNATURE_BYTES: usize = size_of::<Signature>();

/// A message to every peer; its first byte tells its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Relayed {
    /// An entry on its way to a peer: eight big-endian bytes of patience, then the entry.
    Entry {
        /// How long it may wait for others.
        patience_ms: u64,
        /// Its bytes.
        entry: Bytes,
    },
    /// The sender attested a header.
    Attestation(Attestation),
}

/// A header that a member signed: the signature, then the header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attestation {
    pub(crate) header: Header,
    pub(crate) signature: Signature,
}

impl Attestation {
    pub(crate) fn to_bytes(&self) -> Bytes {
        [&self.signature[..], &self.header.to_bytes()].concat().into()
    }

    /// `None` if the bytes are no attestation by this key.
    pub(crate) fn parse(bytes: &[u8], key: &PublicKey) -> Option<Self> {
        let (signature, header) = bytes.split_first_chunk::<SIGNATURE_BYTES>()?;
        let attestation = Self { header: Header::from_bytes(header).ok()?, signature: *signature };
        attestation.header.is_attested(key, signature).then_some(attestation)
    }
}

/// Why a relayed message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It breaks the format, or its signature is not the sender's.
    Malformed,
    /// Newer versions have more kinds.
    UnknownKind(u8),
}

impl Relayed {
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Entry { patience_ms, entry } => {
                let mut out = BytesMut::with_capacity(1 + size_of::<u64>() + entry.len());
                out.put_u8(ENTRY);
                out.put_u64(*patience_ms);
                out.put_slice(entry);
                out.freeze()
            }
            Self::Attestation(attestation) => [&[ATTESTATION], &attestation.to_bytes()[..]].concat().into(),
        }
    }

    /// Reads what a peer with this attestation key sent.
    pub(crate) fn parse(mut message: Bytes, sender: &PublicKey) -> Result<Self, Unusable> {
        match message.try_get_u8().map_err(|_| Unusable::Malformed)? {
            ENTRY => {
                let patience_ms = message.try_get_u64().map_err(|_| Unusable::Malformed)?;
                Ok(Self::Entry { patience_ms, entry: message })
            }
            ATTESTATION => Attestation::parse(&message, sender).map(Self::Attestation).ok_or(Unusable::Malformed),
            kind => Err(Unusable::UnknownKind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use dropbear_certificates::{Digest, SecretKey};

    use super::*;

    fn header() -> Header {
        Header {
            genesis: Digest::of(b"genesis"),
            epoch: 0,
            config: Digest::of(b"config"),
            seq: 7,
            tree_size: 3,
            ledger_root: Digest::of(b"ledger"),
            governance_seq: 0,
            agreed_ms: 1_700_000_000_000,
            record_root: Digest::of(b"records"),
        }
    }

    #[test]
    fn patience_travels_in_front_of_the_entry() {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let relayed = Relayed::Entry { patience_ms: 258, entry: Bytes::from_static(b"entry") };
        assert_eq!(&relayed.to_bytes()[..], b"\0\0\0\0\0\0\0\x01\x02entry");
        assert_eq!(Relayed::parse(relayed.to_bytes(), &key), Ok(relayed));
        assert_eq!(Relayed::parse(Bytes::from_static(b"\0short"), &key), Err(Unusable::Malformed));
        assert_eq!(Relayed::parse(Bytes::from_static(b"\x63new"), &key), Err(Unusable::UnknownKind(99)));
    }

    #[test]
    fn an_attestation_is_its_senders_own() {
        let [ours, another] = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let relayed = Relayed::Attestation(Attestation { signature: header().attest(&ours), header: header() });
        let bytes = relayed.to_bytes();
        assert_eq!(Relayed::parse(bytes.clone(), &ours.public()), Ok(relayed));
        assert_eq!(Relayed::parse(bytes.clone(), &another.public()), Err(Unusable::Malformed));
        assert_eq!(Relayed::parse(bytes.slice(..bytes.len() - 1), &ours.public()), Err(Unusable::Malformed));
    }
}
