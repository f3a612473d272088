//! Certificates that must be refused: at least one for every rule of `SPEC.md`, with the reason code.

mod attested;
mod chains;
mod envelope;
mod openings;
mod outcomes;
mod parts;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::cbor::Encoder;
use crate::certificate::Certificate;
use crate::genesis::Genesis;
use crate::samples::valid::{Vector, common};

use attested::{contradictions, paths_and_signatures, quorums};
use chains::governance_spans;
use envelope::envelope;
use openings::openings;
use outcomes::outcomes;
use parts::{malformed_headers, malformed_records};

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

/// Replaces the first occurrence.
#[expect(clippy::expect_used, reason = "samples know what they hold")]
fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let place = bytes.windows(from.len()).position(|window| window == from).expect("the bytes are there");
    bytes.splice(place..place + from.len(), to.iter().copied());
}

fn flipped(mut signature: [u8; 64]) -> [u8; 64] {
    signature[40] ^= 1;
    signature
}
