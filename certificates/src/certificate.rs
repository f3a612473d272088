//! Certificates: a record, its Merkle path and q attestations, in about one kilobyte.

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use crate::attachments::{Attachments, BallotProof, RequestAttachment, ValueOpening, VotesAttachment};
use crate::attachments::{chunks, decode_path, encode_path};
use crate::bitmap::PLACES_MAX;
use crate::cbor::{CborError, Decoder, Encoder};
use crate::chain::split_attestations;
use crate::digest::Digest;
use crate::error::Refusal;
use crate::genesis::Committee;
use crate::header::{Header, TEMPLATE_BYTES_MAX};
use crate::key::{SIGNATURE_BYTES, Signature};
use crate::merkle;
use crate::record::Record;

/// No certificate is larger.
pub const CERTIFICATE_BYTES_MAX: usize = 65_536;

const VERSION: u64 = 1;
const ITEMS: usize = 7;
/// No version, known or to come, has more items.
const ITEMS_MAX: usize = 255;
const RECORD_BYTES_MAX: usize = 16_384;

/// A certificate as received: parsed, *not verified*. [`Certificate::verify`](crate::verify) makes a
/// [`Verified`](crate::verify::Verified) of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) header: Header,
    pub(crate) template: Vec<u8>,
    pub(crate) path: Vec<Digest>,
    pub(crate) signers: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
    pub(crate) record: Record,
    /// Boxed, since certificates are moved and attachments are large and rare.
    pub(crate) attachments: Box<Attachments>,
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
        let (signers, signatures) = split_attestations(committee, attestations);
        Self { template: header.template(), header, path, signers, signatures, record, attachments: attachments.into() }
    }

    /// The compact form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(ITEMS).uint(VERSION).bytes(&self.template);
        encode_path(&mut out, &self.path);
        out.bytes(&self.signers).bytes(self.signatures.as_flattened()).bytes(&self.record.to_bytes());
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
        let mut input = Decoder::new(bytes);
        let items = input.array(ITEMS_MAX).map_err(Refusal::Malformed)?;
        match input.uint().map_err(Refusal::Malformed)? {
            VERSION if items == ITEMS => {}
            VERSION => return Err(Refusal::Malformed(CborError::Bounds)),
            version => return Err(Refusal::Version(version)),
        }
        Parts::decode(input).map_err(Refusal::Malformed)?.assemble()
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
    pub fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// The same certificate with other attachments.
    #[must_use]
    pub fn with_attachments(self, attachments: Attachments) -> Self {
        Self { attachments: attachments.into(), ..self }
    }
}

/// The items of a certificate, cut but not read.
struct Parts<'a> {
    template: &'a [u8],
    path: Vec<Digest>,
    signers: &'a [u8],
    signatures: &'a [Signature],
    record: &'a [u8],
    attachments: Box<Attachments>,
}

impl<'a> Parts<'a> {
    fn decode(mut input: Decoder<'a>) -> Result<Self, CborError> {
        let parts = Self {
            template: input.bytes(TEMPLATE_BYTES_MAX)?,
            path: decode_path(&mut input)?,
            signers: input.bytes(PLACES_MAX.div_ceil(8))?,
            signatures: chunks(input.bytes(SIGNATURE_BYTES * PLACES_MAX)?)?,
            record: input.bytes(RECORD_BYTES_MAX)?,
            attachments: Box::new(Attachments::decode(&mut input)?),
        };
        input.finish()?;
        Ok(parts)
    }

    fn assemble(self) -> Result<Certificate, Refusal> {
        let record = Record::from_bytes(self.record).map_err(Refusal::Record)?;
        let mut header = Header::from_template(self.template, Digest::ZERO).map_err(Refusal::Header)?;
        let leaf = merkle::leaf_hash(self.record);
        header.record_root =
            merkle::root_from_path(leaf, record.leaf_index, header.tree_size, &self.path).ok_or(Refusal::Path)?;
        Ok(Certificate {
            header,
            template: self.template.to_vec(),
            path: self.path,
            signers: self.signers.to_vec(),
            signatures: self.signatures.to_vec(),
            record,
            attachments: self.attachments,
        })
    }
}
