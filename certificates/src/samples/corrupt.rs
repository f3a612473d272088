//! Certificates that must be refused: at least one for every rule of `SPEC.md`, with the reason code.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::attachments::{Attachments, ValueOpening};
use crate::bitmap::Bitmap;
use crate::cbor::Encoder;
use crate::certificate::{CERTIFICATE_BYTES_MAX, Certificate};
use crate::chain::{CharterEntry, ConfigEntry, GovernanceChain, GovernanceEntry};
use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::header::Header;
use crate::policy::{Assurance, Policy, Support, Vote};
use crate::record::{Outcome, Record};
use crate::samples::governance::{self, CHARTER_FROM_SEQ, CHARTER_SEQ, CONFIG_SEQ, changed_market};
use crate::samples::market::{Case, Market, Role, committee, key};
use crate::samples::valid::{Vector, by_policy, classes, common};

/// A certificate cut into its items, to be put together wrongly.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Item 0, encoded.
    pub version: Vec<u8>,
    /// Items 1 to 5: template, path, signers, signatures, record.
    pub items: [Vec<u8>; 5],
    /// Item 6, encoded.
    pub attachments: Vec<u8>,
}

impl Raw {
    /// Cuts a certificate.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        let mut attachments = Encoder::new();
        certificate.attachments.encode(&mut attachments);
        let path = certificate.path.iter().flat_map(|node| node.0).collect();
        let signatures = certificate.signatures.as_flattened().to_vec();
        let record = certificate.record.to_bytes();
        Self {
            version: vec![1],
            items: [certificate.template.clone(), path, certificate.signers.clone(), signatures, record],
            attachments: attachments.finish(),
        }
    }

    /// Puts it together.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(7).raw(&self.version);
        for item in &self.items {
            out.bytes(item);
        }
        out.raw(&self.attachments);
        out.finish()
    }
}

/// Takes a code, a name, the trust root and the certificate.
type Add<'a> = dyn FnMut(&'static str, &str, &Genesis, Vec<u8>) + 'a;

/// All vectors that must be refused.
#[must_use]
pub fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut add = |code: &'static str, name: &str, genesis: &Genesis, certificate: Vec<u8>| {
        vectors.push(Vector {
            name: format!("{code}-{name}"),
            about: name.replace('-', " "),
            genesis: genesis.clone(),
            chain: None,
            certificate,
            code: Some(code),
        });
    };
    let genesis = common().market.genesis;
    envelope(&mut |code, name, bytes| add(code, name, &genesis, bytes));
    malformed_records(&mut |name, bytes| add("malformed-record", name, &genesis, bytes));
    malformed_headers(&mut |name, bytes| add("malformed-header", name, &genesis, bytes));
    paths_and_signatures(&mut |code, name, bytes| add(code, name, &genesis, bytes));
    quorums(&mut add);
    contradictions(&mut |name, certificate| add("contradiction", name, &genesis, certificate.to_bytes()));
    outcomes(&mut |name, case| add("wrong-outcome", name, &case.market.genesis.clone(), case.certified().to_bytes()));
    openings(&mut |code, name, case| add(code, name, &case.market.genesis.clone(), case.certified().to_bytes()));
    governance_spans(&mut vectors);
    vectors
}

