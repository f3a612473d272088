//! What all entries of one signer have in common: a statement in deterministic CBOR, signed as its own type.

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::{Digest, PublicKey, StatementType};

use crate::entry::Invalid;

const VERSION: u64 = 1;

/// A signed statement of one party.
pub trait Statement {
    /// Its kind's number in an entry's encoding.
    fn kind(&self) -> u64;
    /// The name of its leaf, and its own for people.
    fn name(&self) -> &'static str;
    /// What the signature is about.
    fn statement_type(&self) -> StatementType;
    /// Digest of the market's genesis.
    fn genesis(&self) -> &Digest;
    /// Whoever signs it.
    fn signer(&self) -> &PublicKey;
    /// The signed bytes.
    fn statement(&self) -> Vec<u8>;
    /// Checks the fields that need no ledger state.
    ///
    /// # Errors
    /// [`Invalid`], the signer's fault.
    fn check_fields(&self) -> Result<(), Invalid>;
}

/// Implements [`Statement`] and signing for an entry with the fields `genesis` and `$signer`, and the functions `encode`
/// and `fields`.
macro_rules! statement {
    ($entry:ident, $kind:expr, $name:literal, $signer:ident) => {
        statement!($entry, $kind, $name, $signer, std::convert::identity);
    };
    ($entry:ident, $kind:expr, $name:literal, $signer:ident, $wrap:expr) => {
        impl $crate::entry::Statement for $entry {
            fn kind(&self) -> u64 {
                $kind
            }

            fn name(&self) -> &'static str {
                $name
            }

            fn statement_type(&self) -> dropbear_certificates::StatementType {
                dropbear_certificates::StatementType::$entry
            }

            fn genesis(&self) -> &dropbear_certificates::Digest {
                &self.genesis
            }

            fn signer(&self) -> &dropbear_certificates::PublicKey {
                &self.$signer
            }

            fn statement(&self) -> Vec<u8> {
                self.encode()
            }

            fn check_fields(&self) -> Result<(), $crate::entry::Invalid> {
                self.fields()
            }
        }

        impl $entry {
            /// The entry, signed.
            #[must_use]
            pub fn sign(self, key: &dropbear_certificates::SecretKey) -> $crate::entry::Entry {
                let signature = dropbear_certificates::StatementType::$entry.sign(key, &self.encode());
                $crate::entry::Entry::$entry($wrap(self), signature)
            }
        }
    };
}
pub(super) use statement;

/// How every owner's statement begins.
pub(super) struct Head {
    pub(super) genesis: Digest,
    pub(super) owner: PublicKey,
    pub(super) serial: u64,
}

/// Begins an owner's statement of `items` items, the head's four included.
pub(super) fn begin(items: usize, genesis: &Digest, owner: &PublicKey, serial: u64) -> Encoder {
    let mut out = Encoder::new();
    out.array(items).uint(VERSION).digest(genesis).bytes(owner.as_bytes()).uint(serial);
    out
}

/// Reads what [`begin`] wrote; the fields follow.
pub(super) fn read(bytes: &[u8], items: usize) -> Result<(Decoder<'_>, Head), CborError> {
    let mut input = Decoder::new(bytes);
    input.array_of(items)?;
    input.key(VERSION)?;
    let head = Head { genesis: input.digest()?, owner: public_key(&mut input)?, serial: input.uint()? };
    Ok((input, head))
}

pub(super) fn public_key(input: &mut Decoder<'_>) -> Result<PublicKey, CborError> {
    PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)
}
