"""The policies over tensors: median, trimmed mean, and within a distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..assurance import Assurance, Count, Levels
from ..bitmap import places
from ..cbor import UINT_MAX, Item, Reader
from ..errors import Malformed
from ..vote import TENSOR_MAX, VALUE_MAX, TensorVote, Vote
from .base import GroupSizes, Policy, all_sizes, read_sizes
from .groups import Group

FRACTION_BITS_MAX = 30
EPSILON_MAX = UINT_MAX // 2


@dataclass(frozen=True)
class TensorShape:
    """What a tensor may hold."""

    length: int
    fraction_bits: int
    min: int
    max: int

    @classmethod
    def read(cls, reader: Reader) -> TensorShape:
        """A ``tensor``; anything out of bounds does not decode."""
        reader.array_of(4)
        length, fraction_bits = reader.uint(TENSOR_MAX, 1), reader.uint(FRACTION_BITS_MAX)
        least, most = reader.integer(VALUE_MAX), reader.integer(VALUE_MAX)
        if least > most:
            raise Malformed("an empty range")
        return cls(length, fraction_bits, least, most)

    def to_item(self) -> Sequence[Item]:
        """The shape as CBOR."""
        return [self.length, self.fraction_bits, self.min, self.max]

    def admits(self, vote: Vote) -> bool:
        """Whether the vote is a tensor of this shape."""
        fits = isinstance(vote, TensorVote) and len(vote.values) == self.length
        return fits and isinstance(vote, TensorVote) and all(self.min <= value <= self.max for value in vote.values)


@dataclass(frozen=True)
class _Elementwise(Policy[Tuple[int, ...]]):
    """Each element of the result is computed from the voters' values of that element."""

    tensor: TensorShape
    strongest = Assurance.SUPPORTED
    commits_result = True

    def admits(self, vote: Vote, classes: int) -> bool:
        return self.tensor.admits(vote)

    def read_support(self, reader: Reader, sizes: Sequence[int], owners: int) -> Tuple[int, ...]:
        return read_sizes(reader, sizes)

    def levels(self, groups: GroupSizes, support: Tuple[int, ...]) -> Levels:
        count = groups.count
        return Levels(_enough(count.voters, count.faults), _enough(count.voters + count.open, count.faults))

    def combine(self, groups: Sequence[Group], count: Count) -> Tuple[Tuple[int, ...], Optional[Vote]]:
        tensors = [values for values, owners in _tensors(groups) for _ in owners]
        if not _enough(count.voters, count.faults):
            return all_sizes(groups), None
        elements = tuple(self._element(sorted(column), count.faults) for column in zip(*tensors))
        return all_sizes(groups), TensorVote(elements)

    def _element(self, values: List[int], faults: int) -> int:
        """One element of the result, from the voters' values in ascending order."""
        raise NotImplementedError


@dataclass(frozen=True)
class Median(_Elementwise):
    """The lower median of each element."""

    name = "median"

    def to_item(self) -> Sequence[Item]:
        return [4, self.tensor.to_item()]

    def _element(self, values: List[int], faults: int) -> int:
        return values[(len(values) - 1) // 2]


@dataclass(frozen=True)
class TrimmedMean(_Elementwise):
    """The mean of each element without the ``faults`` smallest and largest, rounded down."""

    name = "trimmed-mean"

    def to_item(self) -> Sequence[Item]:
        return [5, self.tensor.to_item()]

    def _element(self, values: List[int], faults: int) -> int:
        kept = values[faults : len(values) - faults]
        return sum(kept) // len(kept)


class Cluster(NamedTuple):
    """The largest set of owners whose votes lie within epsilon of one of them."""

    owners: Tuple[int, ...]
    reach: int
    """The most owners within 2 epsilon of any one vote."""


@dataclass(frozen=True)
class Within(Policy[Cluster]):
    """A vote that at least ``quorum`` owners' votes lie within ``epsilon`` of (sum of absolute differences)."""

    tensor: TensorShape
    epsilon: int
    quorum: int
    name = "within"
    strongest = Assurance.SUPPORTED
    commits_result = True

    def to_item(self) -> Sequence[Item]:
        return [6, self.tensor.to_item(), self.epsilon, self.quorum]

    def is_well_formed(self, owners: int, faults: int) -> bool:
        return self.epsilon <= EPSILON_MAX and self.quorum <= owners and 2 * self.quorum > owners + faults

    def admits(self, vote: Vote, classes: int) -> bool:
        return self.tensor.admits(vote)

    def read_support(self, reader: Reader, sizes: Sequence[int], owners: int) -> Cluster:
        reader.array_of(2)
        cluster = places(reader.byte_string((owners + 7) // 8), owners)
        return Cluster(cluster, reader.uint(128))

    def support_follows(self, support: Cluster, groups: GroupSizes) -> bool:
        bounded = len(support.owners) <= support.reach <= groups.count.voters
        return (
            bounded and bool(support.owners) == bool(groups.count.voters) and groups.voters.issuperset(support.owners)
        )

    def levels(self, groups: GroupSizes, support: Cluster) -> Levels:
        size, unheard = len(support.owners), groups.count.open
        now = self._level(size)
        return Levels(now, self._level(max(support.reach + unheard, size)) if unheard else now)

    def _level(self, owners: int) -> Assurance:
        return Assurance.SUPPORTED if owners >= self.quorum else Assurance.NONE

    def combine(self, groups: Sequence[Group], count: Count) -> Tuple[Cluster, Optional[Vote]]:
        tensors = _tensors(groups)
        best_rank: Optional[Tuple[int, int]] = None
        best, best_values, reach = Cluster((), 0), None, 0
        for values, _ in tensors:
            distances = [(_distance(values, other), owners) for other, owners in tensors]
            cluster = sorted(owner for distance, owners in distances if distance <= self.epsilon for owner in owners)
            total = sum(distance * len(owners) for distance, owners in distances if distance <= self.epsilon)
            reach = max(reach, sum(len(owners) for distance, owners in distances if distance <= 2 * self.epsilon))
            rank = (-len(cluster), total)
            if best_rank is None or rank < best_rank:
                best_rank, best, best_values = rank, Cluster(tuple(cluster), 0), values
        return best._replace(reach=reach), None if best_values is None else TensorVote(best_values)


def _enough(voters: int, faults: int) -> Assurance:
    return Assurance.SUPPORTED if voters >= 2 * faults + 1 else Assurance.NONE


def _tensors(groups: Sequence[Group]) -> List[Tuple[Tuple[int, ...], Tuple[int, ...]]]:
    return [(group.vote.values, group.owners) for group in groups if isinstance(group.vote, TensorVote)]


def _distance(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other))
