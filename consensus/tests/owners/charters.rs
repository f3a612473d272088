//! Groups begin and change: joining, leaving, new keys, other terms; and certificates that reach back to the genesis.

use crate::market::{Ledger, genesis, owner, version_digest};
use crate::signed::{GROUP, certificate, joined, links, public};
use dropbear_certificates::{Assurance, Charter, GovernanceChain, TrustRoot};
use dropbear_consensus::entry::Invalid;
use dropbear_consensus::registry::{GROUPS_PROPOSED_MAX, PROPOSALS_MAX};
use dropbear_consensus::{Entry, Propose, Refused, Rekey};

const ROBUST: Assurance = Assurance::Robust;

fn roster(ledger: &Ledger) -> usize {
    ledger.charter().0.roster.len()
}

fn pending(ledger: &Ledger) -> Option<u64> {
    let state = ledger.chain.state();
    state.registry.group(GROUP).unwrap().pending(state.seq).map(|term| term.from_seq)
}

#[test]
fn an_owner_joins_by_approval_publishes_before_it_and_counts_from_the_named_block() {
    let mut ledger = Ledger::with_models();
    let (proposed, proposal) = ledger.change(&owner(4), |charter| joined(charter, 4));
    ledger.block(&[proposed]).unwrap();
    let models = [ledger.register(4), ledger.publish(4, 0), ledger.activate(4, 0, 0)];
    ledger.block(&models).unwrap();
    for approver in [0, 1] {
        let approved = ledger.approve(&owner(approver), GROUP, proposal);
        assert!(ledger.block(&[approved]).unwrap().governance.is_empty());
    }
    let third = ledger.approve(&owner(2), GROUP, proposal);
    let before = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    let enacted = ledger.block(&[third, before]).unwrap();
    assert_eq!((enacted.governance.len(), enacted.header.governance_seq), (1, enacted.header.seq));

    assert_eq!(roster(&ledger), 5);
    let after = ledger.one(2, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7), (4, 7)]);
    let executed = ledger.block(&[after]).unwrap();
    assert_eq!(executed.header.governance_seq, enacted.header.seq, "carried on");
    assert_eq!((ledger.account(4).offered, ledger.account(4).counted), (1, 1), "only since it has a seat");
    assert_eq!(ledger.account(0).offered, 2);

    // A certificate under the second charter verifies from the genesis through the links, and not without them.
    let second = certificate(&executed, 1);
    let trust = TrustRoot::new(genesis());
    assert_eq!(second.verify(&trust).unwrap_err().code(), "unknown-charter");
    let chain = GovernanceChain(links(&enacted));
    let chain = GovernanceChain::from_bytes(&chain.to_bytes()).unwrap();
    let extended = trust.extended(&chain).unwrap();
    let verified = second.verify(&extended).unwrap();
    assert!(verified.is_trust_current());
    assert_eq!(verified.charter().roster.len(), 5);
    // The last block under the first charter still verifies.
    certificate(&enacted, 3).verify(&extended).unwrap();
}

