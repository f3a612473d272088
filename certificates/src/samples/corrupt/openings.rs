//! Attachments that do not open what the record commits to.

use alloc::vec;
use alloc::vec::Vec;

use crate::attachments::{Attachments, ValueOpening};
use crate::digest::Digest;
use crate::policy::{Assurance, Policy, Vote};
use crate::samples::corrupt::flipped;
use crate::samples::market::{Case, Market, Role, key};
use crate::samples::valid::{by_policy, classes, common};

pub(super) fn openings(add: &mut dyn FnMut(&'static str, &str, Case)) {
    let plurality = || Market::new(4, 4, Policy::Plurality).decide(&classes(&[285, 285, 285, 281]), Assurance::Robust);
    let median = || by_policy().swap_remove(6).1;
    let mut with = |name: &str, change: fn(&mut Attachments)| add("bad-opening", name, plurality().attach(change));
    with("another-input", |shown| with_request(shown, |request| request.opening.input = Digest::of(b"input")));
    with("another-seed", |shown| with_request(shown, |request| request.opening.seed_digest = Digest::of(b"seed")));
    with("another-nonce", |shown| with_request(shown, |request| request.nonce[0] ^= 1));
    with("another-requester", |shown| with_request(shown, |request| request.key = key(Role::Client, 1).public()));
    with("a-forged-request-signature", |shown| {
        with_request(shown, |request| request.signature = request.signature.map(flipped));
    });
    with("another-vote", |shown| with_votes(shown, |votes| votes[0] = Vote::Class(286)));
    with("votes-permuted", |shown| with_votes(shown, |votes| votes.swap(0, 1)));
    with("a-vote-too-few", |shown| with_votes(shown, |votes| votes.truncate(1)));
    with("a-vote-too-many", |shown| with_votes(shown, |votes| votes.push(Vote::Class(1))));
    with("an-abstention-among-the-votes", |shown| with_votes(shown, |votes| votes[1] = Vote::Abstain));
    with("another-vote-salt", |shown| {
        if let Some(votes) = &mut shown.votes {
            votes.salt = Digest::of(b"salt");
        }
    });
    with("another-model-version", |shown| {
        if let Some(Some(version)) = shown.models.as_mut().and_then(|models| models.0.first_mut()) {
            version.digest = Digest::of(b"better weights");
        }
    });
    with("a-single-vote-of-another-group", |shown| {
        shown.single_votes = vec![(1, shown.single_votes[0].1.clone())];
    });
    with("a-single-vote-beyond-the-groups", |shown| {
        shown.single_votes = vec![(2, shown.single_votes[0].1.clone())];
    });
    with("a-single-vote-that-abstains", |shown| shown.single_votes[0].1.value = Vote::Abstain);
    with("a-single-vote-under-another-salt", |shown| shown.single_votes[1].1.salt = Digest::of(b"salt"));
    with("a-result-that-the-record-does-not-commit-to", |shown| {
        shown.result = Some(shown.single_votes[0].1.clone());
    });
    add(
        "bad-opening",
        "another-result",
        median().attach(|shown| {
            shown.result = Some(ValueOpening { salt: Digest::of(b"salt"), value: Vote::Tensor(vec![0, 0, 0]) });
        }),
    );
    add(
        "bad-opening",
        "a-result-that-abstains",
        median().attach(|shown| {
            if let Some(result) = &mut shown.result {
                result.value = Vote::Abstain;
            }
        }),
    );
    ballots(&mut |name, case| add("bad-ballot", name, case), &plurality);
}

fn ballots(add: &mut dyn FnMut(&str, Case), plurality: &dyn Fn() -> Case) {
    let mut with = |name: &str, change: fn(&mut Attachments)| add(name, plurality().attach(change));
    with("of-another-owner", |shown| {
        shown.ballots.truncate(1);
        shown.ballots[0].owner = 1;
    });
    with("of-an-owner-beyond-the-roster", |shown| shown.ballots[3].owner = 4);
    with("with-a-malformed-statement", |shown| {
        shown.ballots[0].statement.pop();
    });
    with("with-a-forged-signature", |shown| shown.ballots[0].signature = flipped(shown.ballots[0].signature));
    with("with-another-output", |shown| shown.ballots[0].output = Digest::of(b"output"));
    with("of-another-place-in-the-batch", |shown| shown.ballots[0].vote_index = 0);
    with("with-another-vote-path", |shown| shown.ballots[0].vote_path[0] = Digest::of(b"node"));
    with("with-another-ballot-path", |shown| shown.ballots[0].ballot_path[0] = Digest::of(b"node"));
    with("of-another-place-among-the-ballots", |shown| {
        shown.ballots[0].ballot_path = shown.ballots[2].ballot_path.clone();
    });
    let absent = || {
        let votes = [classes(&[285; 3]), vec![None]].concat();
        Market::new(4, 4, Policy::Plurality).decide(&votes, Assurance::Robust)
    };
    let spare = common().attachments.ballots.swap_remove(3);
    add("of-an-owner-that-was-not-counted", absent().attach(|shown| shown.ballots.push(spare)));
    let resigned = |change: fn(&mut crate::ballot::BallotStatement)| {
        let mut case = plurality();
        let owner = key(Role::Owner, 0);
        let proof = &mut case.attachments.ballots[0];
        if let Ok(mut statement) = crate::ballot::BallotStatement::from_bytes(&proof.statement) {
            change(&mut statement);
            proof.statement = statement.to_bytes();
            proof.signature = crate::key::StatementType::Ballot.sign(&owner, &proof.statement);
        }
        let mut leaves: Vec<_> =
            case.attachments.ballots.iter().map(|p| crate::ballot::ballot_leaf(&p.statement, &p.signature)).collect();
        for (index, proof) in case.attachments.ballots.iter_mut().enumerate() {
            proof.ballot_path = crate::merkle::path(&leaves, index);
        }
        case.record.ballots = crate::merkle::root(&leaves);
        leaves.clear();
        case
    };
    add("of-another-market", resigned(|statement| statement.genesis = Digest::of(b"another market")));
    add("of-another-group", resigned(|statement| statement.group = "imagenot".into()));
    add("under-another-charter", resigned(|statement| statement.charter = Digest::of(b"charter")));
    add("that-had-expired", resigned(|statement| statement.expiry_ms = crate::samples::market::CREATED_MS + 49_999));
    add("of-another-version", resigned(|statement| statement.version = Digest::of(b"better weights")));
    add("in-another-owners-name", resigned(|statement| statement.owner = key(Role::Owner, 1).public()));
}

fn with_request(shown: &mut Attachments, change: impl FnOnce(&mut crate::attachments::RequestAttachment)) {
    if let Some(request) = &mut shown.request {
        change(request);
    }
}

fn with_votes(shown: &mut Attachments, change: impl FnOnce(&mut Vec<Vote>)) {
    if let Some(votes) = &mut shown.votes {
        change(&mut votes.votes);
    }
}