fn envelope(add: &mut dyn FnMut(&'static str, &str, Vec<u8>)) {
    let valid = common().certified();
    let (raw, bytes) = (Raw::of(&valid), valid.to_bytes());
    let mut with = |code, name: &str, change: &dyn Fn(&mut Raw)| {
        let mut raw = raw.clone();
        change(&mut raw);
        add(code, name, raw.to_bytes());
    };
    with("malformed", "version-not-shortest", &|raw| raw.version = vec![0x18, 1]);
    with("malformed", "version-is-text", &|raw| raw.version = vec![0x61, b'1']);
    with("unknown-version", "two", &|raw| raw.version = vec![2]);
    with("unknown-version", "zero", &|raw| raw.version = vec![0]);
    with("malformed", "path-not-of-whole-nodes", &|raw| {
        raw.items[1].pop();
    });
    with("malformed", "path-of-33-nodes", &|raw| raw.items[1] = vec![0; 33 * 32]);
    with("malformed", "signatures-not-whole", &|raw| {
        raw.items[3].pop();
    });
    with("malformed", "template-too-long", &|raw| raw.items[0] = vec![0; 513]);
    with("malformed", "record-too-long", &|raw| raw.items[4] = vec![0; 16_385]);
    with("malformed", "signer-padding-bit", &|raw| raw.items[2][0] |= 1 << 4);
    with("malformed", "signer-bitmap-too-long", &|raw| raw.items[2].push(0));
    with("malformed", "signer-bitmap-empty", &|raw| raw.items[2].clear());
    with("malformed", "more-signatures-than-signers", &|raw| {
        raw.items[3].extend([0; 64]);
    });
    with("malformed", "fewer-signatures-than-signers", &|raw| raw.items[3].truncate(128));
    with("malformed", "unknown-attachment", &|raw| raw.attachments = vec![0xa1, 8, 0xf6]);
    with("malformed", "attachment-zero", &|raw| raw.attachments = vec![0xa1, 0, 0xf6]);
    with("malformed", "no-single-votes", &|raw| raw.attachments = vec![0xa1, 5, 0x80]);
    with("malformed", "no-ballots", &|raw| raw.attachments = vec![0xa1, 6, 0x80]);
    with("malformed", "attachments-are-null", &|raw| raw.attachments = vec![0xf6]);
    with("malformed", "attachments-are-a-list", &|raw| raw.attachments = vec![0x80]);
    with("malformed", "attachments-indefinite", &|raw| raw.attachments = vec![0xbf, 0xff]);
    let models =
        common().attach(|shown| *shown = Attachments { models: shown.models.take(), ..Attachments::default() });
    let models = Raw::of(&models.certified()).attachments[1..].to_vec();
    with("malformed", "attachment-twice", &|raw| raw.attachments = [&[0xa2][..], &models, &models].concat());
    with("malformed", "attachments-out-of-order", &|raw| {
        raw.attachments = [&[0xa2][..], &models, &[2, 0x82, 0x58, 32], &[0; 32], &[0x80]].concat();
    });
    with("malformed", "requester-key-of-small-order", &|raw| small_order_key(raw, 0));
    with("malformed", "requester-key-off-the-curve", &|raw| small_order_key(raw, 2));
    with("malformed", "chain-of-another-version", &|raw| raw.attachments = vec![0xa1, 7, 0x82, 2, 0x80]);
    with("malformed", "ranking-too-long", &|raw| {
        let head = [&[0xa1, 2, 0x82, 0x58, 32][..], &[0; 32], &[0x81, 0x82, 2, 0x91], &[0; 17]];
        raw.attachments = head.concat();
    });
    with("malformed", "vote-of-an-unknown-kind", &|raw| {
        raw.attachments = [&[0xa1, 2, 0x82, 0x58, 32][..], &[0; 32], &[0x81, 0x82, 9, 0]].concat();
    });
    let mut six = bytes.clone();
    six[0] = 0x86;
    add("malformed", "six-items", six);
    let mut many = bytes.clone();
    many.splice(0..2, [0x89, 2]);
    add("unknown-version", "two-with-nine-items", many);
    add("malformed", "an-array-beyond-255", [&[0x99, 1, 0, 2][..], &bytes[2..]].concat());
    add("malformed", "truncated", bytes[..bytes.len() - 1].to_vec());
    add("malformed", "trailing-byte", [&bytes[..], &[0]].concat());
    add("malformed", "empty", Vec::new());
    add("malformed", "tagged", [&[0xd2][..], &bytes].concat());
    add("malformed", "indefinite-array", [&[0x9f][..], &bytes[1..], &[0xff]].concat());
    add("malformed", "array-head-not-shortest", [&[0x98, 7][..], &bytes[1..]].concat());
    add("too-large", "by-one-byte", [&bytes[..], &vec![0; CERTIFICATE_BYTES_MAX + 1 - bytes.len()]].concat());
    add("malformed", "as-large-as-allowed", [&bytes[..], &vec![0; CERTIFICATE_BYTES_MAX - bytes.len()]].concat());
}

/// Overwrites the requester's key, the first 32-byte string of the attachments, with a point of small order (y = 0) or
/// no point at all (y = 2).
fn small_order_key(raw: &mut Raw, y: u8) {
    raw.attachments[5..37].copy_from_slice(&[0; 32]);
    raw.attachments[5] = y;
}

fn malformed_records(add: &mut dyn FnMut(&str, Vec<u8>)) {
    let case = Market::new(4, 4, Policy::Plurality).decide(&classes(&[285, 285, 285, 281]), Assurance::Robust).bare();
    let raw = Raw::of(&case.certified());
    let mut bytes = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut raw = raw.clone();
        change(&mut raw.items[4]);
        add(name, raw.to_bytes());
    };
    bytes("empty", &|record| record.clear());
    bytes("trailing-byte", &|record| record.push(0));
    bytes("truncated", &|record| {
        record.pop();
    });
    bytes("version-two", &|record| record[2] = 2);
    bytes("version-not-shortest", &|record| {
        record.splice(2..3, [0x18, 1]);
    });
    bytes("keys-out-of-order", &|record| record[1] = 2);
    bytes("thirteen-fields", &|record| {
        record[0] = 0xad;
        record.extend([13, 0]);
    });
    bytes("eleven-fields", &|record| {
        record[0] = 0xab;
        record.truncate(record.len() - 10);
    });
    bytes("group-not-utf-8", &|record| replace(record, b"imagenet", b"imagen\xff\xfe"));
    bytes("genesis-of-31-bytes", &|record| {
        record.remove(6);
        record[5] = 31;
    });
    bytes("a-time-of-two-to-the-53", &|record| {
        let length = record.len();
        record[length - 9..].copy_from_slice(&[0x1b, 0, 32, 0, 0, 0, 0, 0, 0]);
    });
    let mut changed = |name: &str, change: &dyn Fn(&mut Record)| {
        let mut raw = raw.clone();
        let mut record = case.record.clone();
        change(&mut record);
        raw.items[4] = record.to_bytes();
        add(name, raw.to_bytes());
    };
    changed("votes-overlap", &|record| {
        record.votes[1].owners.insert(0);
    });
    changed("a-group-without-owners", &|record| record.votes[1].owners = Bitmap::new(4));
    changed("groups-out-of-order", &|record| record.votes.swap(0, 1));
    changed("one-vote-in-two-groups", &|record| record.votes[1].commitment = record.votes[0].commitment);
    changed("abstentions-first", &|record| record.votes[0].commitment = None);
    changed("abstentions-twice", &|record| record.votes.iter_mut().for_each(|group| group.commitment = None));
    changed("a-bitmap-for-nine-owners", &|record| {
        record.votes[0].owners = [0, 1, 2].into_iter().fold(Bitmap::new(9), |mut map, place| {
            map.insert(place);
            map
        });
    });
    changed("a-padding-bit", &|record| {
        record.votes[1].owners = Bitmap::new(8);
        record.votes[1].owners.insert(7);
    });
    changed("a-request-that-demands-nothing", &|record| record.demand = Assurance::None);
    changed("129-owners", &|record| record.owners = 129);
    changed("more-groups-than-owners", &|record| record.owners = 1);
    let tally = [9, 0x82, 0x82, 3, 1, 3];
    let mut bytes = |name: &str, from: &[u8], to: &[u8]| {
        let mut raw = raw.clone();
        replace(&mut raw.items[4], from, to);
        add(name, raw.to_bytes());
    };
    bytes("a-tally-that-is-not-that-of-the-bitmaps", &tally, &[9, 0x82, 0x82, 4, 1, 3]);
    bytes("a-tally-of-one-group", &tally, &[9, 0x82, 0x81, 3, 3]);
    bytes("an-unknown-assurance", &tally, &[9, 0x82, 0x82, 3, 1, 4]);
    bytes("an-unknown-outcome", &[8, 0x82, 1, 0xf6], &[8, 0x82, 3, 0xf6]);
    bytes("an-unknown-origin", &[1, 6, 0x84], &[2, 6, 0x84]);
    bytes("an-unknown-policy", &[6, 0x84, 0x81, 1], &[6, 0x84, 0x81, 9]);
    bytes("a-policy-with-too-many-parameters", &[6, 0x84, 0x81, 1], &[6, 0x84, 0x82, 1, 0]);
    bytes("a-negative-bound", &[6, 0x84, 0x81, 1, 4, 1], &[6, 0x84, 0x81, 1, 4, 0x20]);
    let (_, borda) = by_policy().swap_remove(2);
    let mut case = borda.bare();
    if let Support::Points(points) = &mut case.record.support {
        points.reverse();
    }
    add("points-ascend", case.certified().to_bytes());
    let (_, within) = by_policy().swap_remove(10);
    let mut case = within.bare();
    if let Policy::Within { tensor, .. } = &mut case.record.policy {
        tensor.min = tensor.max + 1;
    }
    add("a-tensor-without-a-range", case.certified().to_bytes());
}

