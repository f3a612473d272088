"""From votes to an outcome: what coordinators compute, and what attachment 2 lets anybody recompute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from ..assurance import Assurance, Levels, Outcome
from ..vote import Vote
from .base import GroupSizes, Policy
from .groups import Group, count_groups, group_votes


@dataclass(frozen=True)
class Combined:
    """Everything that a policy makes of the votes."""

    groups: Tuple[Group, ...]
    support: Any
    levels: Levels
    outcome: Outcome
    result: Optional[Vote]
    """The agreed result; None without agreement."""


def combine(
    policy: Policy[Any],
    votes: Mapping[int, Optional[Vote]],
    *,
    owners: int,
    faults: int,
    classes: int,
    demand: Assurance,
) -> Combined:
    """The outcome of the counted votes by owner. A vote that the policy does not admit counts as an abstention."""
    admitted = {owner: vote if vote and policy.admits(vote, classes) else None for owner, vote in votes.items()}
    groups = group_votes(admitted)
    count = count_groups(groups, owners, faults)
    voting = [group for group in groups if group.vote is not None]
    support, result = policy.combine(groups, count)
    heard = frozenset(owner for group in voting for owner in group.owners)
    levels = policy.levels(GroupSizes(count, tuple(len(group.owners) for group in voting), heard), support)
    outcome = levels.outcome(demand)
    return Combined(tuple(groups), support, levels, outcome, result if outcome is Outcome.AGREED else None)
