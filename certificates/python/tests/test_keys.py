"""Key admission and the strict signature rule."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dropbear_certificates.keys import ORDER, is_admissible, verify_signature

P = 2**255 - 19

# The eight points of small order, canonically encoded (RFC 7748 and the curve's group structure).
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]

# RFC 8032 section 7.1, test 2.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_points_of_small_order_are_no_keys(encoded: str) -> None:
    assert not is_admissible(bytes.fromhex(encoded))


def test_encodings_that_are_not_canonical_are_no_keys() -> None:
    for y in range(P, 2**255):
        for sign in (0, 1):
            assert not is_admissible((y | sign << 255).to_bytes(32, "little"))
    assert not is_admissible((1 | 1 << 255).to_bytes(32, "little"))
    assert not is_admissible(b"\x01" * 31)


def test_half_of_all_y_are_off_the_curve_and_few_points_are_admissible() -> None:
    admissible = [is_admissible(y.to_bytes(32, "little")) for y in range(2, 258)]
    # One in two is on the curve, of those one in eight has no component of small order.
    assert 4 <= sum(admissible) <= 32


def test_keys_of_signers_are_admissible() -> None:
    for seed in range(32):
        private = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
        assert is_admissible(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def test_a_key_with_a_torsion_component_is_no_key() -> None:
    from dropbear_certificates import keys

    point, torsion = keys._decode_point(KEY), keys._decode_point(bytes.fromhex(SMALL_ORDER[4]))
    assert point and torsion
    x, y, z, _ = keys._add(point, torsion)
    inverse = pow(z, P - 2, P)
    encoded = (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")
    assert keys._decode_point(encoded) is not None
    assert not is_admissible(encoded)


def test_the_known_signature() -> None:
    assert verify_signature(KEY, SIGNATURE, b"\x72")
    assert not verify_signature(KEY, SIGNATURE, b"\x73")


def test_signatures_that_lenient_verifiers_accept() -> None:
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    assert not verify_signature(KEY, SIGNATURE[:32] + scalar.to_bytes(32, "little"), b"\x72")
    identity = b"\x01" + bytes(31)
    # S = 0 and R = identity hold for a key of small order, whatever is signed.
    assert not verify_signature(identity, identity + bytes(32), b"anything")
    assert not verify_signature(KEY, SIGNATURE[:63], b"\x72")