/// Replaces the first occurrence.
#[expect(clippy::expect_used, reason = "samples know what they hold")]
fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let place = bytes.windows(from.len()).position(|window| window == from).expect("the bytes are there");
    bytes.splice(place..place + from.len(), to.iter().copied());
}

fn malformed_headers(add: &mut dyn FnMut(&str, Vec<u8>)) {
    let case = common().bare();
    let raw = Raw::of(&case.certified());
    let mut bytes = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut raw = raw.clone();
        change(&mut raw.items[0]);
        add(name, raw.to_bytes());
    };
    bytes("empty", &|template| template.clear());
    bytes("trailing-byte", &|template| template.push(0));
    bytes("algorithm-minus-19", &|template| replace(template, &[0xa5, 1, 0x27], &[0xa5, 1, 0x32]));
    bytes("with-a-key-id", &|template| {
        template[0] = 0xa6;
        template.splice(3..3, [&[4, 0x48][..], &[0; 8]].concat());
    });
    bytes("another-issuer", &|template| replace(template, b"dropbear:", b"dropbeat:"));
    bytes("another-subject", &|template| replace(template, b"ledger", b"lodger"));
    bytes("another-type", &|template| replace(template, b"header+cose;v=1", b"header+cose;v=2"));
    bytes("another-tree", &|template| replace(template, &[0x19, 1, 0x8b, 1], &[0x19, 1, 0x8b, 2]));
    bytes("another-label", &|template| replace(template, &[0x3a, 0, 1, 0x11, 0x70], &[0x3a, 0, 1, 0x11, 0x71]));
    bytes("fields-of-another-version", &|template| replace(template, &[0x89, 1, 0x58], &[0x89, 2, 0x58]));
    bytes("issued-at-another-second", &|template| replace(template, &[6, 0x1a], &[6, 0x1a, 0]));
    let certificate = case.certify_header(&[1, 2, 3], |header| header.seq = 0);
    add("seq-zero", certificate.to_bytes());
    let mut raw = raw.clone();
    let second = u32::try_from((crate::samples::market::CREATED_MS + 50_000) / 1000).unwrap_or_default();
    replace(&mut raw.items[0], &second.to_be_bytes(), &(second + 1).to_be_bytes());
    add("issued-a-second-later", raw.to_bytes());
}

