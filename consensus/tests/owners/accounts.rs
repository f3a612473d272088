//! What owners did: counted in time, late, stale, dissenting; and who contradicted itself.

use crate::market::{Ledger, gateway, owner};
use crate::signed::{GROUP, public};
use dropbear_certificates::ballot::vote_leaf;
use dropbear_certificates::request::vote_commitment;
use dropbear_certificates::{Assurance, Ballot, StatementType, Vote, merkle};
use dropbear_consensus::entry::Invalid;
use dropbear_consensus::{Account, Checked, Entry, Evidence, Refused, SignedVote, Submission, SubmittedRequest};

const ROBUST: Assurance = Assurance::Robust;

/// A checked entry of late ballots over these requests; (owner, class) under version 0.
fn late(ledger: &Ledger, nonces: &[u8], votes: &[(u8, u32)]) -> Checked {
    let requests: Vec<_> = nonces.iter().map(|nonce| ledger.request(*nonce, ROBUST)).collect();
    let classes = |class: u32| vec![class; requests.len()];
    let ballots = votes.iter().map(|(place, class)| ledger.ballot(*place, 0, &requests, &classes(*class))).collect();
    let (genesis, charter) = (ledger.genesis(), ledger.charter().1);
    let late = Submission::sign(StatementType::Late, genesis, &gateway(), GROUP.into(), charter, requests, ballots);
    Entry::Late(Box::new(late)).check(&genesis).unwrap()
}

#[test]
fn owners_and_market_see_the_same_numbers() {
    let mut ledger = Ledger::with_models();
    let unanimous = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    let dissent = ledger.one(2, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 8)]);
    let supported = ledger.one(3, Assurance::Supported, &[(0, 7), (1, 7), (2, 8), (3, 1000)]);
    let none = ledger.one(4, ROBUST, &[(0, 1), (1, 1), (2, 2), (3, 3)]);
    for entry in [unanimous, dissent, supported, none] {
        ledger.block(&[entry]).unwrap();
    }
    let base = Account { offered: 4, counted: 4, agreed: 3, paid: 4, earned: 4, ..Account::default() };
    assert_eq!(ledger.account(0), base);
    assert_eq!(ledger.account(2), Account { agreed: 2, dissented: 1, ..base });
    let three = Account { counted: 3, agreed: 1, dissented: 1, abstained: 1, paid: 3, earned: 3, ..base };
    assert_eq!(ledger.account(3), three);
    assert_eq!(ledger.account(9), Account::default());
}

#[test]
fn late_ballots_count_and_are_paid_once() {
    let mut ledger = Ledger::with_models();
    let entries = [1, 2].map(|nonce| ledger.one(nonce, ROBUST, &[(0, 7), (1, 7), (2, 7)]));
    let early = late(&ledger, &[1, 2], &[(3, 7)]);
    assert_eq!(ledger.block(std::slice::from_ref(&early)).unwrap_err(), Refused::NothingLate, "nothing is decided yet");
    ledger.block(&entries).unwrap();
    let executed = ledger.block(std::slice::from_ref(&early)).unwrap();
    assert_eq!(executed.results[0].leaves, (1, 1));
    let expected = Account { offered: 2, late: 2, paid: 2, earned: 2, ..Account::default() };
    assert_eq!(ledger.account(3), expected);

    assert_eq!(ledger.block(&[early]).unwrap_err(), Refused::NothingLate, "once");
    let rebatched = late(&ledger, &[2], &[(3, 7)]);
    assert_eq!(ledger.block(&[rebatched]).unwrap_err(), Refused::NothingLate, "not in another batch either");
    let counted_before = late(&ledger, &[1], &[(0, 7)]);
    assert_eq!(ledger.block(&[counted_before]).unwrap_err(), Refused::NothingLate, "it was in time");
    assert_eq!(ledger.account(3), expected);
}

#[test]
fn late_ballots_count_once_within_one_block_and_over_unfinalised_blocks() {
    let mut ledger = Ledger::with_models();
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let (once, again) = (late(&ledger, &[1], &[(3, 7)]), late(&ledger, &[1], &[(3, 8)]));
    let (proposal, refused) = ledger.try_build(&[entry, once, again.clone()]);
    assert_eq!(refused, [(again.digest(), Refused::NothingLate)]);
    let parent = ledger.execute(&proposal.unwrap()).unwrap();
    let (proposal, refused) = ledger.chain.build(&parent, ledger.now_ms(), [&again].into_iter());
    assert!(proposal.is_none());
    assert_eq!(refused[0].1, Refused::NothingLate);
}