#[test]
fn ballots_under_the_old_charter_count_until_the_new_one_begins() {
    let mut ledger = Ledger::with_models();
    let old = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let notice = |charter: Charter| Charter { notice_blocks: 3, ..charter };
    let (proposed, proposal) = ledger.change(&owner(0), notice);
    let approvals = [proposed, ledger.approve(&owner(1), GROUP, proposal), ledger.approve(&owner(2), GROUP, proposal)];
    ledger.block(&approvals).unwrap();
    // The notice of the charter in force was one block, so the new one begins in the next.
    assert_eq!(ledger.block(&[old]).unwrap_err(), Refused::StaleCharter);
    let under_new = ledger.one(3, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    ledger.block(&[under_new]).unwrap();

    let (proposed, proposal) = ledger.change(&owner(0), |charter| Charter { fee: 9, ..charter });
    let approvals = [proposed, ledger.approve(&owner(1), GROUP, proposal), ledger.approve(&owner(2), GROUP, proposal)];
    let at = ledger.block(&approvals).unwrap().header.seq;
    assert_eq!(pending(&ledger), Some(at + 3));
    for nonce in [4, 5] {
        let still = ledger.one(nonce, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
        ledger.block(&[still]).unwrap();
    }
    let in_time = ledger.one(6, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let executed = ledger.block(&[in_time]).unwrap();
    assert_eq!((executed.header.seq, ledger.charter().0.fee), (at + 3, 9));
    assert_eq!(ledger.account(0).earned, 1 + 1 + 1 + 9);
}

#[test]
fn while_a_charter_is_pending_no_other_is_taken() {
    let mut ledger = Ledger::with_models();
    let (slow, proposal) = ledger.change(&owner(0), |charter| Charter { notice_blocks: 5, ..charter });
    let entries = [slow, ledger.approve(&owner(1), GROUP, proposal), ledger.approve(&owner(2), GROUP, proposal)];
    ledger.block(&entries).unwrap();
    let left = ledger.leave(3);
    let from = ledger.block(&[left]).unwrap().header.seq + 5;
    let refused = Refused::CharterPending(from);
    let (other, _) = ledger.change(&owner(0), |charter| Charter { fee: 5, ..charter });
    let entries = [other, ledger.leave(2), ledger.rekey(1, &owner(9))];
    for entry in entries {
        assert_eq!(ledger.block(&[entry]).unwrap_err(), refused);
    }
    assert!(refused.to_string().contains(&format!("block {from}; try again after it")));
}

#[test]
fn whoever_leaves_lowers_the_fault_bound_and_nobody_can_refuse_it() {
    let mut ledger = Ledger::with_models();
    let left = ledger.leave(3);
    let executed = ledger.block(&[left]).unwrap();
    assert_eq!(executed.governance.len(), 1);
    let (charter, _) = ledger.charter();
    assert_eq!((charter.roster.len(), charter.faults, charter.approvals), (3, 0, 3));
    let ballot_of_gone = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    assert_eq!(ledger.block(&[ballot_of_gone]).unwrap_err(), Refused::NotOnRoster);
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7)]);
    let executed_after = ledger.block(&[entry]).unwrap();
    let trust = TrustRoot::new(genesis()).extended(&GovernanceChain(links(&executed))).unwrap();
    certificate(&executed_after, 1).verify(&trust).unwrap();
    for place in [2, 1] {
        let left = ledger.leave(place);
        ledger.block(&[left]).unwrap();
    }
    let last = ledger.leave(0);
    assert_eq!(ledger.block(&[last]).unwrap_err(), Refused::LastOwner);
    let again = ledger.leave(3);
    assert_eq!(ledger.block(&[again]).unwrap_err(), Refused::NotOnRoster);
}

#[test]
fn nobody_joins_without_approval() {
    let mut ledger = Ledger::with_models();
    ledger.join(4, &[0, 1]);
    assert_eq!((roster(&ledger), pending(&ledger)), (4, None), "two of three approvals");
    let (proposed, proposal) = ledger.change(&owner(5), |charter| joined(charter, 5));
    ledger.block(&[proposed]).unwrap();
    let own = ledger.approve(&owner(5), GROUP, proposal);
    assert_eq!(ledger.block(&[own]).unwrap_err(), Refused::AlreadyApproved);
    let strangers = ledger.approve(&owner(6), GROUP, proposal);
    assert_eq!(ledger.block(&[strangers]).unwrap_err(), Refused::MayNotApprove);
    let first = ledger.approve(&owner(0), GROUP, proposal);
    ledger.block(&[first]).unwrap();
    let twice = ledger.approve(&owner(0), GROUP, proposal);
    assert_eq!(ledger.block(&[twice]).unwrap_err(), Refused::AlreadyApproved);
    let (charter, digest) = ledger.charter();
    let for_another = ledger.propose(&owner(6), Some(digest), Charter { fee: 8, ..charter });
    assert_eq!(ledger.block(&[for_another]).unwrap_err(), Refused::MayNotPropose);
}

#[test]
fn nobody_is_seated_without_consent() {
    let mut ledger = Ledger::with_models();
    let (proposed, proposal) = ledger.change(&owner(0), |charter| joined(charter, 4));
    let approvals = [proposed, ledger.approve(&owner(1), GROUP, proposal), ledger.approve(&owner(2), GROUP, proposal)];
    assert!(ledger.block(&approvals).unwrap().governance.is_empty());
    let group = ledger.chain.state().registry.group(GROUP).unwrap().clone();
    let standing = group.approvals(&group.proposals()[0]);
    assert_eq!((standing.approved.len(), standing.needed, standing.missing), (3, 3, vec![public(4)]));
    let consent = ledger.approve(&owner(4), GROUP, proposal);
    assert_eq!(ledger.block(&[consent]).unwrap().governance.len(), 1);
}

#[test]
fn a_proposal_dies_with_the_charter_that_it_would_replace() {
    let mut ledger = Ledger::with_models();
    let (joining, proposal) = ledger.change(&owner(4), |charter| joined(charter, 4));
    ledger.block(&[joining]).unwrap();
    let models = [ledger.register(4), ledger.publish(4, 0)];
    ledger.block(&models).unwrap();
    let left = ledger.leave(3);
    ledger.block(&[left]).unwrap();
    let late = ledger.approve(&owner(0), GROUP, proposal);
    assert_eq!(ledger.block(&[late]).unwrap_err(), Refused::UnknownProposal);
    let stale = {
        let charter = joined(genesis().charters[0].clone(), 4);
        ledger.propose(&owner(4), Some(genesis().charters[0].digest()), charter)
    };
    assert_eq!(ledger.block(&[stale]).unwrap_err(), Refused::StaleProposal);
    // What the joining owner published is still there for its next proposal.
    let (again, proposal) = ledger.change(&owner(4), |charter| joined(charter, 4));
    let activated = ledger.activate(4, 0, 0);
    ledger.block(&[again, activated]).unwrap();
    let approvals: Vec<_> = (0..3).map(|place| ledger.approve(&owner(place), GROUP, proposal)).collect();
    ledger.block(&approvals).unwrap();
    assert_eq!(ledger.current(4), Some(version_digest(4, 0)));
}

