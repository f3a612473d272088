"""Governance chains (SPEC.md section 12): links that lead from a genesis to later committees and charters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from .bitmap import PLACES_MAX
from .cbor import Reader, read_all
from .errors import Malformed, Refused
from .genesis import CHARTER_BYTES_MAX, Charter, Committee
from .header import TEMPLATE_BYTES_MAX

CHAIN_BYTES_MAX = 16 * 1024 * 1024
LINKS_MAX = 1024
ENTRY_BYTES_MAX = 131584
SIGNATURES_BYTES_MAX = 8192


@dataclass(frozen=True)
class Link:
    """One governance entry with what proves that it is in the ledger. Nothing inside is read yet."""

    template: bytes
    index: int
    path: bytes
    signers: bytes
    signatures: bytes
    entry: bytes


@dataclass(frozen=True)
class Chain:
    """Links, first to last."""

    links: Tuple[Link, ...]

    @classmethod
    def read(cls, reader: Reader) -> Chain:
        """A ``chain``."""
        reader.array_of(2)
        reader.constant(1)
        return cls(tuple(reader.list_of(_read_link, LINKS_MAX)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Chain:
        """Parses a chain file; raises :class:`Refused` with ``too-large`` or ``malformed``."""
        if len(data) > CHAIN_BYTES_MAX:
            raise Refused("too-large")
        try:
            return read_all(data, cls.read)
        except Malformed:
            raise Refused("malformed") from None


@dataclass(frozen=True)
class ConfigEntry:
    """The next committee."""

    genesis: bytes
    previous_config: bytes
    committee: Committee


@dataclass(frozen=True)
class CharterEntry:
    """A group's first or next charter."""

    genesis: bytes
    previous_charter: Optional[bytes]
    from_seq: int
    charter: Charter


Entry = Union[ConfigEntry, CharterEntry]


def read_entry(data: bytes) -> Entry:
    """Parses a governance entry; refused unless its committee or charter is well formed."""
    return read_all(data, _read_entry)


def read_signatures(reader: Reader) -> bytes:
    """Whole signatures, one after the other."""
    signatures = reader.byte_string(SIGNATURES_BYTES_MAX)
    if len(signatures) % 64:
        raise Malformed("signatures are not whole")
    return signatures


def read_signers(reader: Reader) -> bytes:
    """A bitmap over a committee that is not known yet."""
    return reader.byte_string(PLACES_MAX // 8)


def _read_link(reader: Reader) -> Link:
    reader.array_of(6)
    return Link(
        reader.byte_string(TEMPLATE_BYTES_MAX),
        reader.uint(),
        reader.path(),
        read_signers(reader),
        read_signatures(reader),
        reader.byte_string(ENTRY_BYTES_MAX),
    )


def _read_entry(reader: Reader) -> Entry:
    length = reader.array(6)
    kind = reader.text(16)
    reader.constant(1)
    genesis = reader.digest()
    if (kind, length) == ("config", 5):
        previous_config = reader.digest()
        return ConfigEntry(genesis, previous_config, read_all(reader.byte_string(ENTRY_BYTES_MAX), Committee.read))
    if (kind, length) == ("charter", 6):
        previous_charter, from_seq = reader.or_null(Reader.digest), reader.uint()
        charter = Charter.from_bytes(reader.byte_string(CHARTER_BYTES_MAX))
        return CharterEntry(genesis, previous_charter, from_seq, charter)
    raise Malformed("an entry of an unknown kind")
