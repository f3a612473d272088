"""What every policy gives (SPEC.md section 8)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, FrozenSet, Generic, Optional, Sequence, Tuple, TypeVar

from ..assurance import Assurance, Count, Levels
from ..cbor import Item, Reader
from ..vote import Vote
from .groups import Group

S = TypeVar("S")


@dataclass(frozen=True)
class GroupSizes:
    """What the record's votes say, in the form that the policies compute with."""

    count: Count
    sizes: Tuple[int, ...]
    """The owners of each group that is not the abstentions', in the record's order."""
    voters: FrozenSet[int]
    """The owners in those groups."""

    def largest(self, place: int) -> int:
        """The size of the group at ``place``, 0 if there is none."""
        return self.sizes[place] if place < len(self.sizes) else 0


class Policy(abc.ABC, Generic[S]):
    """A policy with its parameters. ``S`` is what it adds to the tally as support."""

    name: ClassVar[str]
    strongest: ClassVar[Assurance]
    commits_result: ClassVar[bool]
    """Whether the result is computed, and the record holds a commitment to it, rather than the first group's vote."""

    @abc.abstractmethod
    def to_item(self) -> Sequence[Item]:
        """The policy as CBOR."""

    def is_well_formed(self, owners: int, faults: int) -> bool:
        """Whether the parameters fit the roster."""
        return True

    @abc.abstractmethod
    def admits(self, vote: Vote, classes: int) -> bool:
        """Whether a vote counts."""

    @abc.abstractmethod
    def read_support(self, reader: Reader, sizes: Sequence[int], owners: int) -> S:
        """The support of key 9 of a record with groups of these sizes, abstentions included."""

    def support_follows(self, support: S, groups: GroupSizes) -> bool:
        """Rule 1 of "the record follows" (section 9)."""
        return True

    @abc.abstractmethod
    def levels(self, groups: GroupSizes, support: S) -> Levels:
        """The levels now and reachable."""

    @abc.abstractmethod
    def combine(self, groups: Sequence[Group], count: Count) -> Tuple[S, Optional[Vote]]:
        """Support and result of the groups, once all votes are known. The result is None without voters."""


def read_sizes(reader: Reader, sizes: Sequence[int]) -> Tuple[int, ...]:
    """The support of policies without one of their own: the size of each group."""
    reader.constant(tuple(sizes))
    return tuple(sizes)


def all_sizes(groups: Sequence[Group]) -> Tuple[int, ...]:
    """The sizes of the groups, abstentions included."""
    return tuple(len(group.owners) for group in groups)
