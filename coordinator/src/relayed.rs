//! What coordinators relay to each other: an entry, before it is ordered, and its sender's patience.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// An entry on its way to a peer: eight big-endian bytes of patience, then the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) patience_ms: u64,
    pub(crate) entry: Bytes,
}

impl Relayed {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(size_of::<u64>() + self.entry.len());
        out.put_u64(self.patience_ms);
        out.put_slice(&self.entry);
        out.freeze()
    }

    /// `None` if the message is too short to be one.
    pub(crate) fn parse(mut message: Bytes) -> Option<Self> {
        let patience_ms = message.try_get_u64().ok()?;
        Some(Self { patience_ms, entry: message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_travels_in_front_of_the_entry() {
        let relayed = Relayed { patience_ms: 258, entry: Bytes::from_static(b"entry") };
        assert_eq!(&relayed.to_bytes()[..], b"\0\0\0\0\0\0\x01\x02entry");
        assert_eq!(Relayed::parse(relayed.to_bytes()), Some(relayed));
        assert_eq!(Relayed::parse(Bytes::from_static(b"short")), None);
    }
}
