//! A market that changed its charter and then its committee.

use alloc::vec;
use alloc::vec::Vec;

use crate::chain::{ChainLink, CharterEntry, ConfigEntry, GovernanceChain, GovernanceEntry};
use crate::digest::Digest;
use crate::genesis::Committee;
use crate::header::Header;
use crate::merkle;
use crate::policy::{Assurance, Policy};
use crate::samples::market::{CREATED_MS, Market, Role, committee, key};

/// Seq of the block with the changed charter.
pub const CHARTER_SEQ: u64 = 20;
/// The first seq at which it is in force.
pub const CHARTER_FROM_SEQ: u64 = 30;
/// Seq of the last block of epoch 0, with the config of epoch 1.
pub const CONFIG_SEQ: u64 = 40;

/// The market after both changes: another charter from seq 30, seven other members from seq 41.
#[must_use]
pub fn changed_market() -> Market {
    let mut market = Market::new(4, 4, Policy::Plurality);
    market.charter.fee = 2;
    market.charter.assurance = Assurance::Decisive;
    market.committee = committee(1, 7);
    market.seq = 50;
    market.governance_seq = CONFIG_SEQ;
    market
}

/// The entries that made the changes.
#[must_use]
pub fn entries() -> (GovernanceEntry, GovernanceEntry) {
    let (before, after) = (Market::new(4, 4, Policy::Plurality), changed_market());
    let charter = CharterEntry {
        genesis: before.genesis.digest(),
        previous: Some(before.charter.digest()),
        from_seq: CHARTER_FROM_SEQ,
        charter: after.charter,
    };
    let config = ConfigEntry {
        genesis: before.genesis.digest(),
        previous: before.committee.digest(),
        committee: after.committee,
    };
    (GovernanceEntry::Charter(charter), GovernanceEntry::Config(config))
}

/// The chain that proves them.
#[must_use]
pub fn chain() -> GovernanceChain {
    let (charter, config) = entries();
    let committee = committee(0, 4);
    GovernanceChain(vec![
        link(&charter, CHARTER_SEQ, &committee, &[0, 1, 2]),
        link(&config, CONFIG_SEQ, &committee, &[1, 2, 3]),
    ])
}

/// Seq from which the charter of the genesis is in force once more.
pub const RETURN_FROM_SEQ: u64 = 35;

/// The chain of a charter that is replaced and comes back.
#[must_use]
pub fn returning_chain() -> GovernanceChain {
    let (before, committee) = (Market::new(4, 4, Policy::Plurality), committee(0, 4));
    let back = GovernanceEntry::Charter(CharterEntry {
        genesis: before.genesis.digest(),
        previous: Some(changed_market().charter.digest()),
        from_seq: RETURN_FROM_SEQ,
        charter: before.charter,
    });
    GovernanceChain(vec![
        link(&entries().0, CHARTER_SEQ, &committee, &[0, 1, 2]),
        link(&back, RETURN_FROM_SEQ - 1, &committee, &[0, 1, 2]),
    ])
}

/// A link: the entry at leaf 2 of a block of 5.
#[must_use]
pub fn link(entry: &GovernanceEntry, seq: u64, committee: &Committee, signers: &[usize]) -> ChainLink {
    link_with(entry, seq, committee, signers, |_| {})
}

/// A link under a changed header.
#[must_use]
pub fn link_with(
    entry: &GovernanceEntry,
    seq: u64,
    committee: &Committee,
    signers: &[usize],
    change: impl FnOnce(&mut Header),
) -> ChainLink {
    let mut leaves: Vec<_> = (0..5u32).map(|leaf| merkle::leaf_hash(&leaf.to_be_bytes())).collect();
    leaves[2] = merkle::leaf_hash(&entry.to_bytes());
    let mut header = Header {
        genesis: Market::new(4, 4, Policy::Plurality).genesis.digest(),
        epoch: committee.epoch,
        config: committee.digest(),
        seq,
        tree_size: 5,
        ledger_root: Digest::of(b"earlier headers"),
        governance_seq: seq,
        agreed_ms: CREATED_MS + 1_000 * seq,
        record_root: merkle::root(&leaves),
    };
    change(&mut header);
    let epoch = committee.epoch as u8;
    let attest = |place: &usize| (*place, header.attest(&key(Role::Attestation(epoch), *place as u8)));
    let attestations: Vec<_> = signers.iter().map(attest).collect();
    ChainLink::new(&header, entry, 2, merkle::path(&leaves, 2), committee, &attestations)
}
