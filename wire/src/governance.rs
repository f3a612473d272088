//! Governance chains put together from what several coordinators say.

use std::collections::BTreeMap;

use dropbear_certificates::{
    ChainLink, Committee, Digest, GovernanceChain, GovernanceEntry, Header, Signature, merkle,
};

use crate::convert::{Attested, path};
use crate::v1;

/// One governance entry as honest coordinators show it alike, with whoever attested it.
#[derive(Debug)]
struct Claimed {
    header: Header,
    entry: GovernanceEntry,
    path: Vec<Digest>,
    /// By place in the committee.
    attestations: BTreeMap<usize, Signature>,
}

/// The chain that these replies prove under one committee: every entry that a quorum attested, in ledger order. What a
/// reply claims without a path to its header or a valid attestation is passed over.
#[must_use]
pub fn chain(replies: &[v1::GovernanceReply], committee: &Committee) -> GovernanceChain {
    let mut claims: BTreeMap<(u64, u64), Vec<Claimed>> = BTreeMap::new();
    for link in replies.iter().flat_map(|reply| &reply.links) {
        add(&mut claims, link, committee);
    }
    let proven = |((_, index), claims): ((u64, u64), Vec<Claimed>)| {
        let quorum = |claim: &Claimed| claim.attestations.len() >= committee.quorum();
        let Claimed { header, entry, path, attestations } = claims.into_iter().find(quorum)?;
        let attestations: Vec<_> = attestations.into_iter().take(committee.quorum()).collect();
        Some(ChainLink::new(&header, &entry, index, path, committee, &attestations))
    };
    GovernanceChain(claims.into_iter().filter_map(proven).collect())
}

fn add(
    claims: &mut BTreeMap<(u64, u64), Vec<Claimed>>,
    link: &v1::GovernanceLink,
    committee: &Committee,
) -> Option<()> {
    let (attested, leaf) = (Attested::try_from(link.attested.as_ref()?).ok()?, link.leaf.as_ref()?);
    let (header, path) = (attested.header, path(leaf).ok()?);
    let member = committee.members.get(attested.member)?;
    let signature = attested.signature.filter(|signature| header.is_attested(&member.attestation, signature))?;
    let root = merkle::root_from_path(merkle::leaf_hash(&leaf.data), leaf.index, header.tree_size, &path)?;
    let entry = GovernanceEntry::from_bytes(&leaf.data).ok()?;
    if root != header.record_root {
        return None;
    }
    let known = claims.entry((header.seq, leaf.index)).or_default();
    let same = known.iter().position(|claim| claim.header == header);
    let place = same.unwrap_or_else(|| {
        known.push(Claimed { header, entry, path, attestations: BTreeMap::new() });
        known.len() - 1
    });
    known[place].attestations.insert(attested.member, signature);
    Some(())
}
