//! Checks that attachments open what the record commits to.

use alloc::vec;

use crate::attachments::{Attachments, BallotProof, ValueOpening};
use crate::ballot::{BallotStatement, ballot_leaf, vote_leaf};
use crate::charter::Charter;
use crate::digest::Digest;
use crate::effort::Effort;
use crate::error::Refusal;
use crate::key::StatementType;
use crate::merkle;
use crate::policy::Vote;
use crate::record::Record;
use crate::request::{Request, request_id, result_commitment_opened, vote_commitment, vote_commitment_opened};

/// Checks every attachment, in the order of their numbers in `SPEC.md`.
pub(crate) fn check_openings(
    record: &Record,
    charter: &Charter,
    shown: &Attachments,
    effort: &mut Effort<'_>,
) -> Result<(), Refusal> {
    check_request(record, shown, effort)?;
    check_votes(record, charter, shown)?;
    if shown.models.as_ref().is_some_and(|models| models.digest() != record.model_set) {
        return Err(Refusal::Opening("the model set"));
    }
    if let Some(opening) = &shown.result
        && (record.result.is_none() || open(opening, result_commitment_opened) != record.result)
    {
        return Err(Refusal::Opening("the result"));
    }
    for (group, opening) in &shown.single_votes {
        let commitment = record.votes.get(*group).and_then(|group| group.commitment);
        if commitment.is_none() || open(opening, vote_commitment_opened) != commitment {
            return Err(Refusal::Opening("a single vote"));
        }
    }
    shown.ballots.iter().try_for_each(|proof| check_ballot(record, charter, shown, proof, effort))
}

fn open(opening: &ValueOpening, commitment: impl Fn(&Digest, &[u8]) -> Digest) -> Option<Digest> {
    opening.value.to_bytes().map(|bytes| commitment(&opening.salt, &bytes))
}

fn check_request(record: &Record, attachments: &Attachments, effort: &mut Effort<'_>) -> Result<(), Refusal> {
    let Some(shown) = &attachments.request else {
        return Ok(());
    };
    if shown.opening.commitment() != record.commitment {
        return Err(Refusal::Opening("the request's input"));
    }
    let request = Request {
        genesis: record.genesis,
        group: record.group.clone(),
        key: shown.key,
        origin: record.origin,
        nonce: shown.nonce,
        commitment: record.commitment,
        expiry_ms: record.expiry_ms,
        demand: record.demand,
    };
    let statement = request.statement();
    if request_id(&statement) != record.request {
        return Err(Refusal::Opening("the request id"));
    }
    let Some(signature) = &shown.signature else {
        return Ok(());
    };
    let signed = StatementType::Request.signed_bytes(&shown.key, &statement);
    if effort.verifies(&shown.key, &signed, signature)? {
        Ok(())
    } else {
        Err(Refusal::Opening("the requester's signature"))
    }
}

/// Opens all votes and, since the policy is a pure function, recomputes everything that follows from them.
fn check_votes(record: &Record, charter: &Charter, attachments: &Attachments) -> Result<(), Refusal> {
    let Some(shown) = &attachments.votes else {
        return Ok(());
    };
    let commitments = record.votes.iter().filter_map(|group| group.commitment);
    let opened = shown.votes.iter().map(|vote| vote_commitment(&shown.salt, vote));
    if !commitments.map(Some).eq(opened) {
        return Err(Refusal::Opening("the votes"));
    }
    let mut votes = vec![None; record.owners];
    for (place, group) in record.votes.iter().enumerate() {
        for owner in group.owners.iter() {
            votes[owner] = Some(shown.votes.get(place).cloned().unwrap_or(Vote::Abstain));
        }
    }
    let sealed = charter.combine(&votes).seal(record.policy, record.demand, &shown.salt);
    let follows = sealed.is_some_and(|sealed| {
        sealed.votes == record.votes
            && sealed.support == record.support
            && (sealed.outcome, sealed.assurance) == (record.outcome, record.assurance)
            && sealed.result == record.result
    });
    if follows { Ok(()) } else { Err(Refusal::Outcome) }
}

/// Checks one owner's own signature on its vote.
fn check_ballot(
    record: &Record,
    charter: &Charter,
    shown: &Attachments,
    proof: &BallotProof,
    effort: &mut Effort<'_>,
) -> Result<(), Refusal> {
    let refuse = |reason| Err(Refusal::Ballot { owner: proof.owner, reason });
    let (Some(group), Some(seat)) = (record.group_of(proof.owner), charter.roster.get(proof.owner)) else {
        return refuse("the record counts no vote of this owner");
    };
    let Ok(statement) = BallotStatement::from_bytes(&proof.statement) else {
        return refuse("the statement is malformed");
    };
    let named =
        (statement.genesis, &statement.group, statement.charter) == (record.genesis, &record.group, record.charter);
    if !named || statement.owner != seat.key || statement.expiry_ms < record.agreed_ms {
        return refuse("the statement speaks of another market, group, charter or owner, or had expired");
    }
    let version = shown.models.as_ref().map(|models| models.0.get(proof.owner).cloned().flatten());
    if version.is_some_and(|version| version.is_none_or(|version| version.digest != statement.version)) {
        return refuse("the statement names another version than the model set");
    }
    effort.budget.path(proof.vote_path.len() + proof.ballot_path.len())?;
    let leaf = vote_leaf(&record.request, group.commitment.as_ref(), &proof.output);
    if merkle::root_from_path(leaf, proof.vote_index, statement.count, &proof.vote_path) != Some(statement.votes) {
        return refuse("the vote is not the one that was signed");
    }
    let counted = |owner: &usize| record.group_of(*owner).is_some();
    let index = (0..proof.owner).filter(counted).count() as u64;
    let count = (0..record.owners).filter(counted).count() as u64;
    let leaf = ballot_leaf(&proof.statement, &proof.signature);
    let root = merkle::root_from_path(leaf, index, count, &proof.ballot_path);
    if root != Some(record.ballots) {
        return refuse("the ballot is not among those that the record counts");
    }
    let signed = StatementType::Ballot.signed_bytes(&statement.owner, &proof.statement);
    if effort.verifies(&statement.owner, &signed, &proof.signature)? { Ok(()) } else { refuse("the signature") }
}