fn paths_and_signatures(add: &mut dyn FnMut(&'static str, &str, Vec<u8>)) {
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
fn quorums(add: &mut Add<'_>) {
    for members in [4, 5, 6, 7, 31] {
        let market = Market::new(members, 4, Policy::Plurality);
        let case = market.decide(&classes(&[285; 4]), Assurance::Robust).bare();
        let few: Vec<_> = (1..market.committee.quorum()).collect();
        add("no-quorum", &format!("of-{members}"), &market.genesis, case.certify(&few).to_bytes());
    }
    let case = common().bare();
    add("no-quorum", "nobody", &case.market.genesis, case.certify(&[]).to_bytes());
}

fn contradictions(add: &mut dyn FnMut(&str, Certificate)) {
    let mut with = |name: &str, change: fn(&mut Record)| add(name, common().bare().record(change).certified());
    with("genesis", |record| record.genesis = Digest::of(b"another market"));
    with("epoch", |record| record.epoch = 1);
    with("config", |record| record.config = Digest::of(b"config"));
    with("seq", |record| record.seq += 1);
    with("agreed-time", |record| record.agreed_ms += 1);
    with("leaf-zero", |record| record.leaf_index = 0);
    with("group", |record| record.group = "imagenot".into());
    with("policy", |record| record.policy = Policy::Exact { quorum: 3 });
    with("fault-bound", |record| record.faults = 0);
    with("owners", |record| {
        record.owners = 5;
        record.votes[0].owners = (0..4).fold(Bitmap::new(5), |mut map, place| {
            map.insert(place);
            map
        });
    });
}

fn outcomes(add: &mut dyn FnMut(&str, Case)) {
    let split = || Market::new(4, 4, Policy::Plurality).decide(&classes(&[2, 2, 5, 7]), Assurance::Robust).bare();
    add("agreed-below-the-demand", split().record(|record| record.outcome = Outcome::Agreed));
    add(
        "assurance-too-high",
        common().bare().record(|record| record.votes[0].owners = three_of_four()).record(|record| {
            record.votes[0].owners = two_of_four();
        }),
    );
    add(
        "assurance-too-low",
        common().bare().record(|record| {
            (record.assurance, record.demand) = (Assurance::Decisive, Assurance::Decisive);
        }),
    );
    add("no-agreement-although-agreed", common().bare().record(|record| record.outcome = Outcome::NoAgreement));
    add(
        "no-agreement-although-reachable",
        split().record(|record| {
            record.votes.truncate(2);
            record.assurance = Assurance::Supported;
        }),
    );
    add("a-result-where-none-is-due", common().bare().record(|record| record.result = Some(Digest::of(b"result"))));
    let policy =
        |name: &str| by_policy().into_iter().find(|(known, _)| known == name).map_or_else(common, |(_, case)| case);
    add("no-result-where-one-is-due", policy("median-agreed").bare().record(|record| record.result = None));
    add(
        "a-result-without-agreement",
        policy("borda-no-agreement").bare().record(|record| {
            record.result = Some(Digest::of(b"result"));
        }),
    );
    add("median-called-robust", policy("median-agreed").bare().record(|record| record.assurance = Assurance::Robust));
    add(
        "median-of-too-few",
        policy("median-agreed").bare().record(|record| {
            record.votes.truncate(2);
        }),
    );
    add(
        "exact-below-its-quorum",
        policy("exact-no-agreement").bare().record(|record| {
            (record.outcome, record.assurance) = (Outcome::Agreed, Assurance::Robust);
        }),
    );
    add(
        "more-points-than-ballots-can-give",
        policy("borda-agreed").bare().record(|record| {
            if let Support::Points(points) = &mut record.support {
                points[0].points = points[0].named * 3 + 1;
            }
        }),
    );
    add(
        "named-by-more-than-voted",
        policy("borda-agreed").bare().record(|record| {
            if let Support::Points(points) = &mut record.support {
                points[0].named = 5;
            }
        }),
    );
    add(
        "cluster-below-its-quorum",
        policy("within-agreed").bare().record(|record| {
            record.support = Support::Cluster { members: two_of_four(), reach: 3 };
        }),
    );
    add(
        "cluster-larger-than-its-reach",
        policy("within-agreed").bare().record(|record| {
            record.support = Support::Cluster { members: three_of_four(), reach: 2 };
        }),
    );
    add(
        "cluster-of-an-owner-without-a-vote",
        policy("within-agreed").bare().record(|record| {
            record.votes.remove(0);
        }),
    );
    recomputed(add, &policy);
}

/// Wrong only if the votes are shown: the verifier then recomputes everything.
fn recomputed(add: &mut dyn FnMut(&str, Case), policy: &dyn Fn(&str) -> Case) {
    add(
        "recomputed-result",
        policy("median-agreed").record(|record| record.result = Some(Digest::of(b"result"))).attach(|shown| {
            shown.result = None;
        }),
    );
    add(
        "recomputed-points",
        policy("borda-agreed").record(|record| {
            if let Support::Points(points) = &mut record.support {
                points[1].points += 1;
            }
        }),
    );
    add(
        "recomputed-cluster",
        policy("within-agreed").record(|record| {
            let members = [0, 1, 3].into_iter().fold(Bitmap::new(4), |mut map, place| {
                map.insert(place);
                map
            });
            record.support = Support::Cluster { members, reach: 3 };
        }),
    );
    let tied = Market::new(4, 4, Policy::Plurality).decide(&classes(&[2, 2, 5, 7]), Assurance::Robust);
    add(
        "recomputed-order-of-equal-counts",
        tied.record(|record| record.votes.swap(1, 2)).attach(|shown| {
            if let Some(votes) = &mut shown.votes {
                votes.votes.swap(1, 2);
            }
            (shown.single_votes, shown.ballots) = (Vec::new(), Vec::new());
        }),
    );
    let mut schema = Market::new(4, 4, Policy::Plurality);
    schema.charter.classes = 10_000;
    let mut case = schema.decide(&classes(&[2000; 4]), Assurance::Robust);
    case.market = Market::new(4, 4, Policy::Plurality);
    let (genesis, charter) = (case.market.genesis.digest(), case.market.charter.digest());
    let case = case.record(|record| (record.genesis, record.charter) = (genesis, charter));
    add(
        "recomputed-vote-outside-the-schema",
        case.attach(|shown| {
            *shown = Attachments { votes: shown.votes.take(), ..Attachments::default() };
        }),
    );
}

fn three_of_four() -> Bitmap {
    (0..3).fold(Bitmap::new(4), |mut map, place| {
        map.insert(place);
        map
    })
}

fn two_of_four() -> Bitmap {
    (0..2).fold(Bitmap::new(4), |mut map, place| {
        map.insert(place);
        map
    })
}

fn openings(add: &mut dyn FnMut(&'static str, &str, Case)) {
    let plurality = || Market::new(4, 4, Policy::Plurality).decide(&classes(&[285, 285, 285, 281]), Assurance::Robust);
    let median = || by_policy().swap_remove(6).1;
    let mut with = |name: &str, change: fn(&mut Attachments)| add("bad-opening", name, plurality().attach(change));
    with("another-input", |shown| with_request(shown, |request| request.opening.input = Digest::of(b"input")));
    with("another-seed", |shown| with_request(shown, |request| request.opening.seed_digest = Digest::of(b"seed")));
    with("another-nonce", |shown| with_request(shown, |request| request.nonce[0] ^= 1));
    with("another-requester", |shown| with_request(shown, |request| request.key = key(Role::Client, 1).public()));
    with("a-forged-request-signature", |shown| {
        with_request(shown, |request| request.signature = request.signature.map(flipped));
    });
    with("another-vote", |shown| with_votes(shown, |votes| votes[0] = Vote::Class(286)));
    with("votes-permuted", |shown| with_votes(shown, |votes| votes.swap(0, 1)));
    with("a-vote-too-few", |shown| with_votes(shown, |votes| votes.truncate(1)));
    with("a-vote-too-many", |shown| with_votes(shown, |votes| votes.push(Vote::Class(1))));
    with("an-abstention-among-the-votes", |shown| with_votes(shown, |votes| votes[1] = Vote::Abstain));
    with("another-vote-salt", |shown| {
        if let Some(votes) = &mut shown.votes {
            votes.salt = Digest::of(b"salt");
        }
    });
    with("another-model-version", |shown| {
        if let Some(Some(version)) = shown.models.as_mut().and_then(|models| models.0.first_mut()) {
            version.digest = Digest::of(b"better weights");
        }
    });
    with("a-single-vote-of-another-group", |shown| {
        shown.single_votes = vec![(1, shown.single_votes[0].1.clone())];
    });
    with("a-single-vote-beyond-the-groups", |shown| {
        shown.single_votes = vec![(2, shown.single_votes[0].1.clone())];
    });
    with("a-single-vote-that-abstains", |shown| shown.single_votes[0].1.value = Vote::Abstain);
    with("a-single-vote-under-another-salt", |shown| shown.single_votes[1].1.salt = Digest::of(b"salt"));
    with("a-result-that-the-record-does-not-commit-to", |shown| {
        shown.result = Some(shown.single_votes[0].1.clone());
    });
    add(
        "bad-opening",
        "another-result",
        median().attach(|shown| {
            shown.result = Some(ValueOpening { salt: Digest::of(b"salt"), value: Vote::Tensor(vec![0, 0, 0]) });
        }),
    );
    ballots(&mut |name, case| add("bad-ballot", name, case), &plurality);
}

fn ballots(add: &mut dyn FnMut(&str, Case), plurality: &dyn Fn() -> Case) {
    let mut with = |name: &str, change: fn(&mut Attachments)| add(name, plurality().attach(change));
    with("of-another-owner", |shown| {
        shown.ballots.truncate(1);
        shown.ballots[0].owner = 1;
    });
    with("of-an-owner-beyond-the-roster", |shown| shown.ballots[3].owner = 4);
    with("with-a-malformed-statement", |shown| {
        shown.ballots[0].statement.pop();
    });
    with("with-a-forged-signature", |shown| shown.ballots[0].signature = flipped(shown.ballots[0].signature));
    with("with-another-output", |shown| shown.ballots[0].output = Digest::of(b"output"));
    with("of-another-place-in-the-batch", |shown| shown.ballots[0].vote_index = 0);
    with("with-another-vote-path", |shown| shown.ballots[0].vote_path[0] = Digest::of(b"node"));
    with("with-another-ballot-path", |shown| shown.ballots[0].ballot_path[0] = Digest::of(b"node"));
    with("of-another-place-among-the-ballots", |shown| {
        shown.ballots[0].ballot_path = shown.ballots[2].ballot_path.clone();
    });
    let absent = || {
        let votes = [classes(&[285; 3]), vec![None]].concat();
        Market::new(4, 4, Policy::Plurality).decide(&votes, Assurance::Robust)
    };
    let spare = common().attachments.ballots.swap_remove(3);
    add("of-an-owner-that-was-not-counted", absent().attach(|shown| shown.ballots.push(spare)));
    let resigned = |change: fn(&mut crate::ballot::BallotStatement)| {
        let mut case = plurality();
        let owner = key(Role::Owner, 0);
        let proof = &mut case.attachments.ballots[0];
        if let Ok(mut statement) = crate::ballot::BallotStatement::from_bytes(&proof.statement) {
            change(&mut statement);
            proof.statement = statement.to_bytes();
            proof.signature = crate::key::StatementType::Ballot.sign(&owner, &proof.statement);
        }
        let mut leaves: Vec<_> =
            case.attachments.ballots.iter().map(|p| crate::ballot::ballot_leaf(&p.statement, &p.signature)).collect();
        for (index, proof) in case.attachments.ballots.iter_mut().enumerate() {
            proof.ballot_path = crate::merkle::path(&leaves, index);
        }
        case.record.ballots = crate::merkle::root(&leaves);
        leaves.clear();
        case
    };
    add("of-another-market", resigned(|statement| statement.genesis = Digest::of(b"another market")));
    add("of-another-group", resigned(|statement| statement.group = "imagenot".into()));
    add("under-another-charter", resigned(|statement| statement.charter = Digest::of(b"charter")));
    add("that-had-expired", resigned(|statement| statement.expiry_ms = crate::samples::market::CREATED_MS + 49_999));
    add("of-another-version", resigned(|statement| statement.version = Digest::of(b"better weights")));
    add("in-another-owners-name", resigned(|statement| statement.owner = key(Role::Owner, 1).public()));
}

fn flipped(mut signature: [u8; 64]) -> [u8; 64] {
    signature[40] ^= 1;
    signature
}

fn with_request(shown: &mut Attachments, change: impl FnOnce(&mut crate::attachments::RequestAttachment)) {
    if let Some(request) = &mut shown.request {
        change(request);
    }
}

fn with_votes(shown: &mut Attachments, change: impl FnOnce(&mut Vec<Vote>)) {
    if let Some(votes) = &mut shown.votes {
        change(&mut votes.votes);
    }
}

/// Certificates outside the spans that a chain gives, and chains that do not hold.
fn governance_spans(vectors: &mut Vec<Vector>) {
    let (before, after) = (Market::new(4, 4, Policy::Plurality), changed_market());
    let first_epoch = Market { committee: before.committee.clone(), ..after.clone() };
    let at = |market: &Market, seq: u64| {
        Market { seq, ..market.clone() }.decide(&classes(&[285; 4]), Assurance::Robust).bare().certified()
    };
    let mut add = |code: &'static str, name: &str, certificate: &Certificate, chain: &GovernanceChain| {
        vectors.push(Vector {
            name: format!("{code}-{name}"),
            about: name.replace('-', " "),
            genesis: before.genesis.clone(),
            chain: Some(chain.to_bytes()),
            certificate: certificate.to_bytes(),
            code: Some(code),
        });
    };
    let chain = governance::chain();
    add("outside-epoch", "epoch-0-after-its-end", &at(&first_epoch, CONFIG_SEQ + 1), &chain);
    add("outside-epoch", "epoch-1-before-its-begin", &at(&after, CONFIG_SEQ), &chain);
    add("charter-not-in-force", "not-yet", &at(&first_epoch, CHARTER_FROM_SEQ - 1), &chain);
    add("charter-not-in-force", "no-longer", &at(&before, CHARTER_FROM_SEQ), &chain);
    add("unknown-charter", "before-the-chain", &at(&first_epoch, 30), &GovernanceChain::default());
    add("unknown-committee", "before-the-chain", &at(&after, 50), &GovernanceChain::default());
    let good = at(&after, 50);
    for (name, chain) in broken_chains() {
        let attached =
            good.clone().with_attachments(Attachments { chain: Some(chain.clone()), ..Attachments::default() });
        add("bad-chain", &name, &attached, &GovernanceChain::default());
        add("bad-chain", &format!("{name}-apart"), &good, &chain);
    }
    let mut raw = Raw::of(&good);
    raw.items[2] = vec![0; 2];
    vectors.push(Vector {
        name: "malformed-signer-bitmap-of-another-committee".into(),
        about: "two bytes where a committee of seven needs one".into(),
        genesis: before.genesis.clone(),
        chain: Some(chain.to_bytes()),
        certificate: raw.to_bytes(),
        code: Some("malformed"),
    });
}

fn broken_chains() -> Vec<(alloc::string::String, GovernanceChain)> {
    let (charter, config) = governance::entries();
    let (first, second) = (committee(0, 4), committee(1, 7));
    let link = |entry: &GovernanceEntry, seq| governance::link(entry, seq, &first, &[0, 1, 2]);
    let with_config = |change: &dyn Fn(&mut ConfigEntry)| match config.clone() {
        GovernanceEntry::Config(mut entry) => {
            change(&mut entry);
            GovernanceEntry::Config(entry)
        }
        other => other,
    };
    let with_charter = |change: &dyn Fn(&mut CharterEntry)| match charter.clone() {
        GovernanceEntry::Charter(mut entry) => {
            change(&mut entry);
            GovernanceEntry::Charter(entry)
        }
        other => other,
    };
    let (good_charter, good_config) = (link(&charter, CHARTER_SEQ), link(&config, CONFIG_SEQ));
    let other_genesis = with_config(&|entry| entry.genesis = Digest::of(b"another market"));
    let mut flipped_entry = good_config.clone();
    flipped_entry.entry[60] ^= 1;
    let mut short_path = good_config.clone();
    short_path.path.pop();
    let mut bad_template = good_config.clone();
    bad_template.template.push(0);
    let record = GovernanceEntry::Config(ConfigEntry {
        genesis: Digest::of(b""),
        previous: Digest::of(b""),
        committee: committee(0, 1),
    });
    let twice =
        crate::genesis::Committee { members: [&second.members[..], &second.members[..1]].concat(), ..second.clone() };
    let cases: Vec<(&str, Vec<crate::chain::ChainLink>)> = vec![
        ("no-quorum", vec![good_charter.clone(), governance::link(&config, CONFIG_SEQ, &first, &[0, 1])]),
        ("unknown-signers", vec![governance::link(&config, CONFIG_SEQ, &second, &[0, 1, 2, 3, 4])]),
        ("a-changed-entry", vec![good_charter.clone(), flipped_entry]),
        ("a-short-path", vec![good_charter.clone(), short_path]),
        ("a-malformed-header", vec![good_charter.clone(), bad_template]),
        (
            "another-market",
            vec![governance::link_with(&config, CONFIG_SEQ, &first, &[0, 1, 2], |header| {
                header.genesis = Digest::of(b"another market");
            })],
        ),
        ("an-entry-of-another-market", vec![link(&other_genesis, CONFIG_SEQ)]),
        ("an-entry-for-nobody", vec![link(&record, CONFIG_SEQ)]),
        ("two-members-alike", vec![link(&with_config(&|entry| entry.committee = twice.clone()), CONFIG_SEQ)]),
        ("an-epoch-skipped", vec![link(&with_config(&|entry| entry.committee.epoch = 2), CONFIG_SEQ)]),
        ("another-predecessor", vec![link(&with_config(&|entry| entry.previous = Digest::of(b"config")), CONFIG_SEQ)]),
        ("out-of-order", vec![good_config.clone(), good_charter.clone()]),
        ("a-link-twice", vec![good_charter.clone(), good_charter.clone()]),
        ("two-configs-of-one-epoch", vec![good_config.clone(), link(&config, CONFIG_SEQ + 1)]),
        ("a-charter-in-force-too-early", vec![link(&with_charter(&|entry| entry.from_seq = CHARTER_SEQ), CHARTER_SEQ)]),
        (
            "another-charter-before",
            vec![link(&with_charter(&|entry| entry.previous = Some(Digest::of(b"charter"))), CHARTER_SEQ)],
        ),
        ("a-group-that-exists-as-new", vec![link(&with_charter(&|entry| entry.previous = None), CHARTER_SEQ)]),
        (
            "a-charter-in-force-before-its-predecessor",
            vec![
                good_charter,
                link(
                    &with_charter(&|entry| {
                        entry.previous = Some(entry.charter.digest());
                        entry.charter.fee = 3;
                        entry.from_seq = CHARTER_FROM_SEQ - 5;
                    }),
                    CHARTER_SEQ + 1,
                ),
            ],
        ),
    ];
    cases.into_iter().map(|(name, links)| (name.into(), GovernanceChain(links))).collect()
}
