"""Votes and what commits to them (SPEC.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from .cbor import Reader, encode
from .digest import tag
from .errors import Malformed

CLASS_MAX = 2**32 - 1
RANKING_MAX = 16
TENSOR_MAX = 1024
VALUE_MAX = 2**31 - 1


@dataclass(frozen=True)
class ClassVote:
    """One class."""

    index: int

    def to_bytes(self) -> bytes:
        """The encoding."""
        return encode([1, self.index])


@dataclass(frozen=True)
class RankingVote:
    """Classes, most likely first."""

    classes: Tuple[int, ...]

    def to_bytes(self) -> bytes:
        """The encoding."""
        return encode([2, self.classes])


@dataclass(frozen=True)
class OutputVote:
    """The digest of an output."""

    digest: bytes

    def to_bytes(self) -> bytes:
        """The encoding."""
        return encode([3, self.digest])


@dataclass(frozen=True)
class TensorVote:
    """Fixed-point values: v stands for v / 2^fraction_bits of the policy's tensor."""

    values: Tuple[int, ...]

    def to_bytes(self) -> bytes:
        """The encoding."""
        return encode([4, self.values])


Vote = Union[ClassVote, RankingVote, OutputVote, TensorVote]


def read_vote(reader: Reader) -> Optional[Vote]:
    """A vote; None is an abstention."""
    return reader.or_null(_read_vote)


def _read_vote(reader: Reader) -> Vote:
    reader.array_of(2)
    kind = reader.uint()
    if kind == 1:
        return ClassVote(reader.uint(CLASS_MAX))
    if kind == 2:
        return RankingVote(tuple(reader.list_of(lambda item: item.uint(CLASS_MAX), RANKING_MAX)))
    if kind == 3:
        return OutputVote(reader.digest())
    if kind == 4:
        return TensorVote(tuple(reader.list_of(lambda item: item.integer(VALUE_MAX), TENSOR_MAX)))
    raise Malformed("a vote of an unknown kind")


def value_salt(salt: bytes, vote: Vote) -> bytes:
    """The salt that opens one vote, from S, the salt of all votes of a request."""
    return tag("dropbear/value-salt/v1", salt, vote.to_bytes())


def vote_commitment(opening_salt: bytes, vote: Vote) -> bytes:
    """The commitment to a vote under its value salt."""
    return tag("dropbear/vote/v1", opening_salt, vote.to_bytes())


def result_salt(salt: bytes, vote: Vote) -> bytes:
    """The salt that opens the result, from S."""
    return tag("dropbear/result-salt/v1", salt, vote.to_bytes())


def result_commitment(opening_salt: bytes, vote: Vote) -> bytes:
    """The commitment to a result under its result salt."""
    return tag("dropbear/result/v1", opening_salt, vote.to_bytes())
