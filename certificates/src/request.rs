//! Requests: what a client asks, committed to and named by an id that admits one terminal outcome.

use alloc::string::String;
use alloc::vec::Vec;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::cbor::{CborError, Decoder, Encoder};
use crate::charter::NAME_BYTES_MAX;
use crate::digest::Digest;
use crate::key::{PublicKey, SecretKey, Signature, StatementType};
use crate::policy::{Assurance, Vote};

/// The secret of one request, from which the salt of every commitment derives. Known to the client, the gateway and the
/// model nodes; never to coordinators.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

/// A field that is committed to under its own salt, so that each can be opened alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The request's input.
    Request,
    /// The owners' votes: one salt, so that equal votes show as equal.
    Vote,
    /// The models' full outputs.
    Output,
}

impl Seed {
    /// The salt of a field: `HMAC-SHA-256(seed, field name)`.
    #[must_use]
    pub fn salt(&self, field: Field) -> Digest {
        let name: &[u8] = match field {
            Field::Request => b"request",
            Field::Vote => b"vote",
            Field::Output => b"output",
        };
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any key length");
        mac.update(name);
        Digest(mac.finalize().into_bytes().into())
    }

    /// The seed's own digest, bound by the request commitment so that nobody can substitute another seed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::tagged("dropbear/seed/v1", &[&self.0])
    }
}

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

/// What opens the commitment to one value: the value's own salt, which tells nothing about any other value.
#[must_use]
pub fn value_salt(field_salt: &Digest, value: &[u8]) -> Digest {
    Digest::tagged("dropbear/value-salt/v1", &[field_salt.as_bytes(), value])
}

/// The commitment to a vote under the request's vote salt; `None` for an abstention. Equal votes of one request have
/// equal commitments.
#[must_use]
pub fn vote_commitment(salt: &Digest, vote: &Vote) -> Option<Digest> {
    vote.to_bytes().map(|bytes| vote_commitment_opened(&value_salt(salt, &bytes), &bytes))
}

/// The commitment that one vote's own salt opens; `vote` are the bytes of [`Vote::to_bytes`].
#[must_use]
pub fn vote_commitment_opened(value_salt: &Digest, vote: &[u8]) -> Digest {
    Digest::tagged("dropbear/vote/v1", &[value_salt.as_bytes(), vote])
}

/// The commitment to a combined result under the request's vote salt, for policies whose result is no single vote.
#[must_use]
pub fn result_commitment(salt: &Digest, result: &Vote) -> Option<Digest> {
    result.to_bytes().map(|bytes| result_commitment_opened(&result_salt(salt, &bytes), &bytes))
}

/// The result's own salt.
#[must_use]
pub fn result_salt(field_salt: &Digest, result: &[u8]) -> Digest {
    Digest::tagged("dropbear/result-salt/v1", &[field_salt.as_bytes(), result])
}

/// The commitment that the result's own salt opens.
#[must_use]
pub fn result_commitment_opened(result_salt: &Digest, result: &[u8]) -> Digest {
    Digest::tagged("dropbear/result/v1", &[result_salt.as_bytes(), result])
}

/// The commitment to a model's full output under the request's output salt.
#[must_use]
pub fn output_commitment(salt: &Digest, output: &[u8]) -> Digest {
    Digest::tagged("dropbear/output/v1", &[salt.as_bytes(), Digest::of(output).as_bytes()])
}

/// The digest of one input tensor as the client gave it: name, Open Inference Protocol datatype, shape without the batch
/// dimension, and little-endian contents (for BYTES: the one element's bytes).
#[must_use]
pub fn input_digest(name: &str, datatype: &str, shape: &[u64], data: &[u8]) -> Digest {
    let mut out = Encoder::new();
    out.array(4).text(name).text(datatype).array(shape.len());
    for length in shape {
        out.uint(*length);
    }
    out.digest(&Digest::of(data));
    Digest::tagged("dropbear/input/v1", &[&out.finish()])
}

/// What opens a request commitment: everything but the input itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestOpening {
    /// Salt of the request field.
    pub salt: Digest,
    /// Digest of the client's seed.
    pub seed_digest: Digest,
    /// Digest of the input, see [`input_digest`].
    pub input: Digest,
}

