"""The strict reader refuses every encoding but one; the encoder agrees with cbor2's canonical form."""

from __future__ import annotations

import random
from typing import Any, Callable

import cbor2
import pytest

from dropbear_certificates.cbor import UINT_MAX, Reader, encode, read_all
from dropbear_certificates.errors import Malformed

REFUSED = [
    ("integer not in its shortest form", "1817", lambda r: r.uint()),
    ("integer in two bytes too many", "190018", lambda r: r.uint()),
    ("integer in four bytes too many", "1a00000100", lambda r: r.uint()),
    ("integer in eight bytes too many", "1b0000000000000001", lambda r: r.uint()),
    ("two to the 53", "1b0020000000000000", lambda r: r.uint()),
    ("beyond minus two to the 53", "3b0020000000000000", lambda r: r.integer()),
    ("negative where none may be", "20", lambda r: r.uint()),
    ("reserved additional information", "1c", lambda r: r.uint()),
    ("indefinite byte string", "5f4100ff", lambda r: r.byte_string(8)),
    ("indefinite array", "9fff", lambda r: r.array()),
    ("length not in its shortest form", "580100", lambda r: r.byte_string(8)),
    ("byte string too long", "4100", lambda r: r.byte_string(0)),
    ("byte string too short", "4100", lambda r: r.byte_string_of(2)),
    ("input that ends in a head", "19", lambda r: r.uint()),
    ("input that ends in a string", "4200", lambda r: r.byte_string(8)),
    ("nothing", "", lambda r: r.uint()),
    ("bytes after the end", "0000", lambda r: r.uint()),
    ("text that is not UTF-8", "62c328", lambda r: r.text(8)),
    ("a surrogate", "63eda080", lambda r: r.text(8)),
    ("an overlong character", "62c080", lambda r: r.text(8)),
    ("text where bytes belong", "6161", lambda r: r.byte_string(8)),
    ("undefined for null", "f7", lambda r: r.or_null(Reader.uint)),
    ("null in two bytes", "f816", lambda r: r.or_null(Reader.uint)),
    ("false", "f4", lambda r: r.uint()),
    ("a half float", "f90000", lambda r: r.integer()),
    ("a tag", "c100", lambda r: r.uint()),
    ("a path of part of a node", "41" + "00", lambda r: r.path()),
]


@pytest.mark.parametrize(("what", "data", "read"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_refused(what: str, data: str, read: Callable[[Reader], object]) -> None:
    with pytest.raises(Malformed):
        read_all(bytes.fromhex(data), read)


@pytest.mark.parametrize("value", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, UINT_MAX])
def test_integers_at_the_edges(value: int) -> None:
    assert read_all(encode(value), Reader.uint) == value
    assert read_all(encode(-1 - value), Reader.integer) == -1 - value


def random_item(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(7 if depth else 4)
    if kind == 0:
        return dice.choice([dice.randrange(30), dice.randrange(2**53), -1 - dice.randrange(2**53)])
    if kind == 1:
        return dice.randbytes(dice.choice([0, 3, 30, 300]))
    if kind == 2:
        return "".join(dice.choice("aé€😀") for _ in range(dice.randrange(20)))
    if kind == 3:
        return None
    if kind == 4:
        keys = {dice.randrange(-100_000, 100_000) for _ in range(dice.randrange(30))}
        return {key: random_item(dice, depth - 1) for key in sorted(keys, key=encode)}
    return [random_item(dice, depth - 1) for _ in range(dice.randrange(30))]


def test_the_encoder_agrees_with_cbor2() -> None:
    dice = random.Random(1)
    for _ in range(500):
        item = random_item(dice, 2)
        assert cbor2.loads(encode(item)) == item
        assert encode(item) == cbor2.dumps(item), item


def test_a_map_out_of_order_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="ascending"):
        encode({2: 0, 1: 0})
