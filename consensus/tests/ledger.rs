//! Blocks on a ledger: what is applied, what is refused, and what the record then says.

mod market;

use std::sync::Arc;

use dropbear_certificates::{Assurance, Certificate, Digest, Outcome, Record, TrustRoot, Vote};
use dropbear_consensus::entry::Invalid;
use dropbear_consensus::{BlockRefused, Entry, Executed, Place, Pool, Proposal, Refused, RequestResult};
use market::{GENESIS_BLOCK, Ledger, genesis, key, owner, version_digest};

const ROBUST: Assurance = Assurance::Robust;

fn record(executed: &Executed, leaf: usize) -> Record {
    Record::from_bytes(&executed.leaves[leaf]).unwrap()
}

#[test]
fn unanimous_ballots_become_a_certificate() {
    let mut ledger = Ledger::with_models();
    let entry = ledger.one(1, ROBUST, &[(0, 285), (1, 285), (2, 285), (3, 285)]);
    let executed = ledger.block(std::slice::from_ref(&entry)).unwrap();
    assert_eq!(executed.results[0].requests, [RequestResult::Recorded(1)]);
    let record = record(&executed, 1);
    assert_eq!((record.outcome, record.assurance), (Outcome::Agreed, ROBUST));
    assert_eq!(record.request, entry.request_ids()[0]);

    let path = executed.tree.path(1).unwrap();
    let attestations: Vec<_> = (0..3).map(|i| (i, executed.header.attest(&key(2, i as u8)))).collect();
    let committee = genesis().committee;
    let certificate =
        Certificate::new(executed.header.clone(), record, path, &committee, &attestations, Default::default());
    let read = Certificate::from_bytes(&certificate.to_bytes()).unwrap();
    read.verify(&TrustRoot::new(genesis())).unwrap();
}

#[test]
fn a_request_id_has_one_outcome_and_later_submissions_are_pointed_to_it() {
    let mut ledger = Ledger::with_models();
    let first = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    let other_ballots = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    assert_ne!(first.digest(), other_ballots.digest());
    assert_eq!(ledger.try_build(&[first.clone(), other_ballots.clone()]).1.len(), 1, "also within one block");
    let executed = ledger.block(&[first]).unwrap();
    let place = Place { seq: executed.header.seq, leaf_index: 1 };
    assert_eq!(ledger.block(&[other_ballots]).unwrap_err(), Refused::AlreadyDecided(place));
}

#[test]
fn an_unfinalised_ancestor_counts_too() {
    let mut ledger = Ledger::with_models();
    let first = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    let again = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let proposal = ledger.try_build(&[first]).0.unwrap();
    let parent = ledger.execute(&proposal).unwrap();
    let (proposal, refused) = ledger.chain.build(&parent, ledger.now_ms(), [&again].into_iter());
    assert!(proposal.is_none());
    assert!(matches!(refused[0].1, Refused::AlreadyDecided(_)));
}

#[test]
fn a_proposer_keeps_what_others_execute() {
    let votes = [(0, 7), (1, 7), (2, 7), (3, 7)];
    let candidates = |ledger: &mut Ledger, with_statement: bool| {
        let (first, second) = (ledger.one(1, ROBUST, &votes), ledger.one(2, ROBUST, &votes));
        let (again, insufficient) = (ledger.one(1, ROBUST, &votes[..3]), ledger.one(3, ROBUST, &votes[..1]));
        let mut candidates = vec![first, again, insufficient, second];
        // Published before: refused.
        candidates.extend(with_statement.then(|| ledger.publish(0, 0)));
        candidates
    };
    for (with_statement, refusals) in [(false, 2), (true, 3)] {
        let (mut proposer, mut voter) = (Ledger::with_models(), Ledger::with_models());
        let candidates = candidates(&mut proposer, with_statement);
        let (proposal, refused) = proposer.try_build(&candidates);
        assert_eq!(refused.len(), refusals);
        let proposal = proposal.unwrap();
        let [kept, executed] = [&mut proposer, &mut voter].map(|ledger| {
            let block = ledger.execute(&proposal).unwrap();
            ledger.chain.finalize(block).unwrap().unwrap()
        });
        assert_eq!(kept.header, executed.header);
        assert_eq!((&kept.leaves, &kept.results), (&executed.leaves, &executed.results));
        assert_eq!(kept.model_sets, executed.model_sets);
    }
}

