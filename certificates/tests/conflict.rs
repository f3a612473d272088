//! Two certificates that contradict each other convict; two that do not, do not.

use dropbear_certificates::conflict::{self, ConflictKind, Missing};
use dropbear_certificates::samples::valid::{classes, common};
use dropbear_certificates::samples::{Market, conflicts, governance};
use dropbear_certificates::{Assurance, Attachments, LedgerOpening, Policy, TrustRoot, Verdict};

fn verdict(name: &str) -> Verdict {
    let pair = conflicts::pairs().into_iter().find(|pair| pair.name == name).unwrap();
    conflicts::verdict(&pair).unwrap()
}

#[test]
fn two_headers_at_one_seq_convict_everybody_who_signed_both() {
    for members in [4, 5, 6, 7, 31] {
        let market = Market::new(members, 4, Policy::Plurality);
        let trust = TrustRoot::new(market.genesis.clone());
        let (faults, quorum) = (market.committee.faults(), market.committee.quorum());
        let certify = |class: u32, signers: Vec<usize>| {
            let case = market.decide(&classes(&[class; 4]), Assurance::Robust).bare();
            case.certify(&signers).verify(&trust).unwrap()
        };
        let first = certify(1, (0..quorum).collect());
        let second = certify(2, (faults..quorum + faults).collect());
        let Verdict::Conflict { kind, guilty } = conflict::check(&first, &second, None) else { panic!("{members}") };
        assert_eq!(kind, ConflictKind::SameSeq);
        assert!(guilty.len() > faults, "{members} members");
        let both = first.signers().iter().filter(|place| second.signers().contains(place));
        let both: Vec<_> = both.map(|place| market.committee.members[*place].attestation).collect();
        assert_eq!(guilty, both);
    }
}

#[test]
fn one_ledger_is_consistent_and_a_rewritten_one_is_not() {
    assert_eq!(verdict("later-consistent"), Verdict::Consistent);
    assert!(matches!(verdict("rewritten"), Verdict::Conflict { kind: ConflictKind::Rewritten, .. }));
    assert!(matches!(verdict("two-outcomes"), Verdict::Conflict { kind: ConflictKind::TwoOutcomes, .. }));
}

#[test]
fn what_is_no_header_in_an_earlier_ones_place_convicts() {
    assert!(matches!(verdict("rewritten-to-no-header"), Verdict::Conflict { kind: ConflictKind::Rewritten, .. }));
}

#[test]
fn an_opening_that_does_not_decode_is_refused_whether_needed_or_not() {
    for name in ["opening-cut-short", "opening-cut-short-where-none-is-needed"] {
        let pair = conflicts::pairs().into_iter().find(|pair| pair.name == name).unwrap();
        assert_eq!(conflicts::verdict(&pair).unwrap_err().code(), "malformed");
    }
}

#[test]
fn the_signers_of_the_later_of_two_outcomes_are_guilty() {
    let pair =
        conflicts::pairs().into_iter().find(|pair| pair.name == "two-outcomes-in-one-block-other-order").unwrap();
    let trust = TrustRoot::new(pair.genesis.clone());
    let guilty = pair.a.verify(&trust).unwrap().attested().keys().to_vec();
    assert_eq!(conflicts::verdict(&pair), Ok(Verdict::Conflict { kind: ConflictKind::TwoOutcomes, guilty }));
}

#[test]
fn across_epochs_nobody_is_blamed_for_another_ledger_but_for_a_second_outcome() {
    assert_eq!(verdict("epochs"), Verdict::Unresolved(Missing::Opening));
    assert_eq!(verdict("epochs-consistent"), Verdict::Consistent);
    assert_eq!(verdict("epochs-rewritten"), Verdict::Unresolved(Missing::Epoch));
    let Verdict::Conflict { kind: ConflictKind::TwoOutcomes, guilty } = verdict("epochs-two-outcomes") else {
        panic!()
    };
    assert_eq!(guilty.len(), 5);
}

#[test]
fn without_a_fitting_opening_nobody_is_blamed() {
    assert_eq!(verdict("later-without-opening"), Verdict::Unresolved(Missing::Opening));
    assert_eq!(verdict("opening-of-another-root"), Verdict::Unresolved(Missing::OtherOpening));
    assert_eq!(verdict("two-outcomes-without-opening"), Verdict::Unresolved(Missing::Opening));
}

#[test]
fn an_opening_survives_its_file() {
    let bytes = conflicts::pairs().into_iter().find_map(|pair| pair.opening).unwrap();
    assert_eq!(LedgerOpening::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    assert!(LedgerOpening::from_bytes(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn the_last_header_of_an_epoch_is_at_hand_for_checks_across_epochs() {
    let trust = TrustRoot::new(common().market.genesis).extended(&governance::chain()).unwrap();
    let last = trust.last_of_epoch(0).unwrap();
    assert_eq!(last.header().seq, governance::CONFIG_SEQ);
    assert_eq!(last.keys().len(), 3);
    let at = Market { seq: governance::CONFIG_SEQ - 20, ..common().market };
    let early = at.decide(&classes(&[285; 4]), Assurance::Robust).certified().with_attachments(Attachments::default());
    let early = early.verify(&trust).unwrap().attested();
    assert_eq!(conflict::check_headers(&early, last, None), Verdict::Unresolved(Missing::Opening));
}
