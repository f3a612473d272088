"""Ed25519 keys and signatures (SPEC.md section 3): key admission in plain integers, signatures by OpenSSL."""

from __future__ import annotations

import functools
from typing import Optional, Tuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .cbor import Reader, encode
from .digest import sha256
from .errors import Malformed

ORDER = 2**252 + 27742317777372353535851937790883648493
"""``L``, the order of the prime-order group."""

REQUEST_TYPE = "application/dropbear-request+cose;v=1"
BALLOT_TYPE = "application/dropbear-ballot+cose;v=1"

_P = 2**255 - 19
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_IDENTITY_ENCODED = b"\x01" + bytes(31)

_Point = Tuple[int, int, int, int]
"""Extended coordinates: x = X / Z, y = Y / Z, X Y = Z T."""

_IDENTITY: _Point = (0, 1, 1, 0)


def read_key(reader: Reader) -> bytes:
    """A ``key``: 32 bytes that are an admissible key."""
    key = reader.byte_string_of(32)
    if not is_admissible(key):
        raise Malformed("not an admissible Ed25519 key")
    return key


def key_id(key: bytes) -> bytes:
    """The first 8 bytes of the key's hash: a hint, never an identity."""
    return sha256(key)[:8]


@functools.lru_cache(maxsize=4096)
def is_admissible(key: bytes) -> bool:
    """Whether 32 bytes are the canonical encoding of a point of prime order (rule 1)."""
    point = _decode_point(key)
    return point is not None and not _is_identity(point) and _is_identity(_multiply(ORDER, point))


def verify_signature(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is that of an admitted ``key`` over ``message`` (rule 2)."""
    if len(signature) != 64 or signature[:32] == _IDENTITY_ENCODED:
        return False
    if int.from_bytes(signature[32:], "little") >= ORDER:
        return False
    try:
        _openssl_key(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def signature1(protected: bytes, payload: bytes) -> bytes:
    """The bytes that a COSE_Sign1 signature signs, with empty external data (RFC 9052 section 4.4)."""
    return encode(["Signature1", protected, b"", payload])


def statement_bytes(key: bytes, kind: str, statement: bytes) -> bytes:
    """The bytes that ``key`` signs for a statement of type ``kind``."""
    return signature1(encode({1: -8, 4: key_id(key), 16: kind}), statement)


@functools.lru_cache(maxsize=4096)
def _openssl_key(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)


def _decode_point(encoded: bytes) -> Optional[_Point]:
    """The point of a canonical encoding (RFC 8032 section 5.1.3)."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if len(encoded) != 32 or y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _SQRT_MINUS_1 % _P
    if (v * x * x - u) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _is_identity(point: _Point) -> bool:
    x, y, z, _ = point
    return x == 0 and (y - z) % _P == 0


def _add(p: _Point, q: _Point) -> _Point:
    """The complete addition of RFC 8032 section 5.1.4."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double(p: _Point) -> _Point:
    a, b, c = p[0] * p[0], p[1] * p[1], 2 * p[2] * p[2]
    h = a + b
    e = h - (p[0] + p[1]) ** 2
    g = a - b
    f = c + g
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: _Point) -> _Point:
    """Double and add, most significant bit first. The scalar is public."""
    total = _IDENTITY
    for bit in bin(scalar)[2:]:
        total = _double(total)
        if bit == "1":
            total = _add(total, point)
    return total
