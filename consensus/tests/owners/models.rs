//! Owners and their models: register, publish, activate, roll back, withdraw, and what is refused.

use crate::market::{Ledger, owner, version_digest};
use crate::signed::{GROUP, joined, public};
use dropbear_certificates::{Assurance, Digest};
use dropbear_consensus::entry::{ENDPOINTS_MAX, Invalid};
use dropbear_consensus::registry::{ACTIVATIONS_PAST_MAX, ACTIVATIONS_PENDING_MAX, SERIAL_AHEAD_MS_MAX};
use dropbear_consensus::{Endpoints, Entry, Publish, Refused, Register};

fn version(place: u8, version: u8) -> Option<Digest> {
    Some(version_digest(place, version))
}

/// A market in which owner 0 has published versions 0 to 2, and 0 is current.
fn with_three_versions() -> Ledger {
    let mut ledger = Ledger::with_models();
    let published = [ledger.publish(0, 1), ledger.publish(0, 2)];
    ledger.block(&published).unwrap();
    ledger
}

#[test]
fn a_model_is_registered_before_its_versions_and_once() {
    let mut ledger = Ledger::new();
    let early = ledger.publish(0, 0);
    assert_eq!(ledger.block(&[early]).unwrap_err(), Refused::NotRegistered);
    let registered = ledger.register(0);
    ledger.block(&[registered]).unwrap();
    let again = ledger.register(0);
    assert_eq!(ledger.block(&[again]).unwrap_err(), Refused::AlreadyRegistered);
    let others = ledger.publish(1, 0);
    assert_eq!(ledger.block(&[others]).unwrap_err(), Refused::NotRegistered, "another owner's model of that name");
    let same_name = ledger.register(1);
    ledger.block(&[same_name]).unwrap();
}

#[test]
fn nothing_is_applied_twice_or_out_of_turn() {
    let mut ledger = Ledger::new();
    let (registered, published) = (ledger.register(0), ledger.publish(0, 0));
    ledger.block(&[registered.clone(), published.clone()]).unwrap();
    for replayed in [registered, published] {
        assert_eq!(ledger.block(&[replayed]).unwrap_err(), Refused::Replayed);
    }
    let again = ledger.publish(0, 0);
    assert_eq!(ledger.block(&[again]).unwrap_err(), Refused::AlreadyPublished);
    let unpublished = ledger.activate(0, 1, 0);
    assert_eq!(ledger.block(&[unpublished]).unwrap_err(), Refused::NotPublished);
    let somebody_elses = ledger.withdraw(1, 0, true);
    assert_eq!(ledger.block(&[somebody_elses]).unwrap_err(), Refused::NotPublished);
    let far = ledger.activate(0, 0, 1000);
    ledger.block(&[far]).unwrap();
    let sooner = ledger.activate(0, 0, 500);
    assert_eq!(ledger.block(&[sooner]).unwrap_err(), Refused::OutOfOrder);
}

#[test]
fn a_serial_from_the_future_would_shut_its_owner_out() {
    let mut ledger = Ledger::new();
    let Entry::Register(mut register, _) = ledger.register(0).entry().clone() else { unreachable!() };
    register.serial = ledger.now_ms() + SERIAL_AHEAD_MS_MAX + 1;
    let ahead = ledger.checked(register.sign(&owner(0)));
    assert_eq!(ledger.block(&[ahead]).unwrap_err(), Refused::SerialAhead);
}

#[test]
fn a_stranger_and_another_owners_signature_are_refused() {
    let mut ledger = Ledger::with_models();
    let stranger = ledger.register(7);
    assert_eq!(ledger.block(&[stranger]).unwrap_err(), Refused::NotNamed);
    let Entry::Publish(publish, _) = ledger.publish(0, 1).entry().clone() else { unreachable!() };
    let in_anothers_name = publish.clone().sign(&owner(1));
    assert_eq!(in_anothers_name.check(&ledger.genesis()).unwrap_err(), Invalid::Signature("owner"));
    let signature = [7; 64];
    assert_eq!(Entry::Publish(publish, signature).check(&ledger.genesis()).unwrap_err(), Invalid::Signature("owner"));
}