#[test]
fn a_waiting_entry_is_found_by_its_bytes_alone() {
    let ledger = Ledger::with_models();
    let [one, other] = [1, 2].map(|nonce| Arc::new(ledger.one(nonce, ROBUST, &[(0, 7), (1, 7), (2, 7)])));
    let mut pool = Pool::new(1 << 20);
    pool.push(Arc::clone(&one)).unwrap();
    assert_eq!(pool.find(one.bytes()), Some(&one));
    assert_eq!(pool.find(other.bytes()), None);
    // The same signature under other bytes is another entry.
    let mut changed = one.bytes().to_vec();
    changed[40] ^= 1;
    assert_eq!((pool.find(&changed), pool.find(&[])), (None, None));
    pool.remove(&one.digest());
    assert_eq!(pool.find(one.bytes()), None);
}

#[test]
fn disagreement_is_recorded_only_when_no_missing_ballot_could_heal_it() {
    let mut ledger = Ledger::with_models();
    let three = ledger.one(1, ROBUST, &[(0, 1), (1, 1), (2, 2)]);
    let expected = Refused::Insufficient { counted: 3, stale: 0, missing: 1 };
    assert_eq!(ledger.block(&[three]).unwrap_err(), expected);
    let four = ledger.one(1, ROBUST, &[(0, 1), (1, 1), (2, 2), (3, 3)]);
    let executed = ledger.block(&[four]).unwrap();
    assert_eq!(record(&executed, 1).outcome, Outcome::NoAgreement);
}

#[test]
fn a_stale_ballot_is_dropped_alone() {
    let mut ledger = Ledger::with_models();
    let published = ledger.publish(3, 1);
    ledger.block(&[published]).unwrap();
    let activated = ledger.activate(3, 1, 0);
    let at = ledger.block(&[activated]).unwrap().header.seq;
    let group = ledger.chain.state().registry.group("imagenet").unwrap().clone();
    let current = |seq| group.current(&owner(3).public(), seq).unwrap().digest;
    assert_eq!(current(at), version_digest(3, 0), "notice of one block");
    assert_eq!(current(at + 1), version_digest(3, 1));

    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 8)]);
    let executed = ledger.block(&[entry]).unwrap();
    let record = record(&executed, 1);
    assert_eq!(record.counts().0, [3]);
    assert_eq!(record.model_set, group.model_set(at + 1).digest());
}

#[test]
fn a_class_outside_the_schema_is_an_abstention() {
    let mut ledger = Ledger::with_models();
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 1000)]);
    let counts = record(&ledger.block(&[entry]).unwrap(), 1).counts();
    assert_eq!(counts, (vec![3], 1));
}

#[test]
fn requests_of_one_batch_fare_on_their_own() {
    let mut ledger = Ledger::with_models();
    let requests = vec![ledger.request(1, ROBUST), ledger.request(2, ROBUST), ledger.request(3, ROBUST)];
    let ballots = (0..3).map(|place| ledger.ballot(place, 0, &requests, &[5, u32::from(place.min(1)), 6])).collect();
    let entry = ledger.submit(requests, ballots).check(&ledger.genesis()).unwrap();
    let results = ledger.block(&[entry]).unwrap().results[0].requests.clone();
    assert_eq!(results[0], RequestResult::Recorded(1));
    assert!(matches!(results[1], RequestResult::Refused(_)));
    assert_eq!(results[2], RequestResult::Recorded(2));
}

#[test]
fn expiry_bounds_both_ways() {
    let mut ledger = Ledger::with_models();
    let votes = [(0, 7), (1, 7), (2, 7), (3, 7)];
    let entry = ledger.one(1, ROBUST, &votes);
    let late = market::START_MS + 50_001;
    let (proposal, refused) = ledger.chain.build(&ledger.chain.tip(), late, [&entry].into_iter());
    assert!(proposal.is_none());
    assert!(matches!(refused[0].1, Refused::Expired));

    let mut request = ledger.request(2, ROBUST);
    request.request.expiry_ms += 1_000_000;
    let requests = vec![request];
    let ballots = (0..4).map(|place| ledger.ballot(place, 0, &requests, &[7])).collect();
    let entry = ledger.submit(requests, ballots).check(&ledger.genesis()).unwrap();
    assert_eq!(ledger.block(&[entry]).unwrap_err(), Refused::ExpiryTooFar);
}

