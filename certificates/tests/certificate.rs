//! A certificate's life: made, carried, verified, and refused after any change.

use dropbear_certificates::request::input_digest;
use dropbear_certificates::samples::market::{Case, Market, input};
use dropbear_certificates::samples::valid::{classes, common};
use dropbear_certificates::{
    Assurance, Attachments, Certificate, Digest, Genesis, Origin, Outcome, Policy, Refusal, TrustRoot, Vote,
};

fn genesis() -> Genesis {
    common().market.genesis
}

fn unanimous() -> Certificate {
    common().certify(&[0, 2, 3])
}

fn split() -> Case {
    Market::new(4, 4, Policy::Plurality).decide(&classes(&[2, 2, 5, 7]), Assurance::Robust)
}

fn refusal(case: &Case) -> Refusal {
    let read = Certificate::from_bytes(&case.certified().to_bytes());
    read.and_then(|read| read.verify(&TrustRoot::new(genesis()))).map(|_| ()).unwrap_err()
}

#[test]
fn verifies_from_its_bytes_and_says_what_is_proven() {
    let bytes = unanimous().to_bytes();
    let verified = Certificate::from_bytes(&bytes).unwrap().verify(&TrustRoot::new(genesis())).unwrap();
    assert_eq!(verified.class(), Some(285));
    assert_eq!(verified.record().assurance, Assurance::Robust);
    assert_eq!(verified.signers(), [0, 2, 3]);
    assert_eq!(verified.is_about(&input()), Some(true));
    assert_eq!(verified.is_about(&input_digest("image", "BYTES", &[], b"another photo")), Some(false));
}