#[test]
fn an_activation_is_rolled_back_by_activating_the_earlier_version() {
    let mut ledger = with_three_versions();
    for next in [1, 0, 2] {
        let activated = ledger.activate(0, next, 0);
        ledger.block(&[activated]).unwrap();
        assert_eq!(ledger.current(0), version(0, next));
    }
}

#[test]
fn the_current_version_is_withdrawn_and_the_group_goes_on_without_its_owner() {
    let mut ledger = Ledger::with_models();
    let withdrawn = ledger.withdraw(3, 0, false);
    let at = ledger.block(&[withdrawn]).unwrap().header.seq;
    let group = ledger.chain.state().registry.group(GROUP).unwrap().clone();
    assert_eq!(group.current(&public(3), at).unwrap().digest, version_digest(3, 0), "notice of one block");
    assert_eq!(ledger.current(3), None);
    let noted = group.holding(&public(3)).unwrap().versions[0].withdrawn.clone().unwrap();
    assert_eq!((noted.seq, noted.permanent, noted.reason.as_str()), (at, false, "it did not load"));

    let entry = ledger.one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    ledger.block(&[entry]).unwrap();
    assert_eq!((ledger.account(2).counted, ledger.account(3).counted, ledger.account(3).stale), (1, 0, 1));

    let again = ledger.withdraw(3, 0, false);
    assert_eq!(ledger.block(&[again]).unwrap_err(), Refused::AlreadyWithdrawn);
    let repaired = ledger.activate(3, 0, 0);
    ledger.block(&[repaired]).unwrap();
    assert_eq!(ledger.current(3), version(3, 0));
}

#[test]
fn a_version_retired_for_good_never_comes_back() {
    let mut ledger = with_three_versions();
    let retired = ledger.withdraw(0, 0, true);
    ledger.block(&[retired]).unwrap();
    assert_eq!(ledger.current(0), None);
    let back = ledger.activate(0, 0, 0);
    assert_eq!(ledger.block(&[back]).unwrap_err(), Refused::Retired);
    let another = ledger.activate(0, 1, 0);
    ledger.block(&[another]).unwrap();
    assert_eq!(ledger.current(0), version(0, 1));
}

#[test]
fn a_pending_version_is_withdrawn_and_the_one_in_force_stays() {
    let mut ledger = with_three_versions();
    let seq = ledger.chain.state().seq;
    let planned = [ledger.activate(0, 1, seq + 10), ledger.activate(0, 2, seq + 20)];
    ledger.block(&planned).unwrap();
    let withdrawn = ledger.withdraw(0, 1, false);
    ledger.block(&[withdrawn]).unwrap();
    let group = ledger.chain.state().registry.group(GROUP).unwrap();
    let at = |after: u64| group.current(&public(0), seq + after).map(|version| version.digest);
    assert_eq!([at(9), at(10), at(19), at(20)], [version(0, 0), version(0, 0), version(0, 0), version(0, 2)]);
}

#[test]
fn withdrawing_and_rolling_back_in_one_block_leaves_no_gap() {
    for withdraw_first in [true, false] {
        let mut ledger = with_three_versions();
        let activated = ledger.activate(0, 1, 0);
        ledger.block(&[activated]).unwrap();
        let entries = match withdraw_first {
            true => [ledger.withdraw(0, 1, true), ledger.activate(0, 0, 0)],
            false => [ledger.activate(0, 0, 0), ledger.withdraw(0, 1, true)],
        };
        ledger.block(&entries).unwrap();
        assert_eq!(ledger.current(0), version(0, 0), "withdrawn first: {withdraw_first}");
    }
}

