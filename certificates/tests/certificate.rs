//! A certificate's life: made, carried, verified, and refused after any change.

mod market;

use dropbear_certificates::request::input_digest;
use dropbear_certificates::{Assurance, Attachments, Certificate, Digest, Outcome, Refusal, TrustRoot, Vote};
use market::{certificate, genesis, input, record};

fn unanimous() -> Certificate {
    let (record, attachments) = record(&[const { Some(Vote::Class(285)) }; 4], Assurance::Robust);
    certificate(record, attachments, &[0, 2, 3])
}

fn refusal(certificate: &Certificate) -> Refusal {
    let read = Certificate::from_bytes(&certificate.to_bytes());
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
fn every_flipped_bit_is_refused() {
    let bytes = unanimous().to_bytes();
    let trust = TrustRoot::new(genesis());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let verdict = Certificate::from_bytes(&changed).and_then(|read| read.verify(&trust));
        assert!(verdict.is_err(), "bit {bit} of byte {}", bit / 8);
    }
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
    let (record, attachments) = record(&[const { Some(Vote::Class(285)) }; 4], Assurance::Robust);
    let two = certificate(record, attachments, &[1, 2]);
    assert_eq!(refusal(&two), Refusal::Quorum { found: 2, needed: 3 });
}

#[test]
fn disagreement_is_certified_as_such() {
    let votes = [2, 2, 5, 7].map(|class| Some(Vote::Class(class)));
    let (record, attachments) = record(&votes, Assurance::Robust);
    let verified = certificate(record, attachments, &[0, 1, 2, 3]).verify(&TrustRoot::new(genesis())).unwrap();
    assert_eq!(verified.record().outcome, Outcome::NoAgreement);
    assert_eq!(verified.class(), None);
}

#[test]
fn a_quorum_that_signs_a_wrong_outcome_is_blamed() {
    let votes = [2, 2, 5, 7].map(|class| Some(Vote::Class(class)));
    let (mut record, attachments) = record(&votes, Assurance::Robust);
    record.outcome = Outcome::Agreed;
    assert_eq!(refusal(&certificate(record.clone(), attachments.clone(), &[0, 1, 2])), Refusal::Outcome);
    record.assurance = Assurance::Robust;
    assert_eq!(refusal(&certificate(record.clone(), attachments.clone(), &[0, 1, 2])), Refusal::Outcome);
    record.faults = 0;
    assert_eq!(refusal(&certificate(record, attachments, &[0, 1, 2])), Refusal::Binding);
}

#[test]
fn another_market_another_record_another_opening() {
    let (record, attachments) = record(&[const { Some(Vote::Class(285)) }; 4], Assurance::Robust);
    let mut other = genesis();
    other.created_ms += 1;
    let verdict = unanimous().verify(&TrustRoot::new(other)).map(|_| ());
    assert_eq!(verdict, Err(Refusal::Genesis));

    let mut late = record.clone();
    late.expiry_ms = late.agreed_ms - 1;
    assert!(matches!(refusal(&certificate(late, attachments.clone(), &[0, 1, 2])), Refusal::Expired));

    let mut lie = attachments.clone();
    lie.votes.as_mut().unwrap().votes[0] = Vote::Class(286);
    assert_eq!(refusal(&certificate(record.clone(), lie, &[0, 1, 2])), Refusal::Opening("the votes"));

    let mut lie = attachments.clone();
    lie.request.as_mut().unwrap().nonce[0] ^= 1;
    assert_eq!(refusal(&certificate(record.clone(), lie, &[0, 1, 2])), Refusal::Opening("the request id"));

    let mut lie = attachments;
    lie.models.as_mut().unwrap().0[1].as_mut().unwrap().digest = Digest::of(b"better weights");
    assert_eq!(refusal(&certificate(record, lie, &[0, 1, 2])), Refusal::Opening("the model set"));
}

#[test]
fn any_quorum_gives_the_same_certificate() {
    let (record, attachments) = record(&[const { Some(Vote::Class(285)) }; 4], Assurance::Robust);
    let one = certificate(record.clone(), attachments.clone(), &[0, 1, 2]);
    let other = certificate(record, attachments, &[1, 2, 3]);
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
