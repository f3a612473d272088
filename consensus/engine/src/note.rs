//! What engines say to each other outside of the protocol: messages for replicas, and what a starting peer asks.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The version of these messages that we speak, their first byte. Kinds that we do not know come from newer engines of
/// the same version and are passed over; another version is refused.
pub(crate) const VERSION: u8 = 1;
/// Bytes of a note around what it carries at most.
pub(crate) const OVERHEAD_BYTES_MAX: usize = 2 + size_of::<u32>();

const MESSAGE: u8 = 0;
const ASK: u8 = 1;
const TESTIMONY: u8 = 2;

/// One of these messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// For the replica.
    Message(Bytes),
    /// The sender starts and asks what it signed before.
    Ask,
    /// The answer.
    Testimony {
        /// The newest vote of the asking peer that was heard, encoded; empty if there is none.
        vote: Bytes,
        /// What the replica has to show.
        shown: Bytes,
    },
    /// Something that newer engines say.
    Unknown,
}

/// Why a note cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is of another version.
    Version(u8),
    /// It is none.
    Malformed,
}

impl Note {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Self::Message(message) => {
                out.reserve(1 + message.len());
                out.put_u8(MESSAGE);
                out.put_slice(message);
            }
            Self::Ask => out.put_u8(ASK),
            Self::Testimony { vote, shown } => {
                out.put_u8(TESTIMONY);
                out.put_u32(u32::try_from(vote.len()).expect("votes are small"));
                out.put_slice(vote);
                out.put_slice(shown);
            }
            Self::Unknown => unreachable!("nobody says what they do not know"),
        }
        out.freeze()
    }

    pub(crate) fn parse(mut bytes: Bytes) -> Result<Self, Unread> {
        let (Ok(version), Ok(kind)) = (bytes.try_get_u8(), bytes.try_get_u8()) else {
            return Err(Unread::Malformed);
        };
        if version != VERSION {
            return Err(Unread::Version(version));
        }
        match kind {
            MESSAGE => Ok(Self::Message(bytes)),
            ASK => Ok(Self::Ask),
            TESTIMONY => {
                let length = bytes.try_get_u32().map_err(|_| Unread::Malformed)?;
                let length = usize::try_from(length).map_err(|_| Unread::Malformed)?;
                if length > bytes.len() {
                    return Err(Unread::Malformed);
                }
                Ok(Self::Testimony { vote: bytes.split_to(length), shown: bytes })
            }
            _ => Ok(Self::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_golden() {
        let testimony = Note::Testimony { vote: Bytes::from_static(b"vo"), shown: Bytes::from_static(b"shown") };
        for (note, bytes) in [
            (Note::Message(Bytes::from_static(b"entry")), &b"\x01\x00entry"[..]),
            (Note::Ask, b"\x01\x01"),
            (testimony, b"\x01\x02\0\0\0\x02voshown"),
        ] {
            assert_eq!(&note.to_bytes()[..], bytes);
            assert_eq!(Note::parse(Bytes::from_static(bytes)), Ok(note));
        }
    }

    #[test]
    fn newer_kinds_are_passed_over_and_other_versions_named() {
        let parse = |bytes: &'static [u8]| Note::parse(Bytes::from_static(bytes));
        assert_eq!(parse(b"\x01\xc8whatever"), Ok(Note::Unknown));
        assert_eq!(parse(b"\x09\x00entry"), Err(Unread::Version(9)));
        assert_eq!(parse(b"\x01"), Err(Unread::Malformed));
        assert_eq!(parse(b"\x01\x02\0\0\0\x09short"), Err(Unread::Malformed));
    }
}
