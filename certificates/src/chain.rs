//! The governance chain: how trust in a genesis reaches a later committee and changed charters.
//!
//! `Config(e + 1)` is an entry of the last block of epoch e, so it is certified by epoch e's quorum; a changed charter is
//! certified the same way. A chain is a list of such entries with their proofs. It travels as an attachment or as a file
//! of its own. [`TrustRoot::extended`](crate::TrustRoot::extended) verifies it.

use alloc::string::String;
use alloc::vec::Vec;

use crate::attachments::{chunks, decode_path, encode_path};
use crate::bitmap::{Bitmap, PLACES_MAX};
use crate::cbor::{CborError, Decoder, Encoder};
use crate::charter::Charter;
use crate::digest::Digest;
use crate::error::Refusal;
use crate::genesis::{CHARTER_BYTES_MAX, Committee};
use crate::header::{Header, TEMPLATE_BYTES_MAX};
use crate::key::{SIGNATURE_BYTES, Signature};

/// A chain has at most this many links.
pub const CHAIN_LINKS_MAX: usize = 1024;

/// A chain in a file of its own is at most this large.
pub const CHAIN_BYTES_MAX: usize = 16 << 20;

const ENTRY_BYTES_MAX: usize = CHARTER_BYTES_MAX + 512;
const VERSION: u64 = 1;

/// The next epoch's committee, as a leaf of the last block of its predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// Config digest of the epoch that ends.
    pub previous: Digest,
    /// The committee of the epoch that begins.
    pub committee: Committee,
}

/// A new or changed charter, as a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharterEntry {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// Digest of the group's charter until then; `None` for a new group.
    pub previous: Option<Digest>,
    /// The first seq at which the new charter is in force, after the entry's own.
    pub from_seq: u64,
    /// The charter.
    pub charter: Charter,
}

/// A ledger entry that changes what verifiers trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GovernanceEntry {
    /// The next committee.
    Config(ConfigEntry),
    /// A new or changed charter.
    Charter(CharterEntry),
}

impl GovernanceEntry {
    /// The leaf's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        match self {
            Self::Config(entry) => {
                out.array(5).text("config").uint(VERSION).digest(&entry.genesis).digest(&entry.previous);
                out.bytes(&entry.committee.to_bytes());
            }
            Self::Charter(entry) => {
                out.array(6).text("charter").uint(VERSION).digest(&entry.genesis);
                match &entry.previous {
                    Some(previous) => out.digest(previous),
                    None => out.null(),
                };
                out.uint(entry.from_seq).bytes(&entry.charter.to_bytes());
            }
        }
        out.finish()
    }

    /// Reads a leaf's bytes.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no governance entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        let items = input.array(6)?;
        let kind: String = input.text(16)?.into();
        input.key(VERSION)?;
        let genesis = input.digest()?;
        let entry = match (kind.as_str(), items) {
            ("config", 5) => {
                let previous = input.digest()?;
                let committee = Committee::from_bytes(input.bytes(ENTRY_BYTES_MAX)?)?;
                Self::Config(ConfigEntry { genesis, previous, committee })
            }
            ("charter", 6) => {
                let previous = if input.null() { None } else { Some(input.digest()?) };
                let from_seq = input.uint()?;
                let charter = Charter::from_bytes(input.bytes(CHARTER_BYTES_MAX)?)?;
                Self::Charter(CharterEntry { genesis, previous, from_seq, charter })
            }
            _ => return Err(CborError::Bounds),
        };
        input.finish()?;
        Ok(entry)
    }

    /// Digest of the market's genesis.
    #[must_use]
    pub const fn genesis(&self) -> &Digest {
        match self {
            Self::Config(entry) => &entry.genesis,
            Self::Charter(entry) => &entry.genesis,
        }
    }
}

/// One governance entry with its proof, as received; nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLink {
    pub(crate) template: Vec<u8>,
    pub(crate) index: u64,
    pub(crate) path: Vec<Digest>,
    pub(crate) signers: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
    pub(crate) entry: Vec<u8>,
}

impl ChainLink {
    /// Puts a link together: `path` is the entry's inclusion path from leaf `index` of the block under `header`,
    /// `attestations` are (place in the committee, signature), ascending.
    #[must_use]
    pub fn new(
        header: &Header,
        entry: &GovernanceEntry,
        index: u64,
        path: Vec<Digest>,
        committee: &Committee,
        attestations: &[(usize, Signature)],
    ) -> Self {
        let (signers, signatures) = split_attestations(committee, attestations);
        Self { template: header.template(), index, path, signers, signatures, entry: entry.to_bytes() }
    }

    /// The entry, not verified; `None` if there is none.
    #[must_use]
    pub fn entry(&self) -> Option<GovernanceEntry> {
        GovernanceEntry::from_bytes(&self.entry).ok()
    }

    /// About how large the link is in a chain.
    #[must_use]
    pub fn size(&self) -> usize {
        let hashes = self.path.len() * size_of::<Digest>() + self.signatures.len() * SIGNATURE_BYTES;
        self.template.len() + self.signers.len() + self.entry.len() + hashes + 32
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(6).bytes(&self.template).uint(self.index);
        encode_path(out, &self.path);
        out.bytes(&self.signers).bytes(self.signatures.as_flattened()).bytes(&self.entry);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(6)?;
        Ok(Self {
            template: input.bytes(TEMPLATE_BYTES_MAX)?.to_vec(),
            index: input.uint()?,
            path: decode_path(input)?,
            signers: input.bytes(PLACES_MAX.div_ceil(8))?.to_vec(),
            signatures: chunks(input.bytes(SIGNATURE_BYTES * PLACES_MAX)?)?.to_vec(),
            entry: input.bytes(ENTRY_BYTES_MAX)?.to_vec(),
        })
    }
}

/// The raw bitmap of the signers and their signatures, ascending.
pub(crate) fn split_attestations(
    committee: &Committee,
    attestations: &[(usize, Signature)],
) -> (Vec<u8>, Vec<Signature>) {
    let mut signers = Bitmap::new(committee.members.len());
    for (place, _) in attestations {
        signers.insert(*place);
    }
    (signers.as_bytes().to_vec(), attestations.iter().map(|(_, signature)| *signature).collect())
}

/// Governance entries with their proofs, in ledger order; nothing is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GovernanceChain(pub Vec<ChainLink>);

impl GovernanceChain {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.array(2).uint(VERSION).array(self.0.len());
        self.0.iter().for_each(|link| link.encode(out));
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(2)?;
        input.key(VERSION)?;
        let links = (0..input.array(CHAIN_LINKS_MAX)?).map(|_| ChainLink::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self(links))
    }

    /// The chain as a file of its own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.encode(&mut out);
        out.finish()
    }

    /// Reads what [`GovernanceChain::to_bytes`] wrote; nothing is verified.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] or [`Refusal::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > CHAIN_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut input = Decoder::new(bytes);
        let chain = Self::decode(&mut input).map_err(Refusal::Malformed)?;
        input.finish().map_err(Refusal::Malformed)?;
        Ok(chain)
    }
}
