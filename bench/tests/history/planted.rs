//! What a market must not do, done: each is caught under its name, and nothing else is said that is not so.

use dropbear_bench::history::Violation;
use dropbear_bench::history::log::Event;
use dropbear_certificates::{Assurance, Digest, GovernanceEntry, Outcome, Record};

use crate::market::History;

const ALL: [(u8, u8, u8, u32); 4] = [(0, 0, 0, 7), (1, 1, 0, 7), (2, 2, 0, 7), (3, 3, 0, 7)];

/// A market with one activation behind it: owner 0 serves version 1.
fn updated() -> History {
    let mut history = History::new();
    let ask = history.ask(1, &ALL);
    history.block(&[ask]);
    let activate = history.activate(0, 1);
    history.block(&[activate]);
    assert!(history.check().is_green());
    history
}

/// The history has these violations and no others.
fn caught(history: &History, expected: &[Violation]) {
    let report = history.check();
    let found: Vec<_> = report.violations.keys().copied().collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{report}");
}

#[test]
fn accepting_the_previous_version_too() {
    let mut history = updated();
    let ask = history.ask(2, &ALL);
    history.accept_previous_version(&ask);
    caught(&history, &[Violation::StaleBallot]);
    let report = history.check().to_string();
    assert!(report.contains("stale-ballot (1)") && report.contains("owner-0 answered with version"), "{report}");
}

#[test]
fn allowing_a_second_outcome() {
    let mut history = updated();
    let again = history.ask(1, &[(0, 0, 1, 9), (1, 1, 0, 9), (2, 2, 0, 9), (3, 3, 0, 9)]);
    history.allow_second_outcome(&again);
    // Its certificate is not that of the first outcome.
    caught(&history, &[Violation::SecondOutcome, Violation::NotInLedger]);
}

/// Changes the record of one more request before it is sealed.
fn with_record(change: impl Fn(&mut Record)) -> History {
    let mut history = updated();
    let ask = history.ask(2, &[(0, 0, 1, 7), (1, 1, 0, 7), (2, 2, 0, 7), (3, 3, 0, 7)]);
    history.execute(&[ask], |leaves| {
        let mut record = Record::from_bytes(&leaves[1]).unwrap();
        change(&mut record);
        leaves[1] = record.to_bytes();
    });
    history
}

#[test]
fn records_that_say_something_else_than_their_ballots() {
    caught(&with_record(|_| {}), &[]);
    caught(&with_record(|record| record.model_set = Digest::of(b"others")), &[Violation::WrongVersions]);
    // The certificates of these do not verify either.
    let charter = with_record(|record| record.charter = Digest::of(b"another"));
    caught(&charter, &[Violation::WrongCharter, Violation::BadCertificate]);
    let outcome = with_record(|record| record.outcome = Outcome::NoAgreement);
    caught(&outcome, &[Violation::WrongOutcome, Violation::BadCertificate]);
    caught(
        &with_record(|record| record.assurance = Assurance::Supported),
        &[Violation::WrongOutcome, Violation::BadCertificate],
    );
    caught(&with_record(|record| record.commitment = Digest::of(b"another input")), &[Violation::Unbacked]);
    caught(&with_record(|record| record.ballots = Digest::of(b"other ballots")), &[Violation::Unbacked]);
}

#[test]
fn a_ballot_that_is_left_out() {
    // Only the checker can see this: the certificate alone is sound.
    let mut history = updated();
    let three = [(1, 1, 0, 7), (2, 2, 0, 7), (3, 3, 0, 7)];
    let four = [&[(0, 0, 1, 8)], three.as_slice()].concat();
    let (with, without) = (history.ask(2, &four), history.ask(2, &three));
    history.block(&[without]);
    let last = history.blocks.last_mut().unwrap();
    last.payload =
        dropbear_consensus::Proposal { agreed_ms: last.header.agreed_ms, entries: vec![with.to_bytes()] }.to_bytes();
    caught(&history, &[Violation::Unbacked]);
}

