"""What the attachments open (SPEC.md section 13, steps 14 to 19)."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

from .ballot import BallotProof, BallotStatement
from .budget import Budget
from .cbor import encode
from .certificate import Attachments, ModelSetOpening, RequestOpening, ResultOpening, SingleVote, VotesOpening
from .errors import Malformed, Refused
from .genesis import Charter, model_set_digest
from .keys import BALLOT_TYPE, statement_bytes, verify_signature
from .merkle import leaf_hash, root_of_path
from .policy import combine
from .record import Record
from .request import RequestStatement, request_commitment
from .vote import Vote, result_commitment, result_salt, value_salt, vote_commitment


def check_attachments(record: Record, charter: Charter, attachments: Attachments, budget: Budget) -> None:
    """Steps 14 to 19; raises :class:`Refused`."""
    if attachments.request:
        _check_request(record, attachments.request, budget)
    if attachments.votes:
        _check_votes(record, charter, attachments.votes)
    if attachments.model_set and model_set_digest(attachments.model_set.encoded) != record.model_set:
        raise Refused("bad-opening")
    if attachments.result:
        _check_result(record, attachments.result)
    for single in attachments.single_votes:
        _check_single_vote(record, single)
    for proof in attachments.ballots:
        _check_ballot(record, charter, attachments.model_set, proof, budget)


def _require(holds: bool, code: str = "bad-opening") -> None:
    if not holds:
        raise Refused(code)


def _check_request(record: Record, opening: RequestOpening, budget: Budget) -> None:
    commitment = request_commitment(opening.salt, opening.seed_digest, opening.input_digest)
    _require(commitment == record.request_commitment)
    statement = RequestStatement(
        record.genesis, record.group, opening.signer, record.origin, opening.nonce, commitment, record.expiry_ms,
        record.demand,
    )  # fmt: skip
    _require(statement.id() == record.request_id)
    if opening.signature is not None:
        budget.spend_signature()
        _require(statement.is_signed_by_signer(opening.signature))


def _check_votes(record: Record, charter: Charter, opening: VotesOpening) -> None:
    groups = record.votes
    _require(len(opening.votes) == len(groups))
    votes: Dict[int, Optional[Vote]] = {}
    for group, vote in zip(groups, opening.votes):
        _require(vote is not None and vote_commitment(value_salt(opening.salt, vote), vote) == group.commitment)
        votes.update((owner, vote) for owner in group.owners)
    for group in record.groups[len(groups) :]:
        votes.update((owner, None) for owner in group.owners)
    _require(_recomputes(record, charter, opening.salt, votes), "wrong-outcome")


def _recomputes(record: Record, charter: Charter, salt: bytes, votes: Dict[int, Optional[Vote]]) -> bool:
    """Whether the record is exactly what the votes give (step 15a)."""
    combined = combine(
        charter.policy, votes,
        owners=len(charter.roster), faults=charter.faults, classes=charter.classes, demand=record.demand,
    )  # fmt: skip
    groups = tuple((_commitment(salt, group.vote), group.owners) for group in combined.groups)
    result: Optional[bytes] = None
    if combined.result is not None and charter.policy.commits_result:
        result = result_commitment(result_salt(salt, combined.result), combined.result)
    return (
        groups == tuple((group.commitment, group.owners) for group in record.groups)
        and combined.support == record.support
        and combined.outcome is record.outcome
        and combined.levels.now is record.assurance
        and result == record.result_commitment
    )


def _commitment(salt: bytes, vote: Optional[Vote]) -> Optional[bytes]:
    return None if vote is None else vote_commitment(value_salt(salt, vote), vote)


def _check_result(record: Record, opening: ResultOpening) -> None:
    _require(record.result_commitment is not None and opening.vote is not None)
    _require(opening.vote is not None and result_commitment(opening.salt, opening.vote) == record.result_commitment)


def _check_single_vote(record: Record, opening: SingleVote) -> None:
    _require(opening.group < len(record.groups) and opening.vote is not None)
    commitment = record.groups[opening.group].commitment
    _require(opening.vote is not None and vote_commitment(opening.salt, opening.vote) == commitment)


def _check_ballot(
    record: Record, charter: Charter, models: Optional[ModelSetOpening], proof: BallotProof, budget: Budget
) -> None:
    group = record.group_of(proof.owner)
    _require(proof.owner < len(charter.roster) and group is not None, "bad-ballot")
    try:
        statement = BallotStatement.from_bytes(proof.statement)
    except Malformed:
        raise Refused("bad-ballot") from None
    _require(_speaks_of(record, charter, models, proof.owner, statement), "bad-ballot")
    leaf = encode([record.request_id, group.commitment if group else None, proof.output_commitment])
    votes = _root(leaf, proof.vote_index, statement.count, proof.votes_path, budget)
    ballot = encode([proof.statement, proof.signature])
    counted = record.counted_owners()
    ballots = _root(ballot, counted.index(proof.owner), len(counted), proof.ballots_path, budget)
    _require((votes, ballots) == (statement.votes_root, record.ballots_root), "bad-ballot")
    budget.spend_signature()
    message = statement_bytes(statement.owner, BALLOT_TYPE, proof.statement)
    _require(verify_signature(statement.owner, proof.signature, message), "bad-ballot")


def _root(leaf: bytes, index: int, size: int, path: bytes, budget: Budget) -> Optional[bytes]:
    budget.spend_path(path)
    return root_of_path(leaf_hash(leaf), index, size, path)


def _speaks_of(
    record: Record, charter: Charter, models: Optional[ModelSetOpening], owner: int, statement: BallotStatement
) -> bool:
    """Whether the statement is that owner's, under the record's charter and model versions, in time."""
    said: Tuple[bytes, str, bytes] = (statement.genesis, statement.group, statement.charter)
    if said != (record.genesis, record.group, record.charter):
        return False
    if statement.owner != charter.roster[owner].key or statement.expiry_ms < record.agreed_ms:
        return False
    if models is None:
        return True
    model = models.models[owner] if owner < len(models.models) else None
    return model is not None and model.digest == statement.model_version
