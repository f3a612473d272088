"""Conflicts between verified certificates (SPEC.md section 16)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional, Tuple

from .cbor import Reader, read_all
from .errors import Malformed, Refused
from .header import TEMPLATE_BYTES_MAX, Header, ledger_leaf
from .merkle import root_of_path
from .verify import Verified


class Verdict(enum.Enum):
    """What two certificates say about each other."""

    CONSISTENT = "consistent"
    CONFLICT = "conflict"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True)
class Comparison:
    """The verdict, with its kind and the guilty keys for a conflict, or what is missing to resolve it."""

    verdict: Verdict
    kind: Optional[str] = None
    guilty: Tuple[bytes, ...] = ()
    missing: Optional[str] = None


@dataclass(frozen=True)
class Opening:
    """The header that one certificate's ledger holds at the seq of an earlier one; it need not be a header at all."""

    template: bytes
    record_root: bytes
    path: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Opening:
        """Parses an opening; raises :class:`Refused` with ``malformed``."""
        try:
            return read_all(data, _read_opening)
        except Malformed:
            raise Refused("malformed") from None


def compare(one: Verified, other: Verified, opening: Optional[bytes] = None) -> Comparison:
    """Compares two certificates that verified under one trust root.

    Raises :class:`Refused` with ``malformed`` for an opening that is none, whether it is needed or not.
    """
    opened = None if opening is None else Opening.from_bytes(opening)
    if one.certificate.header.genesis != other.certificate.header.genesis:
        return Comparison(Verdict.CONSISTENT)
    a, b = sorted((one, other), key=_place)
    if _header(a) == _header(b):
        return _outcomes(a, b)
    if a.certificate.header.seq == b.certificate.header.seq:
        return _conflict(a, b, "same-seq")
    if opened is None:
        return Comparison(Verdict.UNRESOLVED, missing="opening")
    leaf = ledger_leaf(opened.template, opened.record_root)
    last = b.certificate.header.seq - 1
    root = root_of_path(leaf, a.certificate.header.seq - 1, last, opened.path)
    if root != b.certificate.header.ledger_root:
        return Comparison(Verdict.UNRESOLVED, missing="other-opening")
    if (opened.template, opened.record_root) == _header(a):
        return _outcomes(a, b)
    return _conflict(a, b, "rewritten")


def _place(verified: Verified) -> Tuple[int, int]:
    return (verified.certificate.header.seq, verified.certificate.record.leaf_index)


def _header(verified: Verified) -> Tuple[bytes, bytes]:
    return (verified.certificate.header.template, verified.certificate.record_root)


def _epoch(header: Header) -> Tuple[int, bytes]:
    return (header.epoch, header.config)


def _keys(verified: Verified) -> Tuple[bytes, ...]:
    return tuple(verified.committee.members[place].attestation_key for place in verified.signers)


def _conflict(a: Verified, b: Verified, kind: str) -> Comparison:
    """Rules 2 and 5: whoever attested both is guilty, if one committee did."""
    if _epoch(a.certificate.header) != _epoch(b.certificate.header):
        return Comparison(Verdict.UNRESOLVED, missing="epoch")
    both = frozenset(_keys(b))
    return Comparison(Verdict.CONFLICT, kind, tuple(key for key in _keys(a) if key in both))


def _outcomes(a: Verified, b: Verified) -> Comparison:
    """Rule 6: one ledger must not certify a request twice."""
    same_request = a.certificate.record.request_id == b.certificate.record.request_id
    if same_request and _place(a) != _place(b):
        return Comparison(Verdict.CONFLICT, "two-outcomes", _keys(b))
    return Comparison(Verdict.CONSISTENT)


def _read_opening(reader: Reader) -> Opening:
    reader.array_of(4)
    reader.constant(1)
    return Opening(reader.byte_string(TEMPLATE_BYTES_MAX), reader.digest(), reader.path())
