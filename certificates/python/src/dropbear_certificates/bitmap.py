"""Bitmaps over places (SPEC.md section 2)."""

from __future__ import annotations

from typing import Iterable, Tuple

from .errors import Malformed

PLACES_MAX = 128
PLACE_MAX = PLACES_MAX - 1


def places(bitmap: bytes, count: int) -> Tuple[int, ...]:
    """The places whose bit is set, ascending; refuses a wrong length and padding bits."""
    if len(bitmap) != (count + 7) // 8:
        raise Malformed("bitmap of another length")
    bits = int.from_bytes(bitmap, "little")
    if bits >> count:
        raise Malformed("padding bit set")
    return tuple(place for place in range(count) if bits >> place & 1)


def bitmap_of(members: Iterable[int], count: int) -> bytes:
    """The bitmap over ``count`` places in which ``members`` are set."""
    bits = sum(1 << place for place in set(members))
    return bits.to_bytes((count + 7) // 8, "little")
