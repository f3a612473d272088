//! Tables, memory and budgets change what verification costs, never its verdict.

use dropbear_certificates::samples::valid::{classes, common};
use dropbear_certificates::samples::{Market, corrupt, json, valid};
use dropbear_certificates::{
    Assurance, Budget, Certificate, Effort, GovernanceChain, KeyTables, Policy, Refusal, SeenQuorums, TrustRoot,
};

#[test]
fn tables_and_memory_give_every_vector_its_verdict() {
    let mut seen = SeenQuorums::new(1024);
    for vector in valid::vectors().iter().chain(&corrupt::vectors()) {
        let mut trust = TrustRoot::new(vector.genesis.clone());
        if let Some(chain) = &vector.chain {
            match trust.extended(&GovernanceChain::from_bytes(chain).unwrap()) {
                Ok(extended) => trust = extended,
                Err(_) => continue,
            }
        }
        let tables = KeyTables::of(&vector.genesis.committee);
        for _ in 0..2 {
            let mut effort = Effort { tables: Some(&tables), seen: Some(&mut seen), ..Effort::default() };
            let verdict = Certificate::from_bytes(&vector.certificate)
                .and_then(|read| read.into_verified(&trust, &mut effort))
                .map(|verified| json::expectation(&verified))
                .map_err(|refusal| refusal.code());
            let plain =
                json::verdict(vector).map(|verified| json::expectation(&verified)).map_err(|plain| plain.code());
            assert_eq!(verdict, plain, "{}", vector.name);
        }
    }
}

#[test]
fn a_seen_quorum_costs_no_signature_and_vouches_for_nothing_else() {
    let (case, mut seen) = (common().bare(), SeenQuorums::new(8));
    let trust = TrustRoot::new(case.market.genesis.clone());
    let verify = |certificate: &Certificate, seen: &mut SeenQuorums, signatures| {
        let budget = Budget { signatures, path_steps: 0 };
        let mut effort = Effort { budget, seen: Some(seen), ..Effort::default() };
        certificate.verify_with(&trust, &mut effort).map(|_| ()).map_err(|refusal| refusal.code())
    };
    let certificate = case.certified();
    assert_eq!(verify(&certificate, &mut seen, 2), Err("budget-exhausted"));
    assert_eq!(verify(&certificate, &mut seen, 3), Ok(()));
    assert_eq!(verify(&certificate, &mut seen, 0), Ok(()), "the same quorum");
    assert_eq!(verify(&case.certify(&[0, 1, 2]), &mut seen, 0), Err("budget-exhausted"), "another quorum");
    let mut bytes = certificate.to_bytes();
    let place = bytes.windows(8).position(|window| window == b"imagenet").unwrap();
    bytes[place] ^= 1;
    let changed = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(verify(&changed, &mut seen, 3), Err("bad-signature"), "another record");
}

#[test]
fn attachments_and_chains_are_paid_for() {
    let case = common();
    let trust = TrustRoot::new(case.market.genesis.clone());
    let with = |signatures, path_steps| {
        let mut effort = Effort { budget: Budget { signatures, path_steps }, ..Effort::default() };
        case.certified().verify_with(&trust, &mut effort).map(|_| ()).map_err(|refusal| refusal.code())
    };
    // Three attestations, the request's signature, four ballots with paths of two nodes each, twice.
    assert_eq!(with(8, 16), Ok(()));
    assert_eq!(with(7, 16), Err("budget-exhausted"));
    assert_eq!(with(8, 15), Err("budget-exhausted"));
    let chain = dropbear_certificates::samples::governance::chain();
    let mut effort = Effort { budget: Budget { signatures: 5, path_steps: 100 }, ..Effort::default() };
    assert_eq!(trust.extended_with(&chain, &mut effort).map(|_| ()), Err(Refusal::Budget));
}

#[test]
fn a_budget_of_the_default_verifies_the_largest_group() {
    let market = Market::new(31, 31, Policy::Plurality);
    let certificate = market.decide(&classes(&[7; 31]), Assurance::Robust).certified();
    assert!(certificate.to_bytes().len() < 65_536);
    assert!(certificate.verify(&TrustRoot::new(market.genesis)).is_ok());
}
