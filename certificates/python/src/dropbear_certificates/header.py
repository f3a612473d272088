"""The header that each coordinator attests, once per seq (SPEC.md section 10)."""

from __future__ import annotations

from dataclasses import dataclass

from .cbor import Item, Reader, encode, read_all
from .errors import Malformed
from .keys import key_id, signature1
from .merkle import leaf_hash

TEMPLATE_BYTES_MAX = 512
HEADER_TYPE = "application/dropbear-header+cose;v=1"

_ISSUER, _SUBJECT, _ISSUED_AT = 1, 2, 6
_ALGORITHM, _KEY_ID, _CLAIMS, _TYPE, _TREE, _LEDGER = 1, 4, 15, 16, 395, -70001


@dataclass(frozen=True)
class Header:
    """The fields of a template."""

    template: bytes
    genesis: bytes
    epoch: int
    config: bytes
    seq: int
    tree_size: int
    ledger_root: bytes
    governance_seq: int
    agreed_ms: int

    @classmethod
    def from_template(cls, template: bytes) -> Header:
        """Parses a template; raises :class:`Malformed` if it is not exactly one."""
        return read_all(template, lambda reader: _read_template(reader, template))

    def protected(self, key: bytes) -> bytes:
        """The protected header as the member with ``key`` signed it: the template with the key id inserted."""
        algorithm = encode(_ALGORITHM) + encode(-8)
        inserted = encode(_KEY_ID) + encode(key_id(key))
        return b"\xa6" + algorithm + inserted + self.template[1 + len(algorithm) :]

    def signed_bytes(self, key: bytes, record_root: bytes) -> bytes:
        """The bytes that the member with ``key`` signed."""
        return signature1(self.protected(key), record_root)

    def ledger_leaf(self, record_root: bytes) -> bytes:
        """The hash of the leaf that this header is in the ledger tree."""
        return ledger_leaf(self.template, record_root)


def ledger_leaf(template: bytes, record_root: bytes) -> bytes:
    """The hash of the ledger tree's leaf for a header."""
    return leaf_hash(encode([template, record_root]))


def _read_template(reader: Reader, template: bytes) -> Header:
    reader.map_of(5)
    _pair(reader, _ALGORITHM, -8)
    reader.constant(_CLAIMS)
    reader.map_of(3)
    reader.constant(_ISSUER)
    issuer = reader.text(TEMPLATE_BYTES_MAX)
    _pair(reader, _SUBJECT, "ledger")
    reader.constant(_ISSUED_AT)
    issued_at = reader.uint()
    _pair(reader, _TYPE, HEADER_TYPE)
    _pair(reader, _TREE, 1)
    reader.constant(_LEDGER)
    reader.array_of(9)
    reader.constant(1)
    header = Header(
        template, reader.digest(), reader.uint(), reader.digest(), reader.uint(least=1), reader.uint(), reader.digest(),
        reader.uint(), reader.uint(),
    )  # fmt: skip
    if issuer != "dropbear:" + header.genesis.hex()[:16] or issued_at != header.agreed_ms // 1000:
        raise Malformed("the claims are not those of the ledger fields")
    return header


def _pair(reader: Reader, label: int, value: Item) -> None:
    reader.constant(label)
    reader.constant(value)