#[test]
fn is_small() {
    let bare = unanimous().with_attachments(Attachments::default()).to_bytes().len();
    assert!(bare <= 1200, "{bare} bytes for four members, 1024 records a block, one common answer");
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let bytes = unanimous().to_bytes();
    for length in 0..bytes.len() {
        assert!(Certificate::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(Certificate::from_bytes(&longer), Err(Refusal::Malformed(_))));
}

#[test]
fn fewer_than_a_quorum_is_refused() {
    let two = common().certify(&[1, 2]).verify(&TrustRoot::new(genesis())).map(|_| ());
    assert_eq!(two, Err(Refusal::Quorum { found: 2, needed: 3 }));
}

#[test]
fn disagreement_is_certified_as_such() {
    let verified = split().certify(&[0, 1, 2, 3]).verify(&TrustRoot::new(genesis())).unwrap();
    assert_eq!(verified.record().outcome, Outcome::NoAgreement);
    assert_eq!(verified.class(), None);
}

#[test]
fn a_quorum_that_signs_a_wrong_outcome_is_blamed() {
    let case = split().record(|record| record.outcome = Outcome::Agreed);
    assert_eq!(refusal(&case), Refusal::Outcome);
    assert_eq!(refusal(&case.clone().record(|record| record.assurance = Assurance::Robust)), Refusal::Outcome);
    assert_eq!(refusal(&case.record(|record| record.faults = 0)), Refusal::Binding);
}

#[test]
fn another_market_another_record_another_opening() {
    let mut other = genesis();
    other.created_ms += 1;
    assert_eq!(unanimous().verify(&TrustRoot::new(other)).map(|_| ()), Err(Refusal::Genesis));
    let late = common().record(|record| record.expiry_ms = record.agreed_ms - 1);
    assert_eq!(refusal(&late), Refusal::Expired);
    let lie = common().attach(|shown| shown.votes.as_mut().unwrap().votes[0] = Vote::Class(286));
    assert_eq!(refusal(&lie), Refusal::Opening("the votes"));
    let lie = common().attach(|shown| shown.request.as_mut().unwrap().nonce[0] ^= 1);
    assert_eq!(refusal(&lie), Refusal::Opening("the request id"));
    let lie =
        common().attach(|shown| shown.models.as_mut().unwrap().0[1].as_mut().unwrap().digest = Digest::of(b"better"));
    assert_eq!(refusal(&lie), Refusal::Opening("the model set"));
}

#[test]
fn tells_the_clients_signature_from_the_gateways() {
    let market = Market::new(4, 4, Policy::Plurality);
    let trust = TrustRoot::new(market.genesis.clone());
    let client = common().certified().verify(&trust).unwrap().provenance();
    assert_eq!((client.origin, client.signature_shown), (Origin::ClientSigned, true));
    let minted = market.decide_request(&market.minted(Assurance::Robust), &classes(&[285; 4]));
    let gateway = minted.certified().verify(&trust).unwrap().provenance();
    assert_eq!((gateway.origin, gateway.key), (Origin::GatewayMinted, Some(market.genesis.gateways[0].key)));
    let hidden = common().bare().certified().verify(&trust).unwrap().provenance();
    assert_eq!((hidden.origin, hidden.key, hidden.signature_shown), (Origin::ClientSigned, None, false));
}

#[test]
fn any_quorum_gives_the_same_certificate() {
    let (one, other) = (common().certify(&[0, 1, 2]), common().certify(&[1, 2, 3]));
    assert_ne!(one.to_bytes(), other.to_bytes());
    assert_eq!(one.id(), other.id());
}

#[cfg(feature = "json")]
#[test]
fn genesis_reads_back_from_json_and_refuses_a_changed_key() {
    use dropbear_certificates::genesis_json::{LabelTables, from_json, to_json};
    let json = to_json(&genesis(), &LabelTables::new());
    assert_eq!(from_json(json.as_bytes()).unwrap().0, genesis());
    let changed = json.replace("\"fault_bound\": 1", "\"fault_bound\": 0");
    assert!(from_json(changed.as_bytes()).unwrap_err().to_string().contains("digest"));
}

#[cfg(feature = "json")]
#[test]
fn genesis_json_is_read_strictly() {
    use dropbear_certificates::genesis_json::{LabelTables, from_json, to_json};
    let json = to_json(&genesis(), &LabelTables::new());
    let policy = "\"policy\": \"plurality\"";
    let spelled = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        from_json(json.replacen(from, to, 1).as_bytes()).map(|(genesis, _)| genesis)
    };
    for same in [r#""policy": {"name": "plurality"}"#, r#""policy": "plurali\u0074y""#] {
        assert_eq!(spelled(policy, same).unwrap(), genesis(), "{same}");
    }
    let refused = [
        (policy, r#""policy": {"name": "plurality", "ranks": null}"#),
        (policy, r#""policy": ["plurality", null, null, null, null]"#),
        (policy, r#""policy": ["plurality"]"#),
        (policy, r#""policy": null"#),
        (policy, r#""policy": "plurality", "policy": "plurality""#),
        ("\"epoch\": 0", "\"epoch\": 0.0"),
        ("\"epoch\": 0", "\"epoch\": 0e0"),
        ("\"epoch\": 0", "\"epoch\": -0"),
        ("\"epoch\": 0", "\"epoch\": false"),
        ("\"epoch\": 0", "\"epoch\": null"),
        ("\"epoch\": 0", "\"epoch\": \"0\""),
        ("\"market\": \"", "\"market\": \"\\ud800"),
        ("{", "\u{feff}{"),
    ];
    for (from, to) in refused {
        assert!(spelled(from, to).is_err(), "{to}");
    }
    let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rules = file["rules"].as_object().unwrap().values().cloned().collect::<Vec<_>>();
    let member = &mut file["committee"]["members"][0];
    *member = ["name", "attestation_key", "engine_key"].iter().map(|name| member[*name].clone()).collect();
    assert!(from_json(file.to_string().as_bytes()).is_err(), "an array for a member");
    let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
    file["rules"] = rules.into();
    assert!(from_json(file.to_string().as_bytes()).is_err(), "an array for the rules");
}
