//! Quorums: attestations as they come in, held against the committee's keys and grouped by the header they speak of.

use std::collections::BTreeMap;

use dropbear_certificates::{Committee, Digest, Header, Record, Signature, TrustRoot, merkle};
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

/// Checks a leaf against a header, and reads the record in it.
pub(crate) fn proven_record(leaf: &v1::Leaf, header: &Header) -> Result<ProvenRecord, ReplyFault> {
    let path = path(leaf).map_err(|malformed| ReplyFault::Malformed(malformed.0))?;
    let hash = merkle::leaf_hash(&leaf.data);
    if merkle::root_from_path(hash, leaf.index, header.tree_size, &path) != Some(header.record_root) {
        return Err(ReplyFault::Path);
    }
    let record = Record::from_bytes(&leaf.data).map_err(|_| ReplyFault::Malformed("record"))?;
    Ok(ProvenRecord { record, path })
}