impl RequestOpening {
    /// The opening of a request over `input` under `seed`.
    #[must_use]
    pub fn new(seed: &Seed, input: Digest) -> Self {
        Self { salt: seed.salt(Field::Request), seed_digest: seed.digest(), input }
    }

    /// The commitment that this opens.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        let parts = [self.salt, self.seed_digest, self.input];
        Digest::tagged("dropbear/request/v1", &[&parts[0].0, &parts[1].0, &parts[2].0])
    }
}

/// Who made a request id unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The gateway drew the nonce and signed: the id promises no uniqueness towards the client.
    GatewayMinted,
    /// The client signed with its own key.
    ClientSigned,
}

impl Origin {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// From its number on the wire.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::GatewayMinted),
            1 => Some(Self::ClientSigned),
            _ => None,
        }
    }
}

/// One inference that somebody asks for. Its statement bytes name it: the request id is their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The model group that is asked.
    pub group: String,
    /// Whose key signs: the client's or, where it has none, the gateway's.
    pub key: PublicKey,
    /// Which of the two.
    pub origin: Origin,
    /// Drawn by the signer; the same nonce with the same rest is the same request.
    pub nonce: [u8; 16],
    /// Commitment to the input, see [`RequestOpening`].
    pub commitment: Digest,
    /// Unix time in milliseconds after which no outcome may be recorded.
    pub expiry_ms: u64,
    /// The assurance that the outcome must reach.
    pub demand: Assurance,
}

impl Request {
    /// The bytes that are signed and that the id digests.
    #[must_use]
    pub fn statement(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(256);
        out.array(9).uint(1).digest(&self.genesis).text(&self.group).bytes(self.key.as_bytes());
        out.uint(self.origin.code()).bytes(&self.nonce).digest(&self.commitment);
        out.uint(self.expiry_ms).uint(self.demand.code());
        out.finish()
    }

    /// Reads statement bytes.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no request statement or the key is not admissible.
    pub fn from_statement(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(9)?;
        input.key(1)?;
        let request = Self {
            genesis: input.digest()?,
            group: input.text(NAME_BYTES_MAX)?.into(),
            key: PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)?,
            origin: Origin::from_code(input.uint()?).ok_or(CborError::Bounds)?,
            nonce: input.fixed()?,
            commitment: input.digest()?,
            expiry_ms: input.uint()?,
            demand: Assurance::decode_demand(&mut input)?,
        };
        input.finish()?;
        Ok(request)
    }

    /// The request id.
    #[must_use]
    pub fn id(&self) -> Digest {
        request_id(&self.statement())
    }

    /// Signs the request.
    #[must_use]
    pub fn sign(&self, key: &SecretKey) -> Signature {
        StatementType::Request.sign(key, &self.statement())
    }

    /// Whether the signature is the named key's.
    #[must_use]
    pub fn is_signed(&self, signature: &Signature) -> bool {
        StatementType::Request.verifies(&self.key, &self.statement(), signature)
    }
}

/// A request as its signer holds it: with the signature, and with what opens its commitment later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The request.
    pub request: Request,
    /// The signer's signature over its statement.
    pub signature: Signature,
    /// Opens the commitment.
    pub opening: RequestOpening,
}

/// What a signer decides about a request; the rest follows.
#[derive(Clone, Debug)]
pub struct RequestTerms {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The model group that is asked.
    pub group: String,
    /// Digest of the input, see [`input_digest`].
    pub input: Digest,
    /// Unix time in milliseconds after which no outcome may be recorded.
    pub expiry_ms: u64,
    /// The assurance that the outcome must reach.
    pub demand: Assurance,
}

impl SignedRequest {
    /// Signs a request as a client. `seed` and `nonce` are drawn afresh from a cryptographic source for each request; the
    /// client keeps the seed, which opens every commitment about the request.
    #[must_use]
    pub fn by_client(terms: RequestTerms, key: &SecretKey, seed: &Seed, nonce: [u8; 16]) -> Self {
        Self::signed(terms, key, seed, nonce, Origin::ClientSigned)
    }