#[test]
fn a_voter_refuses_what_an_honest_proposer_leaves_out() {
    let mut ledger = Ledger::with_models();
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    let now_ms = ledger.now_ms();
    let block = |entries: Vec<&[u8]>, agreed_ms| Proposal {
        agreed_ms,
        entries: entries.into_iter().map(<[u8]>::to_vec).collect(),
    };
    let insufficient = ledger.one(2, ROBUST, &[(0, 7)]);
    let refused = |ledger: &mut Ledger, proposal: Proposal| ledger.execute(&proposal).unwrap_err();
    assert_eq!(refused(&mut ledger, block(vec![], now_ms)), BlockRefused::Empty);
    let twice = block(vec![entry.bytes(), entry.bytes()], now_ms);
    assert_eq!(refused(&mut ledger, twice), BlockRefused::Twice(1));
    let early = block(vec![entry.bytes()], market::START_MS - 1);
    assert_eq!(refused(&mut ledger, early), BlockRefused::TimeBackwards);
    let ahead = block(vec![entry.bytes()], now_ms + 60_000);
    assert_eq!(refused(&mut ledger, ahead), BlockRefused::TimeAhead);
    let idle = block(vec![insufficient.bytes()], now_ms);
    assert!(matches!(refused(&mut ledger, idle), BlockRefused::Refused(0, Refused::Insufficient { .. })));
    let mut forged = entry.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = block(vec![&forged], now_ms);
    assert!(matches!(refused(&mut ledger, forged), BlockRefused::Invalid(0, Invalid::Signature("gateway"))));
}

#[test]
fn submissions_that_can_never_be_valid() {
    let ledger = Ledger::with_models();
    let check = |entry: Entry| entry.check(&ledger.genesis()).map(|_| ());
    let requests = vec![ledger.request(1, ROBUST)];
    let other = vec![ledger.request(2, ROBUST)];
    let ballot = ledger.ballot(0, 0, &requests, &[7]);
    assert_eq!(
        check(ledger.submit(other, vec![ballot.clone()])),
        Err(Invalid::OtherBatch(0)),
        "a ballot given for other inputs"
    );
    assert_eq!(check(ledger.submit(requests.clone(), vec![ballot.clone(), ballot.clone()])), Err(Invalid::TwoBallots));
    let mut changed = ballot.clone();
    changed.answers[0].vote = Vote::Class(8);
    assert!(matches!(check(ledger.submit(requests.clone(), vec![changed])), Err(Invalid::Ballot(0, _))));
    assert_eq!(check(ledger.submit(vec![], vec![])), Err(Invalid::Requests));
    let twice = vec![requests[0].clone(), requests[0].clone()];
    assert_eq!(check(ledger.submit(twice, vec![])), Err(Invalid::Requests));
    assert_eq!(ledger.submit(requests, vec![ballot]).check(&Digest::of(b"another market")), Err(Invalid::Genesis));
}

#[test]
fn headers_chain_and_every_replica_computes_the_same() {
    let (mut one, mut two) = (Ledger::with_models(), Ledger::with_models());
    let entry = one.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    let (a, b) = (one.block(std::slice::from_ref(&entry)).unwrap(), two.block(&[entry]).unwrap());
    assert_eq!(a.header, b.header);
    assert_eq!(a.header.seq, 3);
    assert_ne!(a.header.ledger_root, Digest::of(b""), "the ledger tree holds the two earlier headers");
}

#[test]
fn finality_forgets_the_branches_that_lost() {
    let mut ledger = Ledger::with_models();
    let (a, b) = (ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]), ledger.one(2, ROBUST, &[(0, 7), (1, 7), (2, 7)]));
    let (left, right) = (ledger.try_build(&[a]).0.unwrap(), ledger.try_build(&[b]).0.unwrap());
    let (left, right) = (ledger.execute(&left).unwrap(), ledger.execute(&right).unwrap());
    assert!(ledger.chain.knows(&left) && ledger.chain.knows(&right));
    ledger.chain.finalize(left).unwrap();
    assert!(ledger.chain.knows(&left) && !ledger.chain.knows(&right) && !ledger.chain.knows(&GENESIS_BLOCK));
    assert!(ledger.chain.finalize(right).is_err());
}

#[test]
fn a_block_without_entries_moves_the_tip_and_nothing_else() {
    let mut ledger = Ledger::with_models();
    let (seq, tip, empty) = (ledger.chain.state().seq, ledger.chain.tip(), [0xee; 32]);
    ledger.chain.pass(tip, empty).unwrap();
    assert!(ledger.chain.knows(&empty));
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    assert!(ledger.chain.build(&empty, ledger.now_ms(), [&entry].into_iter()).0.is_some());
    assert!(ledger.chain.finalize(empty).unwrap().is_none());
    assert_eq!((ledger.chain.state().seq, ledger.chain.tip()), (seq, empty));
    assert_eq!(ledger.block(&[entry]).unwrap().header.seq, seq + 1);
    assert!(ledger.chain.pass(tip, [0xef; 32]).is_err(), "its parent is no longer the tip");
}
