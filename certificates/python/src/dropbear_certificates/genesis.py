"""Committees, charters and model sets (SPEC.md section 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, List, Optional, Sequence, Tuple

from .assurance import Assurance
from .bitmap import PLACES_MAX
from .cbor import NAME_BYTES_MAX, Item, Reader, encode, read_all
from .digest import tag
from .errors import Malformed
from .keys import is_admissible, read_key
from .policy import AnyPolicy, read_policy

CHARTER_BYTES_MAX = 131072
OWNER_TEXT_BYTES_MAX = 256
MODEL_SET_BYTES_MAX = 32768

_ALLOWED_NAME = re.compile(r"[a-z0-9._-]{1,64}\Z")


def is_allowed_name(name: str) -> bool:
    """Whether a name has 1 to 64 characters of ``a-z``, ``0-9``, ``-``, ``.``, ``_``."""
    return _ALLOWED_NAME.match(name) is not None


@dataclass(frozen=True)
class Member:
    """A coordinator."""

    name: str
    attestation_key: bytes
    engine_key: bytes


@dataclass(frozen=True)
class Committee:
    """The members of one epoch, in the order of their places."""

    epoch: int
    members: Tuple[Member, ...]

    @classmethod
    def read(cls, reader: Reader) -> Committee:
        """A ``committee``; refused unless well formed."""
        reader.array_of(2)
        committee = cls(reader.uint(), tuple(reader.list_of(_read_member, PLACES_MAX)))
        committee.check()
        return committee

    def check(self) -> None:
        """Raises :class:`Malformed` unless well formed."""
        members = self.members
        _require(1 <= len(members) <= PLACES_MAX, "a committee has 1 to 128 members")
        _require(all(is_allowed_name(member.name) for member in members), "a member's name is not allowed")
        _require(_differ(member.name for member in members), "two members share a name")
        _require(_differ(member.attestation_key for member in members), "two members share an attestation key")
        _require(_differ(member.engine_key for member in members), "two members share an engine key")
        keys = [key for member in members for key in (member.attestation_key, member.engine_key)]
        _require(all(map(is_admissible, keys)), "a member's key is not admissible")

    def to_item(self) -> Item:
        """The committee as CBOR."""
        return [self.epoch, [[member.name, member.attestation_key, member.engine_key] for member in self.members]]

    def digest(self) -> bytes:
        """The config digest."""
        return tag("dropbear/config/v1", encode(self.to_item()))

    @property
    def faults(self) -> int:
        """How many members may be Byzantine."""
        return (len(self.members) - 1) // 3

    @property
    def quorum(self) -> int:
        """How many members must sign."""
        return len(self.members) - self.faults


@dataclass(frozen=True)
class Owner:
    """A model owner on a roster."""

    name: str
    key: bytes
    party: str
    lineage: str


@dataclass(frozen=True)
class Charter:
    """The rules of a group: who votes on what, and how votes become an outcome."""

    group: str
    task: str
    classes: int
    labels: Optional[bytes]
    roster: Tuple[Owner, ...]
    policy: AnyPolicy
    faults: int
    assurance: Assurance
    notice_blocks: int
    approvals: int
    fee: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Charter:
        """Parses a charter; refused unless well formed."""
        charter = read_all(data, _read_charter)
        charter.check()
        return charter

    def check(self) -> None:
        """Raises :class:`Malformed` unless well formed."""
        roster = self.roster
        _require(1 <= len(roster) <= PLACES_MAX, "a charter has 1 to 128 owners")
        _require(self.faults <= (len(roster) - 1) // 3, "the fault bound exceeds a third of the roster")
        _require(is_allowed_name(self.group), "the group's name is not allowed")
        _require(len(self.task.encode("utf-8")) <= NAME_BYTES_MAX, "the task is too long")
        _require(all(is_allowed_name(owner.name) for owner in roster), "an owner's name is not allowed")
        _require(self.policy.is_well_formed(len(roster), self.faults), "the policy does not fit the roster")
        _require(Assurance.NONE < self.assurance <= self.policy.strongest, "the policy cannot give this assurance")
        _require(_differ(owner.name for owner in roster), "two owners share a name")
        _require(_differ(owner.key for owner in roster), "two owners share a key")
        _require(all(is_admissible(owner.key) for owner in roster), "an owner's key is not admissible")
        texts = [text for owner in roster for text in (owner.party, owner.lineage)]
        _require(
            all(len(text.encode("utf-8")) <= OWNER_TEXT_BYTES_MAX for text in texts), "an owner's text is too long"
        )

    def to_bytes(self) -> bytes:
        """The charter as CBOR."""
        roster: List[Item] = [[owner.name, owner.key, owner.party, owner.lineage] for owner in self.roster]
        head: List[Item] = [1, self.group, self.task, self.classes, self.labels, roster, self.policy.to_item()]
        tail: List[Item] = [self.faults, int(self.assurance), self.notice_blocks, self.approvals, self.fee]
        return encode(head + tail)

    def digest(self) -> bytes:
        """The charter digest."""
        return tag("dropbear/charter/v1", self.to_bytes())


def labels_digest(labels: Sequence[str]) -> bytes:
    """The digest of a label table, class 0 first."""
    return tag("dropbear/labels/v1", encode(list(labels)))


@dataclass(frozen=True)
class Model:
    """The model that stands at a roster place."""

    name: str
    version: str
    digest: bytes


ModelSet = Tuple[Optional[Model], ...]


def read_model_set(data: bytes) -> ModelSet:
    """Parses a model set: one entry per roster place."""
    return tuple(read_all(data, lambda reader: reader.list_of(lambda item: item.or_null(_read_model), PLACES_MAX)))


def model_set_digest(data: bytes) -> bytes:
    """The digest of a model set's bytes."""
    return tag("dropbear/model-set/v1", data)


def _read_model(reader: Reader) -> Model:
    reader.array_of(3)
    return Model(reader.name(), reader.name(), reader.digest())


def _read_member(reader: Reader) -> Member:
    reader.array_of(3)
    return Member(reader.name(), read_key(reader), read_key(reader))


def _read_owner(reader: Reader) -> Owner:
    reader.array_of(4)
    return Owner(reader.name(), read_key(reader), reader.text(OWNER_TEXT_BYTES_MAX), reader.text(OWNER_TEXT_BYTES_MAX))


def _read_charter(reader: Reader) -> Charter:
    reader.array_of(12)
    reader.constant(1)
    return Charter(
        reader.name(), reader.name(), reader.uint(2**32 - 1), reader.or_null(Reader.digest),
        tuple(reader.list_of(_read_owner, PLACES_MAX)), read_policy(reader), reader.uint(), Assurance(reader.uint(3)),
        reader.uint(), reader.uint(), reader.uint(),
    )  # fmt: skip


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Malformed(otherwise)


def _differ(values: Iterable[object]) -> bool:
    listed = list(values)
    return len(set(listed)) == len(listed)
