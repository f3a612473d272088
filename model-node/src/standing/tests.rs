use dropbear_certificates::Assurance;

use super::*;
use crate::testing::{Ledger, charter, owner};

fn claim() -> Claim {
    Claim { owner: "acme".into(), keys: vec![Arc::new(owner())], group: "group".into() }
}

fn version(number: u8) -> Digest {
    Ledger::version(number)
}

fn ledger() -> Ledger {
    Ledger::new(charter("image-classification", 10)).published(&[1, 2])
}

fn in_force(ledger: &Ledger, seq: u64) -> Result<Digest, NotReady> {
    claim().standing(&ledger.view(seq), None).map(|standing| standing.version)
}

#[test]
fn a_version_is_in_force_when_the_next_block_says_so() {
    assert_eq!(in_force(&ledger(), 5), Err(NotReady::NoVersion));
    let activated = ledger().activated(&[(3, Some(0)), (7, Some(1)), (9, None)]);
    let found: Vec<_> = (1..9).map(|seq| in_force(&activated, seq).ok()).collect();
    let (none, one, two) = (None, Some(version(1)), Some(version(2)));
    assert_eq!(found, [none, one, one, one, one, two, two, none]);
}

#[test]
fn the_ledgers_orders_name_what_is_in_force_what_comes_and_what_was() {
    let orders = |ledger: &Ledger, seq| claim().orders(&ledger.view(seq));
    let (one, two) = (version(1), version(2));
    let fresh = Orders { newest: Some(two), ..Orders::default() };
    assert_eq!(orders(&ledger(), 5), fresh);
    let ledger = ledger().activated(&[(3, Some(0)), (7, Some(1)), (8, Some(0))]);
    let ahead = Orders { current: Some(one), pending: vec![two, one], newest: Some(two), previous: None };
    assert_eq!(orders(&ledger, 5), ahead);
    let between = Orders { current: Some(two), pending: vec![one], newest: Some(two), previous: Some(one) };
    assert_eq!(orders(&ledger, 6), between);
    let back = Orders { current: Some(one), pending: vec![], newest: Some(two), previous: Some(two) };
    assert_eq!(orders(&ledger, 9), back);
    let withdrawn = ledger.withdrawn(1);
    let without = Orders { current: Some(one), pending: vec![], newest: Some(one), previous: None };
    assert_eq!(orders(&withdrawn, 9), without);
    assert_eq!(orders(&Ledger::new(charter("identity", 2)), 9), Orders::default());
}

#[test]
fn ballots_are_under_the_charter_in_force_or_under_the_pending_one_as_it_will_be() {
    let next = Charter { assurance: Assurance::Robust, ..charter("image-classification", 10) };
    let ledger = ledger().activated(&[(3, Some(0)), (7, Some(1))]).term(7, next.clone());
    let standing = |seq, asked: &Charter| {
        let standing = claim().standing(&ledger.view(seq), Some(&asked.digest())).unwrap();
        (standing.group.digest, standing.version)
    };
    let old = charter("image-classification", 10);
    assert_eq!(standing(5, &old), (old.digest(), version(1)));
    assert_eq!(standing(5, &next), (next.digest(), version(2)), "as it will be in block 7");
    assert_eq!(standing(6, &old), (next.digest(), version(2)), "the old one is over");
}

#[test]
fn a_key_that_takes_the_place_of_another_votes_from_its_block() {
    let successor = Arc::new(SecretKey::from_seed(&[9; 32]));
    let mut next = charter("image-classification", 10);
    next.roster[0].key = successor.public();
    let ledger = ledger().activated(&[(1, Some(0))]).term(7, next).moved_to(successor.public());
    let claim = Claim { keys: vec![Arc::new(owner()), Arc::clone(&successor)], ..claim() };
    let key = |seq| claim.standing(&ledger.view(seq), None).map(|standing| standing.key.public());
    assert_eq!((key(5), key(6)), (Ok(owner().public()), Ok(successor.public())));
}

#[test]
fn an_owner_that_is_only_proposed_is_named_but_has_no_seat() {
    let joiner = Claim { owner: "bob".into(), keys: vec![Arc::new(SecretKey::from_seed(&[9; 32]))], ..claim() };
    let mut proposed = charter("image-classification", 10);
    proposed.roster[0].owner = "bob".into();
    proposed.roster[0].key = joiner.key();
    let alone = ledger();
    assert!(matches!(joiner.standing(&alone.view(5), None), Err(NotReady::NotOnRoster(..))));
    let view = ledger().proposed(proposed).view(5);
    assert!(matches!(joiner.standing(&view, None), Err(NotReady::NotOnRoster(..))));
    let named = joiner.named(joiner.state(&view).unwrap(), 6).map(|(key, _)| key.public());
    assert_eq!(named, Ok(joiner.key()));
}

#[test]
fn what_does_not_fit_is_named() {
    let view = ledger().activated(&[(1, Some(0))]).view(5);
    let other = Claim { owner: "bob".into(), ..claim() };
    assert!(matches!(other.standing(&view, None), Err(NotReady::OtherOwner(..))));
    let other = Claim { group: "elsewhere".into(), ..claim() };
    assert_eq!(other.standing(&view, None).unwrap_err(), NotReady::NoGroup("elsewhere".into()));
    assert_eq!(claim().standing(&LedgerView::default(), None).unwrap_err(), NotReady::NotFollowing);
    let card = ModelCard {
        name: "model".into(),
        label: "1".into(),
        version: version(1),
        task: "image-classification",
        classes: Some(10),
        backend: "onnx",
    };
    let charter = charter("image-classification", 10);
    assert_eq!(fits(&charter, &card), Ok(()));
    assert!(fits(&charter, &ModelCard { classes: Some(11), ..card.clone() }).is_err());
    assert!(fits(&charter, &ModelCard { task: "identity", ..card }).is_err());
}
