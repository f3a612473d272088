"""Expanded receipts are accepted, unmodified, by libraries that know nothing of certificates.

With DROPBEAR_CERTIFICATE and DROPBEAR_TRUST, a certificate and genesis file of a running market are checked as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Tuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pycose.keys.curves import Ed25519
from pycose.keys.okp import OKPKey
from pycose.messages.sign1message import Sign1Message

from conftest import trust_of, vector, vectors
from dropbear_certificates import TrustRoot, Verified, verify

LIVE = "DROPBEAR_CERTIFICATE"
NAMES = [*([LIVE] if LIVE in os.environ else []), "example", "members-1", "members-7", "borda-agreed", "chain-attached"]


def verified(name: str) -> Verified:
    if name == LIVE:
        trust = TrustRoot.from_json(Path(os.environ["DROPBEAR_TRUST"]).read_bytes())
        return verify(Path(os.environ[LIVE]).read_bytes(), trust)
    chosen = vector(name)
    return verify(bytes.fromhex(chosen["certificate"]), trust_of(chosen))


def receipts(one: Verified) -> List[Tuple[bytes, bytes]]:
    """Each receipt with the key of its member."""
    keys = [one.committee.members[place].attestation_key for place in one.signers]
    return list(zip(one.receipts(), keys))


def pem(key: bytes) -> str:
    public = Ed25519PublicKey.from_public_bytes(key)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("name", NAMES)
def test_scitt_cose_accepts_signature_and_inclusion(name: str) -> None:
    scitt_cose = pytest.importorskip("scitt_cose", reason="scitt-cose is not installed (it needs Python >= 3.10)")
    one = verified(name)
    record = one.certificate.record_bytes
    for receipt, key in receipts(one):
        accepted = scitt_cose.verify_receipt(receipt, leaf_entry_hex=record.hex(), log_public_key_pem=pem(key))
        assert accepted.ok, accepted.errors
        assert accepted.root == one.certificate.record_root.hex()
        assert (accepted.tree_size, accepted.leaf_index) == (
            one.certificate.header.tree_size,
            one.certificate.record.leaf_index,
        )
        altered = record[:-1] + bytes([record[-1] ^ 1])
        assert not scitt_cose.verify_receipt(receipt, leaf_entry_hex=altered.hex(), log_public_key_pem=pem(key)).ok
        damaged = receipt[:-1] + bytes([receipt[-1] ^ 1])
        assert not scitt_cose.verify_receipt(damaged, leaf_entry_hex=record.hex(), log_public_key_pem=pem(key)).ok


@pytest.mark.parametrize("name", NAMES)
def test_pycose_accepts_the_signatures(name: str) -> None:
    one = verified(name)
    for receipt, key in receipts(one):
        message = Sign1Message.decode(receipt)
        message.key = OKPKey(crv=Ed25519, x=key)
        assert message.verify_signature(detached_payload=one.certificate.record_root)
        assert not message.verify_signature(detached_payload=bytes(32))


def test_a_receipt_of_another_member_is_refused() -> None:
    scitt_cose = pytest.importorskip("scitt_cose", reason="scitt-cose is not installed (it needs Python >= 3.10)")
    one = verified("example")
    (receipt, _), (_, key) = receipts(one)[:2]
    record = one.certificate.record_bytes.hex()
    assert not scitt_cose.verify_receipt(receipt, leaf_entry_hex=record, log_public_key_pem=pem(key)).ok


def test_all_vectors_expand() -> None:
    for chosen in vectors("valid"):
        one = verify(bytes.fromhex(chosen["certificate"]), trust_of(chosen))
        assert len(one.receipts()) == len(one.signers)
