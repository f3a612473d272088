"""Seeds, commitments and signed requests against ``requests.json``."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conftest import TESTDATA
from dropbear_certificates import Assurance, Origin, Seed, input_digest, sign_request
from dropbear_certificates.cbor import read_all
from dropbear_certificates.vote import read_vote, value_salt, vote_commitment

KNOWN: Dict[str, Any] = json.loads((TESTDATA / "requests.json").read_text())
SEED = Seed(bytes.fromhex(KNOWN["seed"]))
ORIGINS = {origin.word: origin for origin in Origin}


@pytest.mark.parametrize("name", ["input", "tensor_input"])
def test_input_digests(name: str) -> None:
    known = KNOWN[name]
    digest = input_digest(known["name"], known["datatype"], known["shape"], bytes.fromhex(known["data"]))
    assert digest.hex() == known["digest"]


def test_salts() -> None:
    assert {field: SEED.salt(field).hex() for field in ("request", "vote", "output")} == KNOWN["salts"]
    assert SEED.digest().hex() == KNOWN["seed_digest"]
    assert SEED.output_commitment(bytes.fromhex(KNOWN["output"]["data"])).hex() == KNOWN["output"]["commitment"]


@pytest.mark.parametrize("known", KNOWN["votes"], ids=lambda known: str(known["vote"]))
def test_votes(known: Dict[str, str]) -> None:
    vote = read_all(bytes.fromhex(known["vote"]), read_vote)
    assert vote is not None and vote.to_bytes().hex() == known["vote"]
    salt = value_salt(SEED.salt("vote"), vote)
    assert (salt.hex(), vote_commitment(salt, vote).hex()) == (known["value_salt"], known["commitment"])


@pytest.mark.parametrize("known", KNOWN["requests"], ids=lambda known: str(known["origin"]))
def test_signed_requests(known: Dict[str, Any]) -> None:
    commitment = SEED.request_commitment(bytes.fromhex(KNOWN["input"]["digest"]))
    assert commitment.hex() == known["commitment"]
    signed = sign_request(
        Ed25519PrivateKey.from_private_bytes(bytes.fromhex(known["secret_key"])),
        genesis=bytes.fromhex(known["genesis"]),
        group=known["group"],
        commitment=commitment,
        expiry_ms=known["expiry_ms"],
        demand=Assurance[known["demand"].upper()],
        origin=ORIGINS[known["origin"]],
        nonce=bytes.fromhex(known["nonce"]),
    )
    assert signed.statement.to_bytes().hex() == known["statement"]
    assert signed.statement.id().hex() == known["id"]
    assert signed.statement.signer.hex() == known["key"]
    assert signed.signature.hex() == known["signature"]
    assert signed.statement.is_signed_by_signer(signed.signature)


def test_drawn_seeds_and_nonces_differ() -> None:
    key = Ed25519PrivateKey.generate()
    one, other = (sign_request(key, genesis=bytes(32), group="g", commitment=bytes(32), expiry_ms=1) for _ in "ab")
    assert one.statement.nonce != other.statement.nonce
    assert Seed.random() != Seed.random()


def test_senseless_requests_are_not_signed() -> None:
    key = Ed25519PrivateKey.generate()
    with pytest.raises(ValueError, match="demands"):
        sign_request(key, genesis=bytes(32), group="g", commitment=bytes(32), expiry_ms=1, demand=Assurance.NONE)
    with pytest.raises(ValueError, match="16 bytes"):
        sign_request(key, genesis=bytes(32), group="g", commitment=bytes(32), expiry_ms=1, nonce=b"")
    with pytest.raises(ValueError, match="32 bytes"):
        Seed(b"")
