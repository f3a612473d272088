"""Every vector: the same verdict, the same reason code, and the same words about what is verified."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from conftest import Vector, trust_of, vectors
from dropbear_certificates import Refused, Verdict, Verified, compare, verify


def said(verified: Verified, vector: Vector) -> Dict[str, Any]:
    """A verified certificate in the words of the vectors."""
    policy = verified.certificate.record.policy
    expects_receipts = vector["expect"]["receipts"] is not None
    about_input = verified.is_about_input(bytes.fromhex(vector["input"])) if vector.get("input") else None
    return {
        "ok": True,
        "id": verified.id.hex(),
        "outcome": verified.outcome.word,
        "assurance": verified.assurance.word,
        "policy": policy.name,
        "seq": verified.certificate.header.seq,
        "epoch": verified.certificate.header.epoch,
        "signers": list(verified.signers),
        "class": verified.class_,
        "result": verified.result.to_bytes().hex() if verified.result else None,
        "origin": verified.origin.word,
        "requester": verified.requester.hex() if verified.requester else None,
        "signature_shown": verified.signature_shown,
        "owners_proven": list(verified.owners_proven),
        "about_input": about_input,
        "trust_current": verified.trust_current,
        "receipts": [receipt.hex() for receipt in verified.receipts()] if expects_receipts else None,
    }


@pytest.mark.parametrize("vector", vectors("valid"), ids=lambda vector: str(vector["name"]))
def test_valid(vector: Vector) -> None:
    verified = verify(bytes.fromhex(vector["certificate"]), trust_of(vector))
    assert said(verified, vector) == vector["expect"]


@pytest.mark.parametrize("vector", vectors("invalid"), ids=lambda vector: str(vector["name"]))
def test_invalid(vector: Vector) -> None:
    with pytest.raises(Refused) as refused:
        verify(bytes.fromhex(vector["certificate"]), trust_of(vector))
    assert {"ok": False, "code": refused.value.code} == vector["expect"]


@pytest.mark.parametrize("vector", vectors("conflicts"), ids=lambda vector: str(vector["name"]))
def test_conflicts(vector: Vector) -> None:
    trust = trust_of(vector)
    a, b = (verify(bytes.fromhex(vector[side]), trust) for side in "ab")
    opening = bytes.fromhex(vector["opening"]) if vector["opening"] else None
    expect = vector["expect"]
    for one, other in ((a, b), (b, a)):
        if expect["verdict"] == "refused":
            with pytest.raises(Refused) as refused:
                compare(one, other, opening)
            assert refused.value.code == expect["code"]
            continue
        comparison = compare(one, other, opening)
        assert comparison.verdict is Verdict(expect["verdict"])
        assert comparison.kind == expect.get("kind")
        assert comparison.missing == expect.get("missing")
        assert [key.hex() for key in comparison.guilty] == expect.get("guilty", [])
