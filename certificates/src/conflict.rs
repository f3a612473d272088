//! The conflict check: do two attested headers contradict each other, and who is guilty of it?
//!
//! An honest coordinator attests at most one header per seq, and only headers whose ledger root covers every header
//! before. Two quorums of one committee share more than f members, so every conflict names at least f + 1 guilty keys,
//! whatever the number of traitors.

use alloc::vec::Vec;

use crate::attachments::{decode_path, encode_path};
use crate::bitmap::Bitmap;
use crate::cbor::{CborError, Decoder, Encoder};
use crate::digest::Digest;
use crate::genesis::Committee;
use crate::header::{Header, TEMPLATE_BYTES_MAX, ledger_leaf};
use crate::key::PublicKey;
use crate::merkle;
use crate::verify::Verified;

const VERSION: u64 = 1;

/// A header with the keys of the quorum that attested it. Only verification makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    pub(crate) header: Header,
    pub(crate) keys: Vec<PublicKey>,
}

impl Attested {
    pub(crate) fn new(header: Header, committee: &Committee, signers: &Bitmap) -> Self {
        Self { header, keys: signers.iter().map(|place| committee.members[place].attestation).collect() }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The keys that attested it.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    fn shared(&self, other: &Self) -> Vec<PublicKey> {
        self.keys.iter().filter(|key| other.keys.contains(key)).copied().collect()
    }
}

/// What stands at an earlier seq under a later header's ledger root: that header, and its path in the ledger tree.
///
/// The template is kept as it came: a traitorous quorum may have put there what is no header at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerOpening {
    /// Template of the earlier header, by the later one's account.
    pub template: Vec<u8>,
    /// Its record root.
    pub record_root: Digest,
    /// Its inclusion path in the ledger tree: leaf `seq - 1` of a tree of `later seq - 1`.
    pub path: Vec<Digest>,
}

impl LedgerOpening {
    /// The opening of this header.
    #[must_use]
    pub fn new(header: &Header, path: Vec<Digest>) -> Self {
        Self { template: header.template(), record_root: header.record_root, path }
    }

    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(4).uint(VERSION).bytes(&self.template).digest(&self.record_root);
        encode_path(&mut out, &self.path);
        out.finish()
    }

    /// Reads what [`LedgerOpening::to_bytes`] wrote; nothing is verified.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no opening: they are refused as `malformed`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(4)?;
        input.key(VERSION)?;
        let template = input.bytes(TEMPLATE_BYTES_MAX)?.to_vec();
        let (record_root, path) = (input.digest()?, decode_path(&mut input)?);
        input.finish()?;
        Ok(Self { template, record_root, path })
    }

    /// Whether this is what `later`'s ledger root holds at `seq`.
    fn opens(&self, later: &Header, seq: u64) -> bool {
        let leaf = ledger_leaf(&self.template, &self.record_root);
        merkle::root_from_path(leaf, seq - 1, later.seq - 1, &self.path) == Some(later.ledger_root)
    }

    fn is_of(&self, header: &Header) -> bool {
        self.record_root == header.record_root && self.template == header.template()
    }
}

/// How two attested headers contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// Two different headers at one seq of one config.
    SameSeq,
    /// The later header's ledger root holds another header at the earlier seq.
    Rewritten,
    /// One ledger holds two outcomes of one request id.
    TwoOutcomes,
}

/// What the conflict check comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They contradict each other; these keys are guilty.
    Conflict {
        /// How.
        kind: ConflictKind,
        /// The guilty: at least f + 1 members, ascending by place in the committee.
        guilty: Vec<PublicKey>,
    },
    /// Both belong to one ledger, or to different markets.
    Consistent,
    /// Cannot be told from what is at hand.
    Unresolved(Missing),
}

/// What a conflict check lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The opening of the earlier header under the later one's ledger root.
    #[error("show the opening of the earlier header under the later header's ledger root")]
    Opening,
    /// The opening at hand is not one of the later header's ledger root.
    #[error("the opening does not lead to the later header's ledger root")]
    OtherOpening,
    /// The headers are of different epochs: compare each with the last header of the earlier epoch.
    #[error("the headers are of different epochs: check each against the last header of the earlier epoch")]
    Epoch,
}

/// Checks two attested headers, in any order. `opening` is what the later one's ledger root holds at the earlier seq.
#[must_use]
pub fn check_headers(a: &Attested, b: &Attested, opening: Option<&LedgerOpening>) -> Verdict {
    let (earlier, later) = if a.header.seq <= b.header.seq { (a, b) } else { (b, a) };
    if earlier.header.genesis != later.header.genesis || earlier.header == later.header {
        return Verdict::Consistent;
    }
    let same_config = (earlier.header.epoch, earlier.header.config) == (later.header.epoch, later.header.config);
    let conflict = |kind| match same_config {
        true => Verdict::Conflict { kind, guilty: earlier.shared(later) },
        false => Verdict::Unresolved(Missing::Epoch),
    };
    if earlier.header.seq == later.header.seq {
        return conflict(ConflictKind::SameSeq);
    }
    match opening {
        None => Verdict::Unresolved(Missing::Opening),
        Some(opening) if !opening.opens(&later.header, earlier.header.seq) => {
            Verdict::Unresolved(Missing::OtherOpening)
        }
        Some(opening) if opening.is_of(&earlier.header) => Verdict::Consistent,
        Some(_) => conflict(ConflictKind::Rewritten),
    }
}

/// Checks two verified certificates: their headers, and, where one ledger holds both, their request ids. Every attestor of
/// the later header is guilty of a second outcome for one request id.
#[must_use]
pub fn check(a: &Verified, b: &Verified, opening: Option<&LedgerOpening>) -> Verdict {
    let verdict = check_headers(&a.attested(), &b.attested(), opening);
    let (place_a, place_b) = ((a.record().seq, a.record().leaf_index), (b.record().seq, b.record().leaf_index));
    let one_market = a.record().genesis == b.record().genesis;
    if verdict != Verdict::Consistent || !one_market || a.record().request != b.record().request || place_a == place_b {
        return verdict;
    }
    let later = if place_a < place_b { b } else { a };
    Verdict::Conflict { kind: ConflictKind::TwoOutcomes, guilty: later.attested().keys }
}
