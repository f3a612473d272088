"""The policies that name the vote of the largest group: plurality and exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from ..assurance import Assurance, Count, Levels, level
from ..cbor import Item, Reader
from ..vote import ClassVote, OutputVote, Vote
from .base import GroupSizes, Policy, all_sizes, read_sizes
from .groups import Group


class _LeadingGroup(Policy[Tuple[int, ...]]):
    """The result is the first group's vote; support is the sizes of the groups."""

    strongest = Assurance.ROBUST
    commits_result = False

    def read_support(self, reader: Reader, sizes: Sequence[int], owners: int) -> Tuple[int, ...]:
        return read_sizes(reader, sizes)

    def combine(self, groups: Sequence[Group], count: Count) -> Tuple[Tuple[int, ...], Optional[Vote]]:
        return all_sizes(groups), groups[0].vote if groups else None


@dataclass(frozen=True)
class Plurality(_LeadingGroup):
    """The class that most owners named."""

    name = "plurality"

    def to_item(self) -> Sequence[Item]:
        return [1]

    def admits(self, vote: Vote, classes: int) -> bool:
        return isinstance(vote, ClassVote) and vote.index < classes

    def levels(self, groups: GroupSizes, support: Tuple[int, ...]) -> Levels:
        count = groups.count
        first, second = groups.largest(0), groups.largest(1)
        most = first + count.open
        return Levels(
            level(count, first, first - second, 1, count.missing),
            level(count, most, most - second, 1, count.abstained),
        )


@dataclass(frozen=True)
class Exact(_LeadingGroup):
    """The output that at least ``quorum`` owners computed, byte for byte."""

    quorum: int
    name = "exact"

    def to_item(self) -> Sequence[Item]:
        return [3, self.quorum]

    def is_well_formed(self, owners: int, faults: int) -> bool:
        return owners + faults < 2 * self.quorum and self.quorum <= owners

    def admits(self, vote: Vote, classes: int) -> bool:
        return isinstance(vote, OutputVote)

    def levels(self, groups: GroupSizes, support: Tuple[int, ...]) -> Levels:
        first = groups.largest(0)
        return Levels(self._level(first), self._level(first + groups.count.open))

    def _level(self, owners: int) -> Assurance:
        return Assurance.ROBUST if owners >= self.quorum else Assurance.NONE