#[test]
fn an_owner_that_activates_without_end_fills_nothing() {
    let mut ledger = with_three_versions();
    for turn in 0..40 {
        let activated = ledger.activate(0, turn % 3, 0);
        ledger.block(&[activated]).unwrap();
    }
    let group = ledger.chain.state().registry.group(GROUP).unwrap().clone();
    let kept = group.holding(&public(0)).unwrap().activations.len();
    assert!(kept <= ACTIVATIONS_PAST_MAX + 2, "{kept}");

    let seq = ledger.chain.state().seq;
    for place in 0..ACTIVATIONS_PENDING_MAX as u64 - 1 {
        let planned = ledger.activate(0, (place % 3) as u8, seq + 1000 + place);
        ledger.block(&[planned]).unwrap();
    }
    let one_more = ledger.activate(0, 0, seq + 5000);
    ledger.block(&[one_more]).unwrap();
    let too_many = ledger.activate(0, 0, seq + 6000);
    assert_eq!(ledger.block(&[too_many]).unwrap_err(), Refused::TooManyActivations);
}

#[test]
fn endpoints_replace_each_other_and_are_bounded() {
    let mut ledger = Ledger::new();
    let endpoints = |ledger: &mut Ledger, endpoints: &[&str]| {
        let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        let (genesis, serial) = (ledger.genesis(), ledger.next_serial());
        let entry = Endpoints { genesis, owner: public(0), serial, group: GROUP.into(), endpoints };
        entry.sign(&owner(0)).check(&genesis)
    };
    for list in [&["127.0.0.1:7001", "[::1]:7002"][..], &["127.0.0.1:7003"], &[]] {
        let entry = endpoints(&mut ledger, list).unwrap();
        ledger.block(&[entry]).unwrap();
        let group = ledger.chain.state().registry.group(GROUP).unwrap().clone();
        assert_eq!(group.holding(&public(0)).unwrap().endpoints, list);
    }
    assert_eq!(endpoints(&mut ledger, &["nowhere"]).unwrap_err(), Invalid::Endpoint);
    assert_eq!(endpoints(&mut ledger, &["a:1", "a:1"]).unwrap_err(), Invalid::Endpoint);
    let many: Vec<_> = (1..=ENDPOINTS_MAX + 1).map(|port| format!("a:{port}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(endpoints(&mut ledger, &many).is_err());
}

#[test]
fn texts_and_names_have_bounds() {
    let ledger = Ledger::new();
    let register = |model: &str, licence: &str, lineage: &str| Register {
        genesis: ledger.genesis(),
        owner: public(0),
        serial: 1,
        group: GROUP.into(),
        model: model.into(),
        licence: licence.into(),
        lineage: lineage.into(),
    };
    let check = |register: Register| register.sign(&owner(0)).check(&ledger.genesis()).map(|_| ());
    assert_eq!(check(register("lite", "MIT", "")), Ok(()));
    assert_eq!(check(register("Lite", "MIT", "")), Err(Invalid::Name));
    assert!(check(register("lite", &"x".repeat(65), "")).is_err());
    assert!(check(register("lite", "MIT", &"x".repeat(257))).is_err());
    assert_eq!(check(register("lite", "MIT\n", "")), Err(Invalid::Text("licence", 64)));
}

#[test]
fn every_entry_reads_back_as_it_was_written() {
    let mut ledger = Ledger::with_models();
    let (proposed, proposal) = ledger.change(&owner(4), |charter| joined(charter, 4));
    let entries = [
        ledger.register(0),
        ledger.publish(0, 1),
        ledger.activate(0, 1, 5),
        ledger.withdraw(0, 1, true),
        proposed,
        ledger.approve(&owner(0), GROUP, proposal),
        ledger.leave(0),
        ledger.rekey(0, &owner(9)),
        ledger.one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7)]),
    ];
    for entry in entries {
        let read = Entry::from_bytes(entry.bytes()).unwrap();
        assert_eq!(&read, entry.entry());
        assert_eq!(read.to_bytes(), entry.bytes());
        let mut longer = entry.bytes().to_vec();
        longer.push(0);
        assert!(Entry::from_bytes(&longer).is_err());
    }
    let publish = Publish {
        genesis: Digest::of(b"another market"),
        owner: public(0),
        serial: 1,
        group: GROUP.into(),
        model: "lite".into(),
        label: "1".into(),
        version: version_digest(0, 1),
    };
    assert_eq!(publish.sign(&owner(0)).check(&ledger.genesis()).unwrap_err(), Invalid::Genesis);
}
