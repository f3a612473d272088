//! The certificate's own items: what gives `malformed`, `unknown-version` and `too-large`.

use alloc::vec;
use alloc::vec::Vec;

use crate::attachments::Attachments;
use crate::certificate::CERTIFICATE_BYTES_MAX;
use crate::samples::corrupt::Raw;
use crate::samples::valid::common;

pub(super) fn envelope(add: &mut dyn FnMut(&'static str, &str, Vec<u8>)) {
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
    with("malformed", "chain-link-without-items", &|raw| raw.attachments = vec![0xa1, 7, 0x82, 1, 0x81, 0x80]);
    with("malformed", "ranking-too-long", &|raw| {
        let head = [&[0xa1, 2, 0x82, 0x58, 32][..], &[0; 32], &[0x81, 0x82, 2, 0x91], &[0; 17]];
        raw.attachments = head.concat();
    });
    with("malformed", "vote-of-an-unknown-kind", &|raw| {
        raw.attachments = [&[0xa1, 2, 0x82, 0x58, 32][..], &[0; 32], &[0x81, 0x82, 9, 0]].concat();
    });
    let beyond = common().attach(|shown| shown.single_votes[0].0 = 128);
    add("malformed", "single-vote-of-group-128", beyond.certified().to_bytes());
    let beyond = common().attach(|shown| shown.ballots[3].owner = 128);
    add("malformed", "ballot-of-owner-128", beyond.certified().to_bytes());
    let mut six = bytes.clone();
    six[0] = 0x86;
    add("malformed", "six-items", six);
    let mut many = bytes.clone();
    many.splice(0..2, [0x89, 2]);
    add("unknown-version", "two-with-nine-items", many);
    add("unknown-version", "two-after-an-empty-array", vec![0x80, 2]);
    add("malformed", "an-empty-array", vec![0x80]);
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
