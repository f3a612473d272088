"""Groups of owners with equal votes (SPEC.md section 8, "Groups")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ..assurance import Count
from ..vote import Vote


@dataclass(frozen=True)
class Group:
    """Owners with the same vote; None is the group of abstentions."""

    vote: Optional[Vote]
    owners: Tuple[int, ...]


def group_votes(votes: Mapping[int, Optional[Vote]]) -> List[Group]:
    """The groups of the counted votes by owner, in order: descending count, ascending bytes, abstentions last."""
    by_vote: Dict[Optional[Vote], List[int]] = {}
    for owner in sorted(votes):
        by_vote.setdefault(votes[owner], []).append(owner)
    groups = [Group(vote, tuple(owners)) for vote, owners in by_vote.items()]
    return sorted(groups, key=_order)


def count_groups(groups: Sequence[Group], owners: int, faults: int) -> Count:
    """How many owners of the roster are in groups."""
    voters = sum(len(group.owners) for group in groups if group.vote is not None)
    abstained = sum(len(group.owners) for group in groups if group.vote is None)
    return Count(owners, faults, voters, abstained)


def _order(group: Group) -> Tuple[bool, int, bytes]:
    encoded = b"" if group.vote is None else group.vote.to_bytes()
    return (group.vote is None, -len(group.owners), encoded)
