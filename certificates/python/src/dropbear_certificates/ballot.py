"""Ballots: what an owner signs (SPEC.md section 7), and the proof that a vote is in it (section 11)."""

from __future__ import annotations

from dataclasses import dataclass

from .bitmap import PLACE_MAX
from .cbor import NAME_BYTES_MAX, Reader, read_all
from .keys import read_key

STATEMENT_BYTES_MAX = 512
BATCH_REQUESTS_MAX = 1024


@dataclass(frozen=True)
class BallotStatement:
    """One owner's votes on a request batch."""

    genesis: bytes
    group: str
    charter: bytes
    batch_root: bytes
    count: int
    model_version: bytes
    owner: bytes
    expiry_ms: int
    votes_root: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> BallotStatement:
        """Parses a statement; raises :class:`Malformed`."""
        return read_all(data, _read_statement)


@dataclass(frozen=True)
class BallotProof:
    """Attachment 6 for one owner. The statement is not read yet."""

    owner: int
    statement: bytes
    signature: bytes
    output_commitment: bytes
    vote_index: int
    votes_path: bytes
    ballots_path: bytes

    @classmethod
    def read(cls, reader: Reader) -> BallotProof:
        """A ``ballot proof``."""
        reader.array_of(7)
        return cls(
            reader.uint(PLACE_MAX),
            reader.byte_string(STATEMENT_BYTES_MAX),
            reader.byte_string_of(64),
            reader.digest(),
            reader.uint(),
            reader.path(),
            reader.path(),
        )


def _read_statement(reader: Reader) -> BallotStatement:
    reader.array_of(10)
    reader.constant(1)
    return BallotStatement(
        reader.digest(),
        reader.text(NAME_BYTES_MAX),
        reader.digest(),
        reader.digest(),
        reader.uint(BATCH_REQUESTS_MAX),
        reader.digest(),
        read_key(reader),
        reader.uint(),
        reader.digest(),
    )
