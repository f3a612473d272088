"""What section 8 promises, held against every way that the other owners could have voted."""

from __future__ import annotations

import itertools
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

import pytest

from dropbear_certificates import Assurance, ClassVote, Outcome, OutputVote, RankingVote, TensorVote, Vote
from dropbear_certificates.policy import (
    AnyPolicy,
    Borda,
    Combined,
    Exact,
    Median,
    Plurality,
    TensorShape,
    TrimmedMean,
    Within,
    combine,
)

SHAPE = TensorShape(1, 0, -100, 100)
OPEN = "open"


def tensor(*values: int) -> TensorVote:
    return TensorVote(values)


def combined(policy: AnyPolicy, votes: Mapping[int, Optional[Vote]], owners: int, faults: int) -> Combined:
    return combine(policy, votes, owners=owners, faults=faults, classes=3, demand=Assurance.SUPPORTED)


def ballots(choices: List[Optional[Vote]], owners: int) -> Iterator[Tuple[object, ...]]:
    return itertools.combinations_with_replacement([*choices, OPEN], owners)


def counted(ballots: Tuple[object, ...]) -> Dict[int, Optional[Vote]]:
    return {owner: vote for owner, vote in enumerate(ballots) if vote is not OPEN}  # type: ignore[misc]


def completions(
    votes: Mapping[int, Optional[Vote]], owners: int, choices: List[Optional[Vote]]
) -> Iterator[Dict[int, Optional[Vote]]]:
    out = [owner for owner in range(owners) if owner not in votes]
    for filled in itertools.combinations_with_replacement(choices, len(out)):
        yield {**votes, **dict(zip(out, filled))}


CHOICES: Dict[str, List[Optional[Vote]]] = {
    "plurality": [ClassVote(0), ClassVote(1), ClassVote(2), None],
    "borda": [RankingVote((0, 1)), RankingVote((1, 0)), RankingVote((2,)), None],
    "exact": [OutputVote(bytes(32)), OutputVote(b"\x01" * 32), None],
    "median": [tensor(0), tensor(1), tensor(7), None],
    "within": [tensor(0), tensor(1), tensor(3), None],
}


def policies(owners: int, faults: int) -> List[AnyPolicy]:
    quorum = (owners + faults) // 2 + 1
    return [Plurality(), Borda(2), Exact(quorum), Median(SHAPE), TrimmedMean(SHAPE), Within(SHAPE, 1, quorum)]


@pytest.mark.parametrize("owners", [1, 2, 3, 4, 5])
def test_no_completion_exceeds_what_is_reachable(owners: int) -> None:
    faults = (owners - 1) // 3
    for policy in policies(owners, faults):
        choices = CHOICES["median" if policy.name == "trimmed-mean" else policy.name]
        for cast in ballots(choices, owners):
            votes = counted(cast)
            levels = combined(policy, votes, owners, faults).levels
            after = [combined(policy, full, owners, faults).levels.now for full in completions(votes, owners, choices)]
            assert levels.reachable >= max(after), (policy, cast)
            assert levels.reachable >= levels.now, (policy, cast)
            if policy.name in ("plurality", "exact", "median", "trimmed-mean"):
                assert levels.reachable == max(after), (policy, cast)


@pytest.mark.parametrize("policy", [Plurality(), Borda(2)], ids=["plurality", "borda"])
@pytest.mark.parametrize("owners", [1, 2, 3, 4, 5])
def test_a_decisive_result_stands_however_the_missing_vote(policy: AnyPolicy, owners: int) -> None:
    choices = CHOICES[policy.name]
    named = [choice for choice in choices if choice is not None]
    for cast in ballots(choices, owners):
        votes = counted(cast)
        before = combined(policy, votes, owners, (owners - 1) // 3)
        if before.levels.now < Assurance.DECISIVE:
            continue
        heard = {owner: vote for owner, vote in votes.items() if vote is not None}
        for full in completions(heard, owners, [*named]):
            assert combined(policy, full, owners, 0).result == before.result, (cast, full)


@pytest.mark.parametrize("owners", [4, 5, 7])
def test_a_robust_plurality_leads_among_honest_owners(owners: int) -> None:
    policy, faults = Plurality(), (owners - 1) // 3
    named: List[Optional[Vote]] = [ClassVote(0), ClassVote(1), ClassVote(2)]
    for cast in ballots(CHOICES["plurality"], owners):
        votes = counted(cast)
        before = combined(policy, votes, owners, faults)
        if before.levels.now < Assurance.ROBUST:
            continue
        heard = {owner: vote for owner, vote in votes.items() if vote is not None}
        for full in completions(heard, owners, named):
            for liars in itertools.combinations(full, faults):
                honest = {owner: vote for owner, vote in full.items() if owner not in liars}
                assert combined(policy, honest, owners, 0).result == before.result, (cast, liars)


def test_the_median_lies_between_honest_values() -> None:
    for policy in (Median(SHAPE), TrimmedMean(SHAPE)):
        for values in itertools.product((-3, 0, 2, 50), repeat=4):
            result = combined(policy, {owner: tensor(value) for owner, value in enumerate(values)}, 4, 1).result
            assert isinstance(result, TensorVote)
            for liar in range(4):
                honest = [value for owner, value in enumerate(values) if owner != liar]
                assert min(honest) <= result.values[0] <= max(honest)


def test_the_trimmed_mean_rounds_down() -> None:
    votes: Dict[int, Optional[Vote]] = {0: tensor(-100), 1: tensor(-2), 2: tensor(-1), 3: tensor(100)}
    assert combined(TrimmedMean(SHAPE), votes, 4, 1).result == tensor(-2)
    assert combined(Median(SHAPE), votes, 4, 1).result == tensor(-2)


def test_votes_that_are_not_admitted_abstain() -> None:
    votes: Dict[int, Optional[Vote]] = {0: ClassVote(1), 1: ClassVote(3), 2: OutputVote(bytes(32)), 3: None}
    groups = combined(Plurality(), votes, 4, 1).groups
    assert [(group.vote, group.owners) for group in groups] == [(ClassVote(1), (0,)), (None, (1, 2, 3))]
    for ranking in ((), (0, 0), (0, 1, 2), (3,)):
        assert not Borda(2).admits(RankingVote(ranking), 3)
    assert not Median(SHAPE).admits(tensor(101), 3)
    assert not Median(SHAPE).admits(tensor(1, 1), 3)


def test_equal_counts_stand_by_the_bytes_of_the_vote() -> None:
    votes: Dict[int, Optional[Vote]] = {0: RankingVote((1, 0)), 1: RankingVote((2,)), 2: RankingVote((0, 1))}
    order = [group.vote for group in combined(Borda(2), votes, 4, 1).groups]
    assert order == [RankingVote((2,)), RankingVote((0, 1)), RankingVote((1, 0))]


def test_a_tie_is_no_agreement_and_has_no_result() -> None:
    votes: Dict[int, Optional[Vote]] = {0: ClassVote(1), 1: ClassVote(1), 2: ClassVote(0), 3: ClassVote(0)}
    tie = combined(Plurality(), votes, 4, 1)
    assert (tie.outcome, tie.result) == (Outcome.NO_AGREEMENT, None)


def test_the_largest_cluster_with_the_smallest_total_wins() -> None:
    votes: Dict[int, Optional[Vote]] = {0: tensor(0), 1: tensor(1), 2: tensor(2), 3: tensor(50)}
    agreed = combined(Within(SHAPE, 2, 3), votes, 4, 1)
    assert agreed.result == tensor(1)
    assert (agreed.support.owners, agreed.support.reach) == ((0, 1, 2), 3)
