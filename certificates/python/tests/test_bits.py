"""No bit of a certificate is free."""

from __future__ import annotations

import pytest

from conftest import trust_of, vector
from dropbear_certificates import Refused, verify


@pytest.mark.parametrize("name", ["example", "ballot-of-one"])
def test_every_single_bit_flip_is_refused(name: str) -> None:
    chosen = vector(name)
    certificate, trust = bytes.fromhex(chosen["certificate"]), trust_of(chosen)
    for bit in range(8 * len(certificate)):
        flipped = bytearray(certificate)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            verify(bytes(flipped), trust)
            pytest.fail(f"bit {bit} is free")


def test_every_truncation_and_any_trailing_byte_is_refused() -> None:
    chosen = vector("example")
    certificate, trust = bytes.fromhex(chosen["certificate"]), trust_of(chosen)
    damaged = [certificate[:length] for length in range(len(certificate))]
    for bytes_ in [*damaged, *(certificate + bytes([last]) for last in range(256))]:
        with pytest.raises(Refused) as refused:
            verify(bytes_, trust)
        assert refused.value.code == "malformed"
