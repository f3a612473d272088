//! Certificates: a record, its Merkle path and q attestations, in about one kilobyte.

use alloc::vec::Vec;

use crate::bitmap::{Bitmap, PLACES_MAX};
use crate::cbor::{CborError, Decoder, Encoder};
use crate::charter::ModelSet;
use crate::digest::Digest;
use crate::error::Refusal;
use crate::genesis::Committee;
use crate::header::Header;
use crate::key::{PublicKey, SIGNATURE_BYTES, Signature};
use crate::merkle::{self, PATH_LENGTH_MAX};
use crate::policy::Vote;
use crate::record::Record;
use crate::request::RequestOpening;

/// No certificate is larger.
pub const CERTIFICATE_BYTES_MAX: usize = 65_536;

const VERSION: u64 = 1;
const TEMPLATE_BYTES_MAX: usize = 512;
const RECORD_BYTES_MAX: usize = 16_384;
const MODEL_SET_BYTES_MAX: usize = 32_768;

/// What the holder can show beyond the record; each part opens one of its commitments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    /// Opens the request id and the request commitment.
    pub request: Option<RequestAttachment>,
    /// Opens the votes.
    pub votes: Option<VotesAttachment>,
    /// The model versions in force, behind the model-set digest.
    pub models: Option<ModelSet>,
}

/// Opens the request: with it, the certificate speaks of one input and one requester.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAttachment {
    /// Who signed the request: the client, or the gateway that minted it.
    pub key: PublicKey,
    /// The request's nonce.
    pub nonce: [u8; 16],
    /// Opens the commitment to the input.
    pub opening: RequestOpening,
    /// The requester's signature, where it is shown.
    pub signature: Option<Signature>,
}

/// Opens all votes of a record: one salt, one value per vote group but the abstentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VotesAttachment {
    /// Salt of the vote field.
    pub salt: Digest,
    /// The votes, in the record's order.
    pub votes: Vec<Vote>,
}

impl Attachments {
    fn encode(&self, out: &mut Encoder) {
        let parts = [self.request.is_some(), self.votes.is_some(), self.models.is_some()];
        out.map(parts.into_iter().filter(|part| *part).count());
        if let Some(request) = &self.request {
            out.uint(1).array(6).bytes(request.key.as_bytes()).bytes(&request.nonce);
            out.digest(&request.opening.salt).digest(&request.opening.seed_digest).digest(&request.opening.input);
            match &request.signature {
                Some(signature) => out.bytes(signature),
                None => out.null(),
            };
        }
        if let Some(votes) = &self.votes {
            out.uint(2).array(2).digest(&votes.salt).array(votes.votes.len());
            for vote in &votes.votes {
                vote.encode(out);
            }
        }
        if let Some(models) = &self.models {
            out.uint(3).bytes(&models.to_bytes());
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut attachments = Self::default();
        let mut last = 0;
        for _ in 0..input.map(3)? {
            let key = input.uint()?;
            if key <= last {
                return Err(CborError::NotDeterministic);
            }
            last = key;
            match key {
                1 => attachments.request = Some(RequestAttachment::decode(input)?),
                2 => attachments.votes = Some(VotesAttachment::decode(input)?),
                3 => attachments.models = Some(ModelSet::from_bytes(input.bytes(MODEL_SET_BYTES_MAX)?)?),
                _ => return Err(CborError::Bounds),
            }
        }
        Ok(attachments)
    }
}

impl RequestAttachment {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(6)?;
        let key = PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)?;
        let nonce = input.fixed()?;
        let opening = RequestOpening { salt: input.digest()?, seed_digest: input.digest()?, input: input.digest()? };
        let signature = if input.null() { None } else { Some(input.fixed()?) };
        Ok(Self { key, nonce, opening, signature })
    }
}

impl VotesAttachment {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(2)?;
        let salt = input.digest()?;
        let count = input.array(PLACES_MAX)?;
        let votes = (0..count).map(|_| Vote::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self { salt, votes })
    }
}

