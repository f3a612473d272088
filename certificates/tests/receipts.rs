//! Expanded receipts, read with an independent decoder as RFC 9942 says.

use dropbear_certificates::key::signature1;
use dropbear_certificates::samples::valid::common;
use dropbear_certificates::{Digest, TrustRoot, merkle};
use minicbor::Decoder;
use minicbor::data::Tag;

#[test]
fn every_receipt_is_a_signed_inclusion_proof_of_the_record() {
    let case = common();
    let verified = case.certify(&[0, 2, 3]).verify(&TrustRoot::new(case.market.genesis.clone())).unwrap();
    let receipts = verified.receipts();
    assert_eq!(receipts.len(), 3);
    for (receipt, place) in receipts.iter().zip([0, 2, 3]) {
        assert_eq!(receipt.key, case.market.committee.members[place].attestation);
        let mut input = Decoder::new(&receipt.bytes);
        assert_eq!(input.tag().unwrap(), Tag::new(18));
        assert_eq!(input.array().unwrap(), Some(4));
        let protected = input.bytes().unwrap();
        assert_eq!((input.map().unwrap(), input.u32().unwrap()), (Some(1), 396));
        assert_eq!((input.map().unwrap(), input.i32().unwrap()), (Some(1), -1));
        assert_eq!(input.array().unwrap(), Some(1));
        let root = root(input.bytes().unwrap(), &verified.record_bytes());
        input.null().unwrap();
        let signature = input.bytes().unwrap().try_into().unwrap();
        assert_eq!(input.position(), receipt.bytes.len());
        assert!(receipt.key.verifies(&signature1(protected, root.as_bytes()), &signature));
        assert_eq!(root, verified.header().record_root);
    }
}

fn root(proof: &[u8], entry: &[u8]) -> Digest {
    let mut input = Decoder::new(proof);
    assert_eq!(input.array().unwrap(), Some(3));
    let (size, index) = (input.u64().unwrap(), input.u64().unwrap());
    let nodes = input.array().unwrap().unwrap();
    let path: Vec<_> = (0..nodes).map(|_| Digest::from_slice(input.bytes().unwrap()).unwrap()).collect();
    merkle::root_from_path(merkle::leaf_hash(entry), index, size, &path).unwrap()
}
