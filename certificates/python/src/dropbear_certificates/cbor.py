"""The CBOR subset of SPEC.md section 2: a strict reader over received bytes, and a deterministic encoder.

The reader walks the bytes in the order of the shape that is expected, so it neither recurses nor allocates more than
the input, and refuses everything that is not in its one allowed encoding.
"""

from __future__ import annotations

from typing import Callable, List, Mapping, Optional, Sequence, TypeVar, Union

from .errors import Malformed

UINT_MAX = 2**53 - 1
NAME_BYTES_MAX = 64
PATH_BYTES_MAX = 1024

Item = Union[int, bytes, str, None, Sequence["Item"], Mapping[int, "Item"]]
T = TypeVar("T")

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_NULL = 0xF6


class Reader:
    """Reads items one after the other; every method raises :class:`Malformed` if the next item is not as asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at(self) -> int:
        """The place of the next byte."""
        return self._at

    def since(self, start: int) -> bytes:
        """The bytes read from ``start`` up to here."""
        return self._data[start : self._at]

    def end(self) -> None:
        """Refuses bytes after the object."""
        if self._at != len(self._data):
            raise Malformed("bytes after the end")

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise Malformed("input ends early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _head(self, major: int) -> int:
        """The argument of an item head of the given major type, refused unless in its shortest form."""
        first = self._take(1)[0]
        if first >> 5 != major:
            raise Malformed("an item of another type")
        return self._argument(first & 0x1F)

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise Malformed("indefinite or reserved length")
        width = 1 << (info - 24)
        argument = int.from_bytes(self._take(width), "big")
        if argument < (24 if width == 1 else 1 << (4 * width)):
            raise Malformed("not the shortest form")
        if argument > UINT_MAX:
            raise Malformed("integer beyond 2^53 - 1")
        return argument

    def uint(self, most: int = UINT_MAX, least: int = 0) -> int:
        """An unsigned integer from ``least`` to ``most``."""
        value = self._head(_UINT)
        if not least <= value <= most:
            raise Malformed("integer out of bounds")
        return value

    def integer(self, magnitude_max: Optional[int] = None) -> int:
        """An integer of either sign."""
        first = self._take(1)[0]
        if first >> 5 not in (_UINT, _NEGATIVE):
            raise Malformed("not an integer")
        argument = self._argument(first & 0x1F)
        value = argument if first >> 5 == _UINT else -1 - argument
        if magnitude_max is not None and abs(value) > magnitude_max:
            raise Malformed("integer out of bounds")
        return value

    def constant(self, value: Item) -> None:
        """Exactly this item."""
        wanted = encode(value)
        if self._take(len(wanted)) != wanted:
            raise Malformed("another value than the only one allowed")

    def byte_string(self, most: int) -> bytes:
        """A byte string of at most ``most`` bytes."""
        length = self._head(_BYTES)
        if length > most:
            raise Malformed("byte string too long")
        return self._take(length)

    def byte_string_of(self, length: int) -> bytes:
        """A byte string of exactly ``length`` bytes."""
        taken = self.byte_string(length)
        if len(taken) != length:
            raise Malformed("byte string too short")
        return taken

    def digest(self) -> bytes:
        """A byte string of 32 bytes."""
        return self.byte_string_of(32)

    def text(self, bytes_max: int) -> str:
        """A text string of at most ``bytes_max`` bytes of UTF-8."""
        length = self._head(_TEXT)
        if length > bytes_max:
            raise Malformed("text too long")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("text is not UTF-8") from None

    def name(self) -> str:
        """A ``name``: text of at most 64 bytes."""
        return self.text(NAME_BYTES_MAX)

    def path(self) -> bytes:
        """A ``path``: the nodes one after the other."""
        nodes = self.byte_string(PATH_BYTES_MAX)
        if len(nodes) % 32:
            raise Malformed("path is not of whole nodes")
        return nodes

    def array(self, most: int = UINT_MAX) -> int:
        """An array head of at most ``most`` items; returns their number."""
        count = self._head(_ARRAY)
        if count > most:
            raise Malformed("array too long")
        return count

    def array_of(self, count: int) -> None:
        """An array head of exactly ``count`` items."""
        if self.array(count) != count:
            raise Malformed("array too short")

    def map(self, most: int) -> int:
        """A map head of at most ``most`` pairs; returns their number."""
        count = self._head(_MAP)
        if count > most:
            raise Malformed("map too long")
        return count

    def map_of(self, count: int) -> None:
        """A map head of exactly ``count`` pairs."""
        if self.map(count) != count:
            raise Malformed("map too short")

    def list_of(self, item: Callable[[Reader], T], most: int) -> List[T]:
        """An array of at most ``most`` items, each read by ``item``."""
        return [item(self) for _ in range(self.array(most))]

    def or_null(self, item: Callable[[Reader], T]) -> Optional[T]:
        """Null, or what ``item`` reads."""
        if self._data[self._at : self._at + 1] == b"\xf6":
            self._at += 1
            return None
        return item(self)


def read_all(data: bytes, item: Callable[[Reader], T]) -> T:
    """What ``item`` reads, which fills ``data`` exactly."""
    reader = Reader(data)
    value = item(reader)
    reader.end()
    return value


def encode(item: Item) -> bytes:
    """The deterministic encoding of an item. Maps must come with their keys in ascending order of encoding."""
    if item is None:
        return bytes([_NULL])
    if isinstance(item, bool):
        raise TypeError("booleans are not in the subset")
    if isinstance(item, int):
        return _encode_head(_UINT, item) if item >= 0 else _encode_head(_NEGATIVE, -1 - item)
    if isinstance(item, bytes):
        return _encode_head(_BYTES, len(item)) + item
    if isinstance(item, str):
        text = item.encode("utf-8")
        return _encode_head(_TEXT, len(text)) + text
    if isinstance(item, Mapping):
        keys = [encode(key) for key in item]
        if keys != sorted(keys):
            raise ValueError("map keys are not in ascending order of encoding")
        pairs = (key + encode(value) for key, value in zip(keys, item.values()))
        return _encode_head(_MAP, len(item)) + b"".join(pairs)
    return _encode_head(_ARRAY, len(item)) + b"".join(encode(inner) for inner in item)


def _encode_head(major: int, argument: int) -> bytes:
    if argument > UINT_MAX:
        raise ValueError("integer beyond 2^53 - 1")
    if argument < 24:
        return bytes([major << 5 | argument])
    width = next(width for width in (1, 2, 4, 8) if argument < 1 << (8 * width))
    return bytes([major << 5 | 23 + width.bit_length()]) + argument.to_bytes(width, "big")
