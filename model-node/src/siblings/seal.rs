//! Codes between nodes that hold the same owner's key.

use bytes::Bytes;
use dropbear_certificates::{Digest, SecretKey};
use dropbear_wire::v1::Sealed;

const CONTEXT: &str = "dropbear 1 siblings of one owner";
/// No CBOR statement begins like this, so the signature is none over a statement; it never leaves the process.
const SECRET_OF: &[u8] = b"dropbear/siblings/v1";

/// What a message is, so that none can pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Votes to be kept.
    Settle,
    /// The votes that stand.
    Settled,
    /// Asks for a version.
    Fetch,
    /// A piece of a version.
    Piece,
}

/// The message was not made by a node with the owner's key, or is no answer to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message was not sealed with this owner's key in this market: give every node of the owner the same key")]
pub struct NotSealed;

/// The secret that the nodes of one owner share in one market.
#[derive(Clone)]
pub struct Seal([u8; 32]);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(hidden)")
    }
}

impl Seal {
    /// The secret that follows from the owner's key: Ed25519 signatures are deterministic, and only the key's holders
    /// can make this one.
    #[must_use]
    pub fn new(key: &SecretKey, genesis: &Digest) -> Self {
        let secret = key.sign(&[SECRET_OF, genesis.as_bytes()].concat());
        Self(blake3::derive_key(CONTEXT, &secret))
    }

    /// Seals a message. An answer names the `asked` code; a question and the like have none.
    #[must_use]
    pub fn seal(&self, kind: Kind, asked: &[u8], body: Vec<u8>) -> Sealed {
        let code = self.code(kind, asked, &body);
        Sealed { body: body.into(), code: Bytes::copy_from_slice(code.as_bytes()) }
    }

    /// The body of a sealed message.
    ///
    /// # Errors
    /// [`NotSealed`]
    pub fn open<'a>(&self, kind: Kind, asked: &[u8], sealed: &'a Sealed) -> Result<&'a [u8], NotSealed> {
        let code = <[u8; 32]>::try_from(&*sealed.code).map_err(|_| NotSealed)?;
        // Compared in constant time.
        if self.code(kind, asked, &sealed.body) == code { Ok(&sealed.body) } else { Err(NotSealed) }
    }

    fn code(&self, kind: Kind, asked: &[u8], body: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[kind as u8]).update(&(asked.len() as u64).to_le_bytes()).update(asked).update(body);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: u8, genesis: &[u8]) -> Seal {
        Seal::new(&SecretKey::from_seed(&[key; 32]), &Digest::of(genesis))
    }

    #[test]
    fn a_message_opens_where_key_market_kind_and_question_are_the_same() {
        let ours = seal(1, b"market");
        let sealed = ours.seal(Kind::Settled, b"question", b"body".to_vec());
        assert_eq!(seal(1, b"market").open(Kind::Settled, b"question", &sealed), Ok(&b"body"[..]));
        for (other, kind, asked) in [
            (seal(2, b"market"), Kind::Settled, &b"question"[..]),
            (seal(1, b"bazaar"), Kind::Settled, b"question"),
            (ours.clone(), Kind::Settle, b"question"),
            (ours.clone(), Kind::Settled, b"another"),
        ] {
            assert_eq!(other.open(kind, asked, &sealed), Err(NotSealed));
        }
        let changed = Sealed { body: Bytes::from_static(b"bodies"), ..sealed.clone() };
        assert_eq!(ours.open(Kind::Settled, b"question", &changed), Err(NotSealed));
        assert_eq!(ours.open(Kind::Settled, b"question", &Sealed { code: Bytes::new(), ..sealed }), Err(NotSealed));
    }
}
