//! Vectors as JSON: one file each, as `SPEC.md` describes under "Test vectors".

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};

use crate::certificate::Certificate;
use crate::chain::GovernanceChain;
use crate::error::Refusal;
use crate::genesis_json::{self, LabelTables};
use crate::request::Origin;
use crate::samples::market::input;
use crate::samples::valid::Vector;
use crate::trust::TrustRoot;
use crate::verify::Verified;

/// Verifies a vector as every implementation must.
///
/// # Errors
/// [`Refusal`], whose code the vector states.
pub fn verdict(vector: &Vector) -> Result<Verified, Refusal> {
    let mut trust = TrustRoot::new(vector.genesis.clone());
    if let Some(chain) = &vector.chain {
        trust = trust.extended(&GovernanceChain::from_bytes(chain)?)?;
    }
    Certificate::from_bytes(&vector.certificate)?.verify(&trust)
}

/// The file name of a trust root.
#[must_use]
pub fn trust_name(vector: &Vector) -> String {
    alloc::format!("trust-{}.json", vector.genesis.digest().short())
}

/// The trust root's file.
#[must_use]
pub fn trust_file(vector: &Vector) -> String {
    genesis_json::to_json(&vector.genesis, &LabelTables::new()) + "\n"
}

/// The vector's file.
#[must_use]
pub fn vector_file(vector: &Vector) -> String {
    let mut file = Map::new();
    file.insert("name".into(), vector.name.clone().into());
    file.insert("about".into(), vector.about.clone().into());
    file.insert("trust".into(), trust_name(vector).into());
    if let Some(chain) = &vector.chain {
        file.insert("chain".into(), HEXLOWER.encode(chain).into());
    }
    file.insert("certificate".into(), HEXLOWER.encode(&vector.certificate).into());
    let expected = match verdict(vector) {
        Ok(verified) => {
            file.insert("input".into(), input().to_string().into());
            expectation(&verified)
        }
        Err(refusal) => json!({ "ok": false, "code": refusal.code() }),
    };
    file.insert("expect".into(), expected);
    pretty(&Value::Object(file))
}

/// Indented, with a final newline.
#[must_use]
pub fn pretty(value: &Value) -> String {
    alloc::format!("{value:#}\n")
}

/// Everything that a verifier must say of a certificate that verifies.
#[must_use]
pub fn expectation(verified: &Verified) -> Value {
    let (record, provenance) = (verified.record(), verified.provenance());
    let result = verified.result().and_then(crate::policy::Vote::to_bytes);
    let receipts: Vec<_> = verified.receipts().iter().map(|receipt| HEXLOWER.encode(&receipt.bytes)).collect();
    let receipts = if verified.committee().members.len() <= 4 { Value::from(receipts) } else { Value::Null };
    json!({
        "ok": true,
        "id": verified.certificate().id().to_string(),
        "outcome": record.outcome.name(),
        "assurance": record.assurance.name(),
        "policy": record.policy.name(),
        "seq": record.seq,
        "epoch": record.epoch,
        "signers": verified.signers(),
        "class": verified.class(),
        "result": result.map(|bytes| HEXLOWER.encode(&bytes)),
        "origin": match provenance.origin {
            Origin::ClientSigned => "client-signed",
            Origin::GatewayMinted => "gateway-minted",
        },
        "requester": provenance.key.map(|key| key.to_string()),
        "signature_shown": provenance.signature_shown,
        "owners_proven": verified.owners_proven().collect::<Vec<_>>(),
        "about_input": verified.is_about(&input()),
        "trust_current": verified.is_trust_current(),
        "receipts": receipts,
    })
}