#[test]
fn answers_that_are_older_than_what_was_known() {
    let mut history = updated();
    // Asked when the activation was known, and answered from before it.
    let late = history.log.iter().find_map(|event| match event {
        Event::Request { certificate, .. } => certificate.clone(),
        _ => None,
    });
    history.log.retain(|event| !matches!(event, Event::Request { .. }));
    history.log.push(Event::Request { start_us: 1000, end_us: 1001, certificate: late, id: None, error: None });
    // The activation takes effect in the block after its own, which is not there yet.
    caught(&history, &[Violation::RealTime]);
    let activate = history.activate(1, 1);
    history.block(&[activate]);
    caught(&history, &[Violation::RealTime, Violation::OldVersions]);
}

#[test]
fn entries_out_of_order() {
    let mut history = History::new();
    let entries = history.log.iter_mut().filter_map(|event| match event {
        Event::Entry { start_us, end_us, .. } => Some((start_us, end_us)),
        _ => None,
    });
    let (start_us, end_us) = entries.min().unwrap();
    (*start_us, *end_us) = (1000, 1001);
    caught(&history, &[Violation::RealTime]);
}

#[test]
fn ledgers_that_do_not_hang_together() {
    let mut history = updated();
    history.blocks.remove(3);
    assert!(history.check().found(Violation::BrokenChain));

    let mut history = updated();
    history.blocks[2].attestations.pop();
    caught(&history, &[Violation::NoQuorum]);

    let mut history = updated();
    let ask = history.ask(2, &[(0, 0, 1, 7), (1, 1, 0, 7), (2, 2, 0, 7)]);
    history.execute(&[ask], |leaves| leaves.push(b"something else".to_vec()));
    assert!(history.check().found(Violation::BrokenLeaves));

    let mut history = updated();
    history.blocks.pop();
    caught(&history, &[Violation::LostEntry]);

    let mut history = updated();
    let last = history.blocks.iter().rposition(|block| Record::from_bytes(&block.leaves[1]).is_ok()).unwrap();
    history.blocks.truncate(last);
    assert!(history.check().found(Violation::NotInLedger));
}

#[test]
fn entries_against_the_rules() {
    // The ledger's own code refuses each of these: they are put in place of a lawful entry.
    let replace = |make: &dyn Fn(&mut History) -> dropbear_consensus::Entry| {
        let mut history = updated();
        let lawful = history.activate(1, 1);
        history.block(&[lawful]);
        let unlawful = make(&mut history);
        let seq = history.blocks.last().unwrap().header.seq;
        let (statement, signature) = unlawful.statement().unwrap();
        let leaf = dropbear_consensus::block::statement_leaf(statement, signature, seq, 1);
        history.reseal(&[unlawful], leaf);
        history
    };
    let unlawful = |make: &dyn Fn(&mut History) -> dropbear_consensus::Entry, why: &str| {
        let report = replace(make).check();
        assert!(report.found(Violation::UnlawfulEntry) && report.to_string().contains(why), "{why}: {report}");
    };
    unlawful(&|history| history.activate(1, 7), "never published");
    unlawful(&|history| history.replayed(), "replay");
    unlawful(&|history| history.activate(7, 0), "nothing names its owner");
    unlawful(&|history| history.signed_by_another(1), "signature is wrong");
}

#[test]
fn charters_that_nobody_approved() {
    let mut lawful = updated();
    lawful.join(4);
    assert!(lawful.check().is_green());
    let leaves = lawful.blocks.iter().flat_map(|block| &block.leaves);
    let charter = leaves.into_iter().find(|leaf| GovernanceEntry::from_bytes(leaf).is_ok()).unwrap();

    let mut smuggled = updated();
    let activate = smuggled.activate(1, 1);
    smuggled.execute(&[activate], |leaves| leaves.push(charter.clone()));
    assert!(smuggled.check().found(Violation::UnlawfulCharter));

    let mut kept_back = updated();
    let leave = kept_back.leave(3);
    kept_back.execute(&[leave], |leaves| drop(leaves.pop()));
    assert!(kept_back.check().found(Violation::UnlawfulCharter));
}
