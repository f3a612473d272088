"""The record: the leaf that describes one certified inference (SPEC.md section 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Set, Tuple

from .assurance import Assurance, Count, Outcome
from .bitmap import PLACES_MAX, places
from .cbor import Reader, read_all
from .errors import Malformed
from .policy import AnyPolicy, GroupSizes, read_policy
from .request import Origin

RECORD_BYTES_MAX = 16384


@dataclass(frozen=True)
class VoteGroup:
    """The owners that committed to one vote; a commitment of None is the group of abstentions."""

    commitment: Optional[bytes]
    owners: Tuple[int, ...]


@dataclass(frozen=True)
class Record:
    """A well-formed record. That is all: nothing in it is proven before the certificate is verified."""

    genesis: bytes
    epoch: int
    config: bytes
    group: str
    charter: bytes
    model_set: bytes
    request_id: bytes
    request_commitment: bytes
    expiry_ms: int
    origin: Origin
    policy: AnyPolicy
    owners: int
    faults: int
    demand: Assurance
    groups: Tuple[VoteGroup, ...]
    outcome: Outcome
    result_commitment: Optional[bytes]
    support: Any
    assurance: Assurance
    ballots_root: bytes
    seq: int
    leaf_index: int
    agreed_ms: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """Parses a record; raises :class:`Malformed` if it is not well formed."""
        return read_all(data, _read_record)

    @property
    def votes(self) -> Tuple[VoteGroup, ...]:
        """The groups that are not the abstentions'."""
        return tuple(group for group in self.groups if group.commitment is not None)

    def group_of(self, owner: int) -> Optional[VoteGroup]:
        """The group that an owner's ballot counts in."""
        return next((group for group in self.groups if owner in group.owners), None)

    def counted_owners(self) -> List[int]:
        """The owners whose ballots count, abstentions included, in roster order."""
        return sorted(owner for group in self.groups for owner in group.owners)

    def sizes(self) -> GroupSizes:
        """The group sizes that the policies compute with."""
        voters = frozenset(owner for group in self.votes for owner in group.owners)
        counted = sum(len(group.owners) for group in self.groups)
        count = Count(self.owners, self.faults, len(voters), counted - len(voters))
        return GroupSizes(count, tuple(len(group.owners) for group in self.votes), voters)

    def follows(self) -> bool:
        """Whether outcome, assurance and result commitment follow from the tally."""
        sizes = self.sizes()
        if not self.policy.support_follows(self.support, sizes):
            return False
        levels = self.policy.levels(sizes, self.support)
        commits = self.outcome is Outcome.AGREED and self.policy.commits_result
        return (
            levels.outcome(self.demand) is self.outcome
            and levels.now is self.assurance
            and (self.result_commitment is not None) == commits
        )


def _read_record(reader: Reader) -> Record:
    reader.map_of(12)
    _key(reader, 1)
    reader.constant(1)
    _key(reader, 2)
    genesis = reader.digest()
    _key(reader, 3, items=2)
    epoch, config = reader.uint(), reader.digest()
    _key(reader, 4, items=3)
    group, charter, model_set = reader.name(), reader.digest(), reader.digest()
    _key(reader, 5, items=4)
    request_id, commitment = reader.digest(), reader.digest()
    expiry_ms, origin = reader.uint(), Origin(reader.uint(1))
    _key(reader, 6, items=4)
    policy = read_policy(reader)
    owners, faults = reader.uint(PLACES_MAX), reader.uint(PLACES_MAX)
    demand = Assurance(reader.uint(3, 1))
    _key(reader, 7)
    groups = reader.list_of(lambda item: _read_group(item, owners), owners)
    _check_groups(groups)
    _key(reader, 8, items=2)
    outcome, result_commitment = Outcome(reader.uint(2, 1)), reader.or_null(Reader.digest)
    _key(reader, 9, items=2)
    support = policy.read_support(reader, [len(one.owners) for one in groups], owners)
    assurance = Assurance(reader.uint(3))
    _key(reader, 10)
    ballots_root = reader.digest()
    _key(reader, 11, items=2)
    seq, leaf_index = reader.uint(), reader.uint()
    _key(reader, 12)
    agreed_ms = reader.uint()
    return Record(
        genesis, epoch, config, group, charter, model_set, request_id, commitment, expiry_ms, origin, policy, owners,
        faults, demand, tuple(groups), outcome, result_commitment, support, assurance, ballots_root, seq, leaf_index,
        agreed_ms,
    )  # fmt: skip


def _key(reader: Reader, key: int, items: Optional[int] = None) -> None:
    reader.constant(key)
    if items is not None:
        reader.array_of(items)


def _read_group(reader: Reader, owners: int) -> VoteGroup:
    reader.array_of(2)
    commitment = reader.or_null(Reader.digest)
    return VoteGroup(commitment, places(reader.byte_string((owners + 7) // 8), owners))


def _check_groups(groups: List[VoteGroup]) -> None:
    seen: Set[int] = set()
    for group in groups:
        if not group.owners or not seen.isdisjoint(group.owners):
            raise Malformed("a group without owners, or an owner in two groups")
        seen.update(group.owners)
    commitments = [group.commitment for group in groups]
    if len(set(commitments)) != len(commitments) or None in commitments[:-1]:
        raise Malformed("two groups with one commitment, or abstentions that do not stand last")
    sizes = [len(group.owners) for group in groups if group.commitment is not None]
    if sizes != sorted(sizes, reverse=True):
        raise Malformed("groups out of order")