/// A certificate as received: parsed, *not verified*. [`Certificate::verify`](crate::verify) makes a
/// [`Verified`](crate::verify::Verified) of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) header: Header,
    pub(crate) path: Vec<Digest>,
    pub(crate) signers: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
    pub(crate) record: Record,
    pub(crate) attachments: Attachments,
}

impl Certificate {
    /// Puts a certificate together; nothing is verified.
    ///
    /// `path` is the record's inclusion path, `attestations` are (place in the committee, signature), ascending.
    #[must_use]
    pub fn new(
        header: Header,
        record: Record,
        path: Vec<Digest>,
        committee: &Committee,
        attestations: &[(usize, Signature)],
        attachments: Attachments,
    ) -> Self {
        let mut signers = Bitmap::new(committee.members.len());
        for (place, _) in attestations {
            signers.insert(*place);
        }
        let mut out = Encoder::new();
        signers.encode(&mut out);
        let encoded = out.finish();
        let signers = encoded[encoded.len() - committee.members.len().div_ceil(8)..].to_vec();
        let signatures = attestations.iter().map(|(_, signature)| *signature).collect();
        Self { header, path, signers, signatures, record, attachments }
    }

    /// The compact form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        let path: Vec<u8> = self.path.iter().flat_map(|node| node.0).collect();
        let signatures: Vec<u8> = self.signatures.iter().flatten().copied().collect();
        out.array(7).uint(VERSION).bytes(&self.header.template()).bytes(&path);
        out.bytes(&self.signers).bytes(&signatures).bytes(&self.record.to_bytes());
        self.attachments.encode(&mut out);
        out.finish()
    }

    /// Parses the compact form strictly: what [`Certificate::to_bytes`] would not write is refused. Proves nothing yet.
    ///
    /// # Errors
    /// [`Refusal`] names the part that is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let malformed = Refusal::Malformed;
        let mut input = Decoder::new(bytes);
        input.array_of(7).map_err(malformed)?;
        match input.uint().map_err(malformed)? {
            VERSION => {}
            version => return Err(Refusal::Version(version)),
        }
        let template = input.bytes(TEMPLATE_BYTES_MAX).map_err(malformed)?;
        let path = chunks(input.bytes(32 * PATH_LENGTH_MAX).map_err(malformed)?).map_err(malformed)?;
        let path: Vec<_> = path.into_iter().map(Digest).collect();
        let signers = input.bytes(PLACES_MAX.div_ceil(8)).map_err(malformed)?.to_vec();
        let signatures = chunks(input.bytes(SIGNATURE_BYTES * PLACES_MAX).map_err(malformed)?).map_err(malformed)?;
        let record_bytes = input.bytes(RECORD_BYTES_MAX).map_err(malformed)?;
        let attachments = Attachments::decode(&mut input).map_err(malformed)?;
        input.finish().map_err(malformed)?;

        let record = Record::from_bytes(record_bytes).map_err(Refusal::Record)?;
        let mut header = Header::from_template(template, Digest::ZERO).map_err(Refusal::Header)?;
        let leaf = merkle::leaf_hash(record_bytes);
        header.record_root =
            merkle::root_from_path(leaf, record.leaf_index, header.tree_size, &path).ok_or(Refusal::Path)?;
        Ok(Self { header, path, signers, signatures, record, attachments })
    }

    /// The certificate's identity: equal for any q attestations of the same record, whatever is attached.
    #[must_use]
    pub fn id(&self) -> Digest {
        let index = self.record.leaf_index.to_be_bytes();
        Digest::tagged("dropbear/certificate/v1", &[self.header.leaf().as_bytes(), &index])
    }

    /// The header, unverified.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The record, unverified.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// What is attached, unverified.
    #[must_use]
    pub const fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// The same certificate with other attachments.
    #[must_use]
    pub fn with_attachments(self, attachments: Attachments) -> Self {
        Self { attachments, ..self }
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> Result<Vec<[u8; N]>, CborError> {
    let (chunks, rest) = bytes.as_chunks();
    if rest.is_empty() { Ok(chunks.to_vec()) } else { Err(CborError::Bounds) }
}
