//! The example of `SPEC.md`: every byte of one certificate, explained.

use alloc::format;
use alloc::string::String;

use data_encoding::HEXLOWER;

use crate::attachments::Attachments;
use crate::certificate::Certificate;
use crate::policy::{Assurance, Policy};
use crate::samples::market::Market;
use crate::samples::valid::classes;

/// One note per CBOR item, in order. A note that ends in `:` belongs to a byte string that holds an object.
const NOTES: &[&str] = &[
    "certificate: 7 items",
    "version 1",
    "template, the protected header without key id:",
    "5 pairs",
    "label 1, algorithm",
    "-8, EdDSA",
    "label 15, CWT claims",
    "3 claims",
    "1, issuer",
    "\"dropbear:\" and 16 digits of the genesis digest",
    "2, subject",
    "\"ledger\"",
    "6, issued at",
    "agreed time in seconds",
    "label 16, type",
    "\"application/dropbear-header+cose;v=1\"",
    "label 395, verifiable data structure",
    "1, RFC 9162 with SHA-256",
    "label -70001, ledger fields",
    "9 fields",
    "version 1",
    "genesis digest",
    "epoch 0",
    "config digest",
    "seq 9",
    "tree size 4",
    "ledger root over the headers 1 to 8",
    "governance seq 0",
    "agreed time, milliseconds",
    "path: 2 nodes of 32 bytes",
    "signers: members 1, 2 and 3",
    "3 signatures of 64 bytes",
    "record:",
    "12 pairs",
    "key 1, version",
    "1",
    "key 2, genesis digest",
    "",
    "key 3, config",
    "2 items",
    "epoch 0",
    "config digest",
    "key 4, group",
    "3 items",
    "\"imagenet\"",
    "charter digest",
    "model-set digest",
    "key 5, request",
    "4 items",
    "request id",
    "request commitment",
    "expiry, milliseconds",
    "origin 1, client-signed",
    "key 6, policy",
    "4 items",
    "policy",
    "1, plurality",
    "4 owners",
    "fault bound 1",
    "demand 3, robust",
    "key 7, votes",
    "1 group",
    "2 items",
    "vote commitment",
    "owners 0, 1, 2 and 3",
    "key 8, outcome",
    "2 items",
    "1, agreed",
    "no result commitment: the result is the first vote",
    "key 9, tally",
    "2 items",
    "1 count",
    "4 votes",
    "assurance 3, robust",
    "key 10, ballots root",
    "",
    "key 11, place",
    "2 items",
    "seq 9",
    "leaf index 2",
    "key 12, agreed time",
    "milliseconds",
    "attachments: 1 pair",
    "key 5, single votes",
    "1 opening",
    "3 items",
    "group 0",
    "value salt",
    "vote: 2 items",
    "kind 1, class",
    "class 285",
];

/// The certificate.
#[must_use]
pub fn certificate() -> (Market, Certificate) {
    let market = Market::new(4, 4, Policy::Plurality);
    let mut case = market.decide(&classes(&[285; 4]), Assurance::Robust);
    case.tree_size = 4;
    case.record.leaf_index = 2;
    let single_votes = core::mem::take(&mut case.attachments.single_votes);
    case.attachments = Attachments { single_votes, ..Attachments::default() };
    (market, case.certified())
}

/// The example's text, between fences.
///
/// # Panics
/// If the notes do not fit the certificate.
#[must_use]
pub fn text() -> String {
    let (market, certificate) = certificate();
    let mut lines = format!("```\ngenesis digest {}\n\n", market.genesis.digest());
    let bytes = certificate.to_bytes();
    let mut notes = NOTES.iter();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        rest = item(rest, 0, &mut notes, &mut lines);
    }
    assert!(notes.next().is_none(), "a note for every item");
    let receipt_root = certificate.header().record_root;
    lines +=
        &format!("\n{} bytes; record root {receipt_root}\ncertificate id {}\n```\n", bytes.len(), certificate.id());
    lines
}

/// Writes one item's lines and returns what follows it; items of arrays and maps are written by the callers' next turn.
fn item<'a>(bytes: &'a [u8], depth: usize, notes: &mut core::slice::Iter<'_, &str>, lines: &mut String) -> &'a [u8] {
    let note = notes.next().copied().unwrap_or_default();
    let (major, info) = (bytes[0] >> 5, bytes[0] & 0x1f);
    let extra = match info {
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => 0,
    };
    let argument = bytes[1..=extra].iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
    let length = if extra == 0 { usize::from(info) } else { argument };
    let (head, rest) = bytes.split_at(1 + extra);
    let is_string = major == 2 || major == 3;
    let (content, rest) = if is_string { rest.split_at(length) } else { rest.split_at(0) };
    if note.ends_with(':') {
        line(lines, depth, head, note);
        let mut inner = content;
        while !inner.is_empty() {
            inner = item(inner, depth + 1, notes, lines);
        }
        return rest;
    }
    if content.len() <= 8 {
        line(lines, depth, &[head, content].concat(), note);
        return rest;
    }
    line(lines, depth, head, note);
    content.chunks(32).for_each(|chunk| line(lines, depth + 1, chunk, ""));
    rest
}

fn line(lines: &mut String, depth: usize, bytes: &[u8], note: &str) {
    let hex = format!("{}{}", "  ".repeat(depth), HEXLOWER.encode(bytes));
    *lines += format!("{hex:<24}{note}").trim_end();
    lines.push('\n');
}

/// `SPEC.md` with the example in its place.
#[must_use]
pub fn put_into(spec: &str) -> Option<String> {
    const MARKS: [&str; 2] = ["<!-- example:begin -->\n", "<!-- example:end -->"];
    let (before, rest) = spec.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}{}{}{after}", MARKS[0], text(), MARKS[1]))
}
