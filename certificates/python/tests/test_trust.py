"""Genesis files that must not be trusted."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List

import pytest

from conftest import TESTDATA, trust_of, vector
from dropbear_certificates import Budget, InvalidTrustRoot, Refused, TrustRoot, verify
from dropbear_certificates.cbor import Item, encode
from dropbear_certificates.digest import tag

Genesis = Dict[str, Any]
KNOWN = (TESTDATA / "trust-e64743dd05419015.json").read_text()


def committee(genesis: Genesis) -> Any:
    return genesis["committee"]["members"]


def group(genesis: Genesis) -> Any:
    return genesis["groups"][0]


CHANGES: Dict[str, Callable[[Genesis], object]] = {
    "another format": lambda genesis: genesis.update(format="dropbear-genesis/2"),
    "another digest": lambda genesis: genesis.update(digest="00" * 32),
    "another market": lambda genesis: genesis.update(market="other"),
    "a market name that is not allowed": lambda genesis: genesis.update(market="Test"),
    "an unknown member": lambda genesis: genesis.update(note="hello"),
    "a missing member": lambda genesis: genesis.pop("rules"),
    "an unknown member inside": lambda genesis: committee(genesis)[0].update(note="hello"),
    "upper-case hex": lambda genesis: genesis.update(digest=genesis["digest"].upper()),
    "a fraction": lambda genesis: genesis.update(created_ms=1.0),
    "a boolean number": lambda genesis: genesis.update(created_ms=True),
    "two to the 53": lambda genesis: genesis.update(created_ms=2**53),
    "a later epoch": lambda genesis: genesis["committee"].update(epoch=1),
    "no members": lambda genesis: committee(genesis).clear(),
    "two members alike": lambda genesis: committee(genesis).append(committee(genesis)[0]),
    "a key of small order": lambda genesis: committee(genesis)[0].update(engine_key="01" + "00" * 31),
    "a key off the curve": lambda genesis: group(genesis)["owners"][0].update(key="02" + "00" * 31),
    "a gateway's name": lambda genesis: genesis["gateways"][0].update(name=""),
    "two groups alike": lambda genesis: genesis["groups"].append(group(genesis)),
    "too many faults": lambda genesis: group(genesis).update(fault_bound=2),
    "an unknown policy": lambda genesis: group(genesis).update(policy="anarchy"),
    "a parameter that is null": lambda genesis: group(genesis).update(policy={"name": "plurality", "ranks": None}),
    "an array for an object": lambda genesis: genesis.update(rules=list(genesis["rules"].values())),
    "a null for a number": lambda genesis: genesis.update(created_ms=None),
    "a policy that does not fit": lambda genesis: group(genesis).update(policy={"name": "exact", "quorum": 2}),
    "an unknown assurance": lambda genesis: group(genesis).update(assurance="none"),
    "labels that are not text": lambda genesis: group(genesis).update(labels=[1]),
    "labels that the digest does not know": lambda genesis: group(genesis).update(labels=["cat"]),
    "an owner's lineage too long": lambda genesis: group(genesis)["owners"][0].update(lineage="x" * 257),
    "a lone surrogate": lambda genesis: group(genesis)["owners"][0].update(lineage="\ud800"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_refused(what: str) -> None:
    genesis = json.loads(KNOWN)
    CHANGES[what](genesis)
    with pytest.raises(InvalidTrustRoot):
        TrustRoot.from_json(json.dumps(genesis).encode())


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"market": NaN}', "[" * 100_000, KNOWN + "x"])
def test_not_a_genesis(text: str) -> None:
    with pytest.raises(InvalidTrustRoot):
        TrustRoot.from_json(text.encode())


def test_a_member_named_twice_is_refused() -> None:
    doubled = KNOWN.replace('"market": "test"', '"market": "test", "market": "test"')
    assert doubled != KNOWN
    with pytest.raises(InvalidTrustRoot, match="twice"):
        TrustRoot.from_json(doubled.encode())


@pytest.mark.parametrize("zero", ["0.0", "0e0", "-0"])
def test_a_number_that_is_no_plain_integer_is_refused(zero: str) -> None:
    spelled = KNOWN.replace('"epoch": 0', f'"epoch": {zero}')
    assert spelled != KNOWN
    with pytest.raises(InvalidTrustRoot):
        TrustRoot.from_json(spelled.encode())


def test_a_byte_order_mark_is_refused() -> None:
    with pytest.raises(InvalidTrustRoot):
        TrustRoot.from_json(KNOWN.encode("utf-8-sig"))


def test_plurality_may_be_an_object() -> None:
    genesis = json.loads(KNOWN)
    group(genesis)["policy"] = {"name": "plurality"}
    assert TrustRoot.from_json(json.dumps(genesis).encode()) == TrustRoot.from_json(KNOWN.encode())


def test_spacing_and_order_of_members_do_not_matter() -> None:
    reordered = dict(reversed(list(json.loads(KNOWN).items())))
    assert TrustRoot.from_json(json.dumps(reordered).encode()) == TrustRoot.from_json(KNOWN.encode())


def test_labels_are_found_by_the_digest_that_the_charter_names() -> None:
    genesis = json.loads(KNOWN)
    group(genesis)["labels"] = ["cat", "dog"]
    genesis["digest"] = genesis_digest(genesis)
    trust = TrustRoot.from_json(json.dumps(genesis).encode())
    charter = trust.genesis.charters[0]
    assert [trust.label(charter, index) for index in range(3)] == ["cat", "dog", None]


def genesis_digest(genesis: Genesis) -> str:
    """The digest of a genesis with one plurality group, spelled out a second time."""
    one, rules, members = group(genesis), genesis["rules"], committee(genesis)
    roster: List[Item] = [
        [owner["name"], bytes.fromhex(owner["key"]), owner["controlling_party"], owner["lineage"]]
        for owner in one["owners"]
    ]
    labels = tag("dropbear/labels/v1", encode(one["labels"]))
    head: List[Item] = [1, one["group"], one["task"], one["classes"], labels, roster, [1], one["fault_bound"], 3]
    charter = encode([*head, one["notice_blocks"], one["approvals"], one["fee"]])
    keys = ("attestation_key", "engine_key")
    seats: List[Item] = [[one["name"], *(bytes.fromhex(one[key]) for key in keys)] for one in members]
    gateways: List[Item] = [[gateway["name"], bytes.fromhex(gateway["key"])] for gateway in genesis["gateways"]]
    times: List[Item] = [rules["request_lifetime_ms_max"], rules["clock_skew_ms_max"]]
    encoded = encode([1, genesis["market"], genesis["created_ms"], times, [0, seats], gateways, [charter]])
    return tag("dropbear/genesis/v1", encoded).hex()


def test_a_budget_that_is_too_small_is_reported_as_such() -> None:
    chosen = vector("example")
    certificate, trust = bytes.fromhex(chosen["certificate"]), trust_of(chosen)
    verify(certificate, trust, Budget(signatures=3, nodes=2))
    for budget in (Budget(signatures=2), Budget(nodes=1)):
        with pytest.raises(Refused) as refused:
            verify(certificate, trust, budget)
        assert refused.value.code == "budget-exhausted"
