//! Quorums: attestations as they come in, held against the committee's keys and grouped by the header they speak of.

use std::collections::BTreeMap;

use dropbear_certificates::{Committee, Digest, GovernanceEntry, Header, Record, Signature, TrustRoot, merkle};
use dropbear_consensus::Entry;
use dropbear_consensus::block::statement_leaf;
use dropbear_wire::convert::{Attested, path};
use dropbear_wire::v1;

/// What is wrong with a coordinator's reply; always its fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyFault {
    #[error("its reply is malformed: {0}")]
    Malformed(&'static str),
    #[error("it answered as another member ({0})")]
    OtherMember(usize),
    #[error("its header belongs to another market or committee")]
    OtherMarket,
    #[error("its attestation does not verify")]
    Forged,
    #[error("a leaf's path does not lead to the header's record root")]
    Path,
    #[error("it sent the leaves of another entry")]
    OtherEntry,
}

/// A quorum's attestations of one header.
#[derive(Clone, Debug)]
pub(crate) struct Quorum {
    pub(crate) header: Header,
    /// (place, signature), ascending.
    pub(crate) attestations: Vec<(usize, Signature)>,
}

/// Attestations so far.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    trust: &'a TrustRoot,
    headers: BTreeMap<Digest, (Header, BTreeMap<usize, Signature>)>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(trust: &'a TrustRoot) -> Self {
        Self { trust, headers: BTreeMap::new() }
    }

    fn committee(&self) -> &Committee {
        &self.trust.genesis().committee
    }

    /// Takes what the coordinator of `member` attests; gives its header.
    pub(crate) fn take(&mut self, member: usize, attested: &v1::Attested) -> Result<Header, ReplyFault> {
        let attested = Attested::try_from(attested).map_err(|malformed| ReplyFault::Malformed(malformed.0))?;
        if attested.member != member {
            return Err(ReplyFault::OtherMember(attested.member));
        }
        let header = attested.header;
        if header.genesis != self.trust.digest() || self.trust.committee(header.epoch, &header.config).is_none() {
            return Err(ReplyFault::OtherMarket);
        }
        if let Some(signature) = attested.signature {
            let key = &self.committee().members[member].attestation;
            if !header.is_attested(key, &signature) {
                return Err(ReplyFault::Forged);
            }
            let name = Digest::of(&header.to_bytes());
            let known = self.headers.entry(name).or_insert_with(|| (header.clone(), BTreeMap::new()));
            known.1.insert(member, signature);
        }
        Ok(header)
    }

    /// The header that q members attest, once there is one.
    pub(crate) fn quorum(&self) -> Option<Quorum> {
        let needed = self.committee().quorum();
        let (header, attestations) = self.headers.values().find(|(_, attestations)| attestations.len() >= needed)?;
        let attestations = attestations.iter().take(needed).map(|(place, signature)| (*place, *signature)).collect();
        Some(Quorum { header: header.clone(), attestations })
    }
}

/// A record with the path that leads from it to a header's record root.
#[derive(Clone, Debug)]
pub(crate) struct ProvenRecord {
    pub(crate) record: Record,
    pub(crate) path: Vec<Digest>,
}

/// What an owner's entry left in a block.
#[derive(Clone, Debug)]
pub(crate) struct OwnLeaves {
    /// The entry's leaf.
    pub(crate) index: u64,
    /// From which block the first of the charters that it enacts is in force.
    pub(crate) charter_from: Option<u64>,
}

/// Checks a leaf against a header; gives its path.
fn proven_path(leaf: &v1::Leaf, header: &Header) -> Result<Vec<Digest>, ReplyFault> {
    let path = path(leaf).map_err(|malformed| ReplyFault::Malformed(malformed.0))?;
    let hash = merkle::leaf_hash(&leaf.data);
    match merkle::root_from_path(hash, leaf.index, header.tree_size, &path) {
        Some(root) if root == header.record_root => Ok(path),
        _ => Err(ReplyFault::Path),
    }
}

/// Checks that these are the leaves of `entry`, its own and those of charters after it; `None` without leaves.
pub(crate) fn own_leaves(entry: &Entry, leaves: &[v1::Leaf], header: &Header) -> Result<Option<OwnLeaves>, ReplyFault> {
    let (Some((first, others)), Some((statement, signature))) = (leaves.split_first(), entry.statement()) else {
        return Ok(None);
    };
    proven_path(first, header)?;
    if statement_leaf(statement, signature, header.seq, first.index) != first.data {
        return Err(ReplyFault::OtherEntry);
    }
    let mut charter_from: Option<u64> = None;
    for (leaf, index) in others.iter().zip(first.index + 1..) {
        proven_path(leaf, header)?;
        match GovernanceEntry::from_bytes(&leaf.data) {
            Ok(GovernanceEntry::Charter(charter)) if leaf.index == index => {
                charter_from = Some(charter_from.map_or(charter.from_seq, |from| from.min(charter.from_seq)));
            }
            _ => return Err(ReplyFault::OtherEntry),
        }
    }
    Ok(Some(OwnLeaves { index: first.index, charter_from }))
}

/// Checks a leaf against a header, and reads the record in it.
pub(crate) fn proven_record(leaf: &v1::Leaf, header: &Header) -> Result<ProvenRecord, ReplyFault> {
    let path = proven_path(leaf, header)?;
    let record = Record::from_bytes(&leaf.data).map_err(|_| ReplyFault::Malformed("record"))?;
    Ok(ProvenRecord { record, path })
}
