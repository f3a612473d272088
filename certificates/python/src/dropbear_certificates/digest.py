"""Tagged digests and salts (SPEC.md, opening and section 6)."""

from __future__ import annotations

import hashlib
import hmac


def sha256(data: bytes) -> bytes:
    """``H``."""
    return hashlib.sha256(data).digest()


def tag(name: str, *parts: bytes) -> bytes:
    """``tag("name", parts...)``: ``H("name" || 0x00 || parts...)``."""
    return sha256(name.encode("ascii") + b"\x00" + b"".join(parts))


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.new(key, message, hashlib.sha256).digest()
