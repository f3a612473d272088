//! Records and templates that are none.

use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::policy::{Assurance, Policy, Support};
use crate::record::Record;
use crate::samples::corrupt::{Raw, replace};
use crate::samples::market::Market;
use crate::samples::valid::{by_policy, classes, common};

pub(super) fn malformed_records(add: &mut dyn FnMut(&str, Vec<u8>)) {
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

pub(super) fn malformed_headers(add: &mut dyn FnMut(&str, Vec<u8>)) {
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