#[test]
fn a_submission_cannot_pass_for_a_late_one() {
    let ledger = Ledger::with_models();
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let Entry::Submission(submission) = entry.entry().clone() else { unreachable!() };
    let forged = Entry::Late(submission).check(&ledger.genesis());
    assert_eq!(forged.unwrap_err(), Invalid::Signature("gateway"));
}

/// The opening of an owner's only vote in a ballot over one request.
fn signed_vote(ballot: &Ballot, request: &SubmittedRequest) -> SignedVote {
    let answer = &ballot.answers[0];
    let commitment = vote_commitment(&request.vote_salt, &answer.vote).unwrap();
    let leaf = vote_leaf(&request.request.id(), Some(&commitment), &answer.output);
    SignedVote {
        statement: ballot.statement.clone(),
        signature: ballot.signature,
        index: 0,
        commitment,
        output: answer.output,
        path: merkle::path(&[leaf], 0),
    }
}

fn evidence(ledger: &Ledger, votes: [SignedVote; 2], request: &SubmittedRequest) -> Evidence {
    Evidence { genesis: ledger.genesis(), reporter: gateway().public(), request: request.request.id(), votes }
}

#[test]
fn equivocation_is_on_record_once_per_key_and_epoch() {
    let mut ledger = Ledger::with_models();
    let request = ledger.request(1, ROBUST);
    let vote =
        |ledger: &Ledger, class| signed_vote(&ledger.ballot(3, 0, std::slice::from_ref(&request), &[class]), &request);
    let guilty = evidence(&ledger, [vote(&ledger, 7), vote(&ledger, 8)], &request);
    let entry = ledger.checked(guilty.clone().sign(&gateway()));
    let executed = ledger.block(std::slice::from_ref(&entry)).unwrap();
    let place = dropbear_consensus::Place { seq: executed.header.seq, leaf_index: 1 };
    let on_record: Vec<_> = ledger.chain.state().registry.convictions().map(|(k, e, p)| (*k, e, p)).collect();
    assert_eq!(on_record, [(public(3), 0, place)]);
    let swapped = evidence(&ledger, [vote(&ledger, 8), vote(&ledger, 7)], &request);
    let swapped = ledger.checked(swapped.sign(&gateway()));
    for again in [entry, swapped] {
        assert_eq!(ledger.block(&[again]).unwrap_err(), Refused::AlreadyConvicted);
    }
    let stranger = Evidence { reporter: public(9), ..guilty };
    let stranger = ledger.checked(stranger.sign(&owner(9)));
    assert_eq!(ledger.block(&[stranger]).unwrap_err(), Refused::UnknownReporter);
}

#[test]
fn evidence_that_proves_nothing_convicts_nobody() {
    let mut ledger = Ledger::with_models();
    let (request, other) = (ledger.request(1, ROBUST), ledger.request(2, ROBUST));
    let ballot = |place, version, request: &SubmittedRequest, class| {
        let ballot = ledger.ballot(place, version, std::slice::from_ref(request), &[class]);
        signed_vote(&ballot, request)
    };
    let says = |votes| evidence(&ledger, votes, &request).sign(&gateway()).check(&ledger.genesis()).unwrap_err();
    let seven = ballot(3, 0, &request, 7);
    let reason = |text: &'static str| Invalid::Evidence(text);
    assert_eq!(says([seven.clone(), seven.clone()]), reason("both ballots say the same"));
    let two_owners = [seven.clone(), ballot(2, 0, &request, 8)];
    assert_eq!(says(two_owners), reason("the ballots are of two owners"));
    let two_versions = [seven.clone(), ballot(3, 1, &request, 8)];
    assert_eq!(says(two_versions), reason("the ballots are of two versions, which may differ"));
    let other_request = [seven.clone(), ballot(3, 0, &other, 8)];
    assert_eq!(says(other_request), reason("a vote does not lie under its ballot's root"));
    let mut forged = ballot(3, 0, &request, 8);
    forged.signature[40] ^= 1;
    assert_eq!(says([seven.clone(), forged]), reason("a ballot is not signed by its owner"));
    let mut invented = ballot(3, 0, &request, 8);
    invented.commitment = vote_commitment(&request.vote_salt, &Vote::Class(9)).unwrap();
    assert_eq!(says([seven, invented]), reason("a vote does not lie under its ballot's root"));

    let nobody = [ballot(9, 0, &request, 7), ballot(9, 0, &request, 8)];
    let nobody = ledger.checked(evidence(&ledger, nobody, &request).sign(&gateway()));
    assert_eq!(ledger.block(&[nobody]).unwrap_err(), Refused::UnknownAccused);
}
