//! Requests and commitments with every intermediate value, for clients in other languages.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::policy::{Assurance, Policy, Vote};
use crate::request::{Field, SignedRequest, input_digest, output_commitment, value_salt, vote_commitment};
use crate::samples::market::{Market, Role, SEED, key};

/// The file `requests.json`.
#[must_use]
pub fn requests_file() -> String {
    let market = Market::new(4, 4, Policy::Plurality);
    let client = one("client-signed", &market.request(Assurance::Robust), key(Role::Client, 0).seed());
    let gateway = one("gateway-minted", &market.minted(Assurance::Supported), key(Role::Gateway, 0).seed());
    let salt = SEED.salt(Field::Vote);
    let votes = [Vote::Class(285), Vote::Ranking(alloc::vec![285, 7]), Vote::Tensor(alloc::vec![-65_536, 0, 1])];
    let vote = |vote: &Vote| {
        let bytes = vote.to_bytes().unwrap_or_default();
        json!({
            "vote": HEXLOWER.encode(&bytes),
            "value_salt": value_salt(&salt, &bytes).to_string(),
            "commitment": vote_commitment(&salt, vote).map(|digest| digest.to_string()),
        })
    };
    super::json::pretty(&json!({
        "seed": HEXLOWER.encode(&SEED.0),
        "seed_digest": SEED.digest().to_string(),
        "salts": {
            "request": SEED.salt(Field::Request).to_string(),
            "vote": salt.to_string(),
            "output": SEED.salt(Field::Output).to_string(),
        },
        "input": {
            "name": "image", "datatype": "BYTES", "shape": [], "data": HEXLOWER.encode(b"a photo"),
            "digest": input_digest("image", "BYTES", &[], b"a photo").to_string(),
        },
        "tensor_input": {
            "name": "x", "datatype": "FP32", "shape": [2, 3], "data": HEXLOWER.encode(&[0; 24]),
            "digest": input_digest("x", "FP32", &[2, 3], &[0; 24]).to_string(),
        },
        "output": {
            "data": HEXLOWER.encode(b"output"),
            "commitment": output_commitment(&SEED.salt(Field::Output), b"output").to_string(),
        },
        "votes": votes.iter().map(vote).collect::<Vec<_>>(),
        "requests": [client, gateway],
    }))
}

fn one(origin: &str, signed: &SignedRequest, secret: [u8; 32]) -> Value {
    let request = &signed.request;
    json!({
        "origin": origin,
        "secret_key": HEXLOWER.encode(&secret),
        "key": request.key.to_string(),
        "genesis": request.genesis.to_string(),
        "group": request.group,
        "nonce": HEXLOWER.encode(&request.nonce),
        "expiry_ms": request.expiry_ms,
        "demand": request.demand.name(),
        "commitment": request.commitment.to_string(),
        "statement": HEXLOWER.encode(&request.statement()),
        "id": request.id().to_string(),
        "signature": HEXLOWER.encode(&signed.signature),
    })
}
