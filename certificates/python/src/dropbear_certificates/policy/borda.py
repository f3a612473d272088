"""Borda counts over rankings of the k most likely classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..assurance import Assurance, Count, Levels, level
from ..cbor import Item, Reader
from ..errors import Malformed
from ..vote import RANKING_MAX, ClassVote, RankingVote, Vote
from .base import GroupSizes, Policy
from .groups import Group

CANDIDATES_MAX = 2048


class Candidate(NamedTuple):
    """A class that is ranked at all, without its name."""

    points: int
    named: int


Candidates = Tuple[Candidate, ...]


@dataclass(frozen=True)
class Borda(Policy[Candidates]):
    """A ranking gives its first class ``ranks`` points, the next one less, and so on."""

    ranks: int
    name = "borda"
    strongest = Assurance.ROBUST
    commits_result = True

    def to_item(self) -> Sequence[Item]:
        return [2, self.ranks]

    def is_well_formed(self, owners: int, faults: int) -> bool:
        return 1 <= self.ranks <= RANKING_MAX

    def admits(self, vote: Vote, classes: int) -> bool:
        if not isinstance(vote, RankingVote):
            return False
        different = len(set(vote.classes)) == len(vote.classes)
        return different and 1 <= len(vote.classes) <= self.ranks and max(vote.classes) < classes

    def read_support(self, reader: Reader, sizes: Sequence[int], owners: int) -> Candidates:
        candidates = tuple(reader.list_of(_read_candidate, CANDIDATES_MAX))
        if any(before.points < after.points for before, after in zip(candidates, candidates[1:])):
            raise Malformed("points ascend")
        return candidates

    def support_follows(self, support: Candidates, groups: GroupSizes) -> bool:
        voters = groups.count.voters
        return bool(support) == bool(voters) and all(
            1 <= one.named <= voters and one.named <= one.points <= self.ranks * one.named for one in support
        )

    def levels(self, groups: GroupSizes, support: Candidates) -> Levels:
        count = groups.count
        candidates = support or (Candidate(0, 0),)
        rivals = [_points(candidates, 1)] + [candidates[0].points] * (len(candidates) - 1)
        first = candidates[0]
        now = level(count, first.named, first.points - rivals[0], self.ranks, count.missing)
        return Levels(now, max(self._reachable(one, rival, count) for one, rival in zip(candidates, rivals)))

    def _reachable(self, one: Candidate, rival: int, count: Count) -> Assurance:
        lead = one.points + self.ranks * count.open - rival
        return level(count, one.named + count.open, lead, self.ranks, count.abstained)

    def combine(self, groups: Sequence[Group], count: Count) -> Tuple[Candidates, Optional[Vote]]:
        points: Dict[int, int] = {}
        named: Dict[int, int] = {}
        for group in groups:
            ranking = group.vote.classes if isinstance(group.vote, RankingVote) else ()
            for rank, index in enumerate(ranking):
                points[index] = points.get(index, 0) + (self.ranks - rank) * len(group.owners)
                named[index] = named.get(index, 0) + len(group.owners)
        order: List[int] = sorted(points, key=lambda index: (-points[index], index))
        support = tuple(Candidate(points[index], named[index]) for index in order)
        return support, ClassVote(order[0]) if order else None


def _points(candidates: Candidates, place: int) -> int:
    return candidates[place].points if place < len(candidates) else 0


def _read_candidate(reader: Reader) -> Candidate:
    reader.array_of(2)
    return Candidate(reader.uint(), reader.uint())