#[test]
fn old_approvals_cannot_be_replayed_when_a_charter_comes_back() {
    let mut ledger = Ledger::with_models();
    let change_fee = |ledger: &mut Ledger, fee| {
        let (proposed, proposal) = ledger.change(&owner(0), |charter| Charter { fee, ..charter });
        let mut entries = vec![proposed];
        entries.extend([1, 2].map(|place| ledger.approve(&owner(place), GROUP, proposal)));
        let executed = ledger.block(&entries).unwrap();
        (entries, executed)
    };
    let (there, first) = change_fee(&mut ledger, 5);
    let (_, second) = change_fee(&mut ledger, 1);
    assert_eq!(ledger.charter().1, genesis().charters[0].digest(), "the first charter is back");
    for replayed in there {
        assert_eq!(ledger.block(&[replayed]).unwrap_err(), Refused::Replayed);
    }
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let executed = ledger.block(&[entry]).unwrap();
    let chain = GovernanceChain([links(&first), links(&second)].concat());
    certificate(&executed, 1).verify(&TrustRoot::new(genesis()).extended(&chain).unwrap()).unwrap();
}

#[test]
fn strangers_cannot_fill_the_list_of_proposals() {
    let mut ledger = Ledger::with_models();
    let (supported, proposal) = ledger.change(&owner(10), |charter| joined(charter, 10));
    let approved = ledger.approve(&owner(0), GROUP, proposal);
    ledger.block(&[supported, approved]).unwrap();
    for stranger in 11..30 {
        let (proposed, _) = ledger.change(&owner(stranger), |charter| joined(charter, stranger));
        ledger.block(&[proposed]).unwrap();
    }
    let group = ledger.chain.state().registry.group(GROUP).unwrap().clone();
    assert_eq!(group.proposals().len(), PROPOSALS_MAX);
    assert!(group.proposals().iter().any(|open| open.digest == proposal), "an owner stands behind it");
    let own = ledger.change(&owner(1), |charter| Charter { fee: 3, ..charter }).0;
    ledger.block(&[own]).unwrap();
    let once_more = ledger.change(&owner(1), |charter| Charter { fee: 4, ..charter }).0;
    ledger.block(&[once_more]).unwrap();
    let group = ledger.chain.state().registry.group(GROUP).unwrap();
    let mine: Vec<_> = group.proposals().iter().filter(|open| open.proposer == public(1)).collect();
    assert_eq!((mine.len(), mine[0].charter.fee), (1, 4), "one per proposer");
}

#[test]
fn a_new_group_begins_when_every_owner_consented() {
    let mut ledger = Ledger::with_models();
    let founders = |charter: Charter| Charter { group: "second".into(), faults: 0, approvals: 2, ..charter };
    let mut charter = founders(ledger.charter().0);
    charter.roster.truncate(2);
    let outsider = ledger.propose(&owner(5), None, charter.clone());
    assert_eq!(ledger.block(&[outsider]).unwrap_err(), Refused::MayNotPropose);
    let proposed = ledger.propose(&owner(0), None, charter.clone());
    let Entry::Propose(propose, _) = proposed.entry().clone() else { unreachable!() };
    ledger.block(&[proposed]).unwrap();
    let group = ledger.chain.state().registry.group("second").unwrap();
    assert!(group.latest().is_none());
    let consent = ledger.approve(&owner(1), "second", propose.proposal());
    let executed = ledger.block(&[consent]).unwrap();
    let group = ledger.chain.state().registry.group("second").unwrap();
    assert_eq!(group.term(executed.header.seq), None);
    assert_eq!(group.term(executed.header.seq + 1).unwrap().digest, charter.digest());
    let trust = TrustRoot::new(genesis()).extended(&GovernanceChain(links(&executed))).unwrap();
    assert!(trust.charter(&charter.digest()).is_some());

    let again = ledger.propose(&owner(2), None, charter.clone());
    assert_eq!(ledger.block(&[again]).unwrap_err(), Refused::StaleProposal, "its name is taken");
    let nothing = ledger.propose(&owner(0), Some(charter.digest()), charter);
    assert_eq!(ledger.block(&[nothing]).unwrap_err(), Refused::NothingChanges);
}