    /// Signs a request as a gateway for a client without a key: the record will say so.
    #[must_use]
    pub fn by_gateway(terms: RequestTerms, key: &SecretKey, seed: &Seed, nonce: [u8; 16]) -> Self {
        Self::signed(terms, key, seed, nonce, Origin::GatewayMinted)
    }

    fn signed(terms: RequestTerms, key: &SecretKey, seed: &Seed, nonce: [u8; 16], origin: Origin) -> Self {
        let opening = RequestOpening::new(seed, terms.input);
        let request = Request {
            genesis: terms.genesis,
            group: terms.group,
            key: key.public(),
            origin,
            nonce,
            commitment: opening.commitment(),
            expiry_ms: terms.expiry_ms,
            demand: terms.demand,
        };
        Self { signature: request.sign(key), request, opening }
    }
}

/// The id of the request with these statement bytes.
#[must_use]
pub fn request_id(statement: &[u8]) -> Digest {
    Digest::tagged("dropbear/request-id/v1", &[statement])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> (SecretKey, Request) {
        let key = SecretKey::from_seed(&[3; 32]);
        let opening = RequestOpening::new(&Seed([1; 32]), input_digest("image", "BYTES", &[], b"jpeg"));
        let request = Request {
            genesis: Digest::of(b"genesis"),
            group: "imagenet".into(),
            key: key.public(),
            origin: Origin::ClientSigned,
            nonce: [9; 16],
            commitment: opening.commitment(),
            expiry_ms: 1_800_000_000_000,
            demand: Assurance::Robust,
        };
        (key, request)
    }

    #[test]
    fn a_statement_reads_back_and_is_named_by_every_field() {
        let (key, request) = request();
        assert_eq!(Request::from_statement(&request.statement()), Ok(request.clone()));
        assert!(request.is_signed(&request.sign(&key)));
        let mut other = request.clone();
        other.demand = Assurance::Supported;
        assert_ne!(other.id(), request.id());
        assert!(!other.is_signed(&request.sign(&key)));
    }

    #[test]
    fn a_commitment_binds_seed_and_input() {
        let input = input_digest("image", "BYTES", &[], b"jpeg");
        let commitment = RequestOpening::new(&Seed([1; 32]), input).commitment();
        assert_ne!(commitment, RequestOpening::new(&Seed([2; 32]), input).commitment());
        let other = input_digest("image", "BYTES", &[], b"jpeh");
        assert_ne!(commitment, RequestOpening::new(&Seed([1; 32]), other).commitment());
        assert_ne!(input, input_digest("image", "UINT8", &[], b"jpeg"));
    }

    #[test]
    fn one_vote_opens_without_the_others() {
        let salt = Seed([5; 32]).salt(Field::Vote);
        let bytes = Vote::Class(285).to_bytes().unwrap();
        let own = value_salt(&salt, &bytes);
        assert_eq!(vote_commitment(&salt, &Vote::Class(285)), Some(vote_commitment_opened(&own, &bytes)));
        assert_ne!(own, value_salt(&salt, &Vote::Class(286).to_bytes().unwrap()));
        assert_eq!(vote_commitment(&salt, &Vote::Abstain), None);
    }

    #[test]
    fn a_client_signs_its_own_request() {
        let (key, request) = request();
        let terms = RequestTerms {
            genesis: request.genesis,
            group: request.group.clone(),
            input: input_digest("image", "BYTES", &[], b"jpeg"),
            expiry_ms: request.expiry_ms,
            demand: request.demand,
        };
        let signed = SignedRequest::by_client(terms, &key, &Seed([1; 32]), [9; 16]);
        assert_eq!(signed.request, request);
        assert!(request.is_signed(&signed.signature));
    }

    #[test]
    fn fields_have_different_salts() {
        let seed = Seed([5; 32]);
        assert_ne!(seed.salt(Field::Request), seed.salt(Field::Vote));
        assert_ne!(seed.salt(Field::Vote), seed.salt(Field::Output));
    }
}
