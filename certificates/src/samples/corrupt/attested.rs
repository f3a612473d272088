//! Paths, quorums, signatures, and what a quorum must not sign.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::certificate::Certificate;
use crate::digest::Digest;
use crate::header::Header;
use crate::policy::{Assurance, Policy};
use crate::record::Record;
use crate::samples::corrupt::{Add, Raw, replace};
use crate::samples::market::Market;
use crate::samples::valid::{classes, common};

pub(super) fn paths_and_signatures(add: &mut dyn FnMut(&'static str, &str, Vec<u8>)) {
    let case = common().bare();
    let raw = Raw::of(&case.certified());
    let mut with = |code, name: &str, change: &dyn Fn(&mut Raw)| {
        let mut raw = raw.clone();
        change(&mut raw);
        add(code, name, raw.to_bytes());
    };
    with("bad-path", "a-node-too-many", &|raw| raw.items[1].extend([0; 32]));
    with("bad-path", "a-node-too-few", &|raw| raw.items[1].truncate(9 * 32));
    with("bad-path", "empty", &|raw| raw.items[1].clear());
    with("bad-signature", "another-path", &|raw| raw.items[1][0] ^= 1);
    with("bad-signature", "two-nodes-swapped", &|raw| raw.items[1][..64].rotate_left(32));
    with("bad-signature", "one-bit", &|raw| raw.items[3][70] ^= 1);
    with("bad-signature", "signers-permuted", &|raw| raw.items[3][..128].rotate_left(64));
    with("bad-signature", "one-signature-for-all", &|raw| raw.items[3].copy_within(..64, 64));
    with("bad-signature", "another-signer-claimed", &|raw| raw.items[2] = vec![0b0111]);
    with("bad-signature", "r-is-the-identity", &|raw| {
        raw.items[3][..32].copy_from_slice(&crate::key::IDENTITY);
    });
    with("bad-signature", "s-plus-the-group-order", &|raw| add_group_order(&mut raw.items[3][32..64]));
    with("bad-signature", "all-zero", &|raw| raw.items[3][..64].fill(0));
    with("bad-signature", "another-request", &|raw| replace(&mut raw.items[4], b"imagenet", b"imagenes"));
    with("bad-signature", "another-ledger-root", &|raw| {
        let root = Digest::of(b"earlier headers");
        replace(&mut raw.items[0], &root.0, &Digest::of(b"other headers").0);
    });
    let beyond = case.certify_header(&[1, 2, 3], |header| header.tree_size = 37);
    add("bad-path", "index-beyond-the-tree", beyond.to_bytes());
    let deeper = case.certify_header(&[1, 2, 3], |header| header.tree_size = 4096);
    add("bad-path", "another-tree-size", deeper.to_bytes());
    let mut torsion = case.certified();
    torsion_on_r(&mut torsion.signatures[0]);
    add("bad-signature", "r-plus-torsion", torsion.to_bytes());
    let other = Header { genesis: Digest::of(b"another market"), ..case.header().0 };
    add("other-genesis", "in-the-header", case.certify_header(&[1, 2, 3], |header| *header = other).to_bytes());
    let config = case.certify_header(&[1, 2, 3], |header| header.config = Digest::of(b"config"));
    add("unknown-committee", "another-config", config.to_bytes());
    let epoch = case.certify_header(&[1, 2, 3], |header| header.epoch = 1);
    add("unknown-committee", "a-later-epoch", epoch.to_bytes());
    let charter = case.clone().record(|record| record.charter = Digest::of(b"charter"));
    add("unknown-charter", "in-the-record", charter.certified().to_bytes());
    let late = case.record(|record| record.expiry_ms = record.agreed_ms - 1);
    add("expired-request", "by-a-millisecond", late.certified().to_bytes());
}

/// S + L: the same residue, not canonical.
fn add_group_order(s: &mut [u8]) {
    const ORDER: [u8; 16] =
        [0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14];
    let mut carry = 0;
    for (place, byte) in s.iter_mut().enumerate() {
        let more = ORDER.get(place).copied().unwrap_or(if place == 31 { 0x10 } else { 0 });
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
}

fn torsion_on_r(signature: &mut [u8; 64]) {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::CompressedEdwardsY;
    let r = CompressedEdwardsY::from_slice(&signature[..32]).ok().and_then(|r| r.decompress());
    if let Some(r) = r {
        signature[..32].copy_from_slice((r + EIGHT_TORSION[1]).compress().as_bytes());
    }
}

/// One attestation less than a quorum, at every remainder of n.
pub(super) fn quorums(add: &mut Add<'_>) {
    for members in [4, 5, 6, 7, 31] {
        let market = Market::new(members, 4, Policy::Plurality);
        let case = market.decide(&classes(&[285; 4]), Assurance::Robust).bare();
        let few: Vec<_> = (1..market.committee.quorum()).collect();
        add("no-quorum", &format!("of-{members}"), &market.genesis, case.certify(&few).to_bytes());
    }
    let case = common().bare();
    add("no-quorum", "nobody", &case.market.genesis, case.certify(&[]).to_bytes());
}

pub(super) fn contradictions(add: &mut dyn FnMut(&str, Certificate)) {
    let mut with = |name: &str, change: fn(&mut Record)| add(name, common().bare().record(change).certified());
    with("genesis", |record| record.genesis = Digest::of(b"another market"));
    with("epoch", |record| record.epoch = 1);
    with("config", |record| record.config = Digest::of(b"config"));
    with("seq", |record| record.seq += 1);
    with("agreed-time", |record| record.agreed_ms += 1);
    with("leaf-zero", |record| record.leaf_index = 0);
    with("group", |record| record.group = "imagenot".into());
    with("policy", |record| record.policy = Policy::Exact { quorum: 3 });
    with("policy-not-well-formed", |record| record.policy = Policy::Exact { quorum: 100 });
    with("fault-bound", |record| record.faults = 0);
    with("owners", |record| {
        record.owners = 5;
        record.votes[0].owners = (0..4).fold(Bitmap::new(5), |mut map, place| {
            map.insert(place);
            map
        });
    });
}