#[test]
fn groups_that_are_only_proposed_are_bounded() {
    let mut ledger = Ledger::with_models();
    for number in 0..GROUPS_PROPOSED_MAX + 3 {
        let mut charter = Charter { group: format!("group-{number}"), ..ledger.charter().0 };
        charter.roster.truncate(2);
        (charter.faults, charter.approvals) = (0, 1);
        let proposed = ledger.propose(&owner(0), None, charter);
        ledger.block(&[proposed]).unwrap();
    }
    let registry = &ledger.chain.state().registry;
    assert_eq!(registry.groups().count(), GROUPS_PROPOSED_MAX + 1);
    assert!(registry.group("group-0").is_none(), "the oldest went");
    assert!(registry.group(GROUP).is_some());
}

#[test]
fn a_new_key_takes_over_seats_models_accounts_and_serial() {
    let mut ledger = Ledger::with_models();
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    ledger.block(&[entry]).unwrap();
    let (new, before) = (owner(9), ledger.account(1));
    let old_ballots = ledger.one(2, ROBUST, &[(0, 7), (1, 7), (2, 7)]);
    let rekeyed = ledger.rekey(1, &new);
    let executed = ledger.block(&[old_ballots, rekeyed.clone()]).unwrap();
    assert_eq!(executed.governance.len(), 1);
    assert_eq!(ledger.charter().0.roster[1].key, new.public());
    assert_eq!(ledger.current(9), Some(version_digest(1, 0)), "the new key's models are the old one's");
    assert_eq!((before.counted, ledger.account(9).counted, ledger.account(1).offered), (1, 2, 0));

    assert_eq!(ledger.block(&[rekeyed]).unwrap_err(), Refused::DeadKey);
    let dead = ledger.publish(1, 5);
    assert_eq!(ledger.block(&[dead]).unwrap_err(), Refused::DeadKey);
    let seat_for_dead = ledger.change(&owner(0), |charter| joined(charter, 1).without(&new.public()).unwrap()).0;
    assert_eq!(ledger.block(&[seat_for_dead]).unwrap_err(), Refused::DeadKey);
    let to_used = ledger.rekey(0, &owner(2));
    assert_eq!(ledger.block(&[to_used]).unwrap_err(), Refused::KeyInUse);
    let back = ledger.rekey(0, &owner(1));
    assert_eq!(ledger.block(&[back]).unwrap_err(), Refused::KeyInUse, "a dead key stays dead");
    let trust = TrustRoot::new(genesis()).extended(&GovernanceChain(links(&executed))).unwrap();
    assert!(trust.charter(&ledger.charter().1).is_some());
}

#[test]
fn models_serve_on_between_a_changed_key_and_its_block() {
    let mut ledger = Ledger::with_models();
    let (slow, proposal) = ledger.change(&owner(0), |charter| Charter { notice_blocks: 3, ..charter });
    let entries = [slow, ledger.approve(&owner(1), GROUP, proposal), ledger.approve(&owner(2), GROUP, proposal)];
    ledger.block(&entries).unwrap();
    let rekeyed = ledger.rekey(1, &owner(9));
    ledger.block(&[rekeyed]).unwrap();
    assert_eq!(ledger.charter().0.roster[1].key, public(1), "not yet");
    assert_eq!(ledger.current(1), Some(version_digest(1, 0)));
    let entry = ledger.one(1, ROBUST, &[(0, 7), (1, 7), (2, 7), (3, 7)]);
    ledger.block(&[entry]).unwrap();
    assert_eq!((ledger.account(9).counted, ledger.account(1).counted), (1, 0));
}

#[test]
fn a_new_key_must_sign_too() {
    let mut ledger = Ledger::with_models();
    let mut rekey = Rekey::to(ledger.genesis(), public(1), ledger.next_serial(), &owner(9));
    rekey.consent[0] ^= 1;
    assert_eq!(rekey.sign(&owner(1)).check(&ledger.genesis()).unwrap_err(), Invalid::Signature("new key"));
}

#[test]
fn charters_that_nobody_could_change_or_that_break_rules_are_refused() {
    let mut ledger = Ledger::with_models();
    let (charter, digest) = ledger.charter();
    let mut check = |charter: Charter| {
        let (genesis, serial) = (ledger.genesis(), ledger.next_serial());
        let propose = Propose { genesis, owner: public(0), serial, previous: Some(digest), charter };
        propose.sign(&owner(0)).check(&genesis).map(|_| ())
    };
    assert_eq!(check(Charter { approvals: 0, ..charter.clone() }), Err(Invalid::Approvals));
    assert_eq!(check(Charter { approvals: 5, ..charter.clone() }), Err(Invalid::Approvals));
    assert!(matches!(check(Charter { faults: 2, ..charter.clone() }), Err(Invalid::Malformed(_))));
    assert_eq!(check(charter), Ok(()));
}
