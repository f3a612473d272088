//! Damaged certificates: every single bit, and seeded damage that knows the format.

use dropbear_certificates::samples::mutate::{Dice, mutate};
use dropbear_certificates::samples::valid::{common, vectors};
use dropbear_certificates::{Attachments, Certificate, Effort, KeyTables, Refusal, SeenQuorums, TrustRoot, Verified};

fn every_flip_is_refused(certificate: &Certificate, trust: &TrustRoot) {
    let (bytes, tables) = (certificate.to_bytes(), KeyTables::of(&trust.genesis().committee));
    let mut seen = SeenQuorums::new(1);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut effort = Effort { tables: Some(&tables), seen: Some(&mut seen), ..Effort::default() };
        let verdict = Certificate::from_bytes(&changed).and_then(|read| read.into_verified(trust, &mut effort));
        assert!(verdict.is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn every_flipped_bit_of_everything_that_can_be_attached_is_refused() {
    let case = common().attach(|shown| shown.ballots.truncate(1));
    every_flip_is_refused(&case.certified(), &TrustRoot::new(case.market.genesis.clone()));
}

#[test]
fn every_flipped_bit_of_an_attached_chain_is_refused() {
    let vector = vectors().into_iter().find(|vector| vector.name == "chain-attached").unwrap();
    let certificate = Certificate::from_bytes(&vector.certificate).unwrap();
    let chain = certificate.attachments().chain.clone();
    let only = certificate.with_attachments(Attachments { chain, ..Attachments::default() });
    every_flip_is_refused(&only, &TrustRoot::new(vector.genesis));
}

/// What a certificate says, whatever quorum signed it and whatever is attached.
fn said(verified: &Verified) -> (Vec<u8>, Vec<u8>) {
    (verified.header().to_bytes(), verified.record_bytes())
}

#[test]
fn seeded_damage_never_panics_and_never_changes_what_is_said() {
    let sources: Vec<_> = vectors().into_iter().filter(|vector| vector.chain.is_none()).collect();
    let mut dice = Dice::new(7);
    for _ in 0..3_000 {
        let (vector, donor) = (&sources[dice.below(sources.len())], &sources[dice.below(sources.len())]);
        let trust = TrustRoot::new(vector.genesis.clone());
        let parse = |bytes: &[u8]| Certificate::from_bytes(bytes).unwrap();
        let original = parse(&vector.certificate);
        let bytes = mutate(&original, &parse(&donor.certificate), &mut dice);
        match Certificate::from_bytes(&bytes) {
            Err(refusal) => assert!(Refusal::CODES.contains(&refusal.code())),
            Ok(read) => {
                assert_eq!(read.to_bytes(), bytes, "what parses is what would be written");
                if let Ok(verified) = read.verify(&trust) {
                    assert_eq!(said(&verified), said(&original.verify(&trust).unwrap()));
                }
            }
        }
    }
}
