"""The JSON form of a genesis (SPEC.md section 5): what a verifier pins as its trust root."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .assurance import Assurance
from .cbor import UINT_MAX, Item, encode
from .digest import tag
from .errors import InvalidTrustRoot, Malformed
from .genesis import CHARTER_BYTES_MAX, Charter, Committee, Member, Owner, is_allowed_name, labels_digest
from .keys import is_admissible
from .policy import AnyPolicy, Borda, Exact, Median, Plurality, TensorShape, TrimmedMean, Within
from .vote import TENSOR_MAX, VALUE_MAX

GATEWAYS_MAX = 1024
CHARTERS_MAX = 1024

_HEX32 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Genesis:
    """A well-formed genesis whose digest is the one it names."""

    digest: bytes
    market: str
    created_ms: int
    committee: Committee
    gateways: Tuple[Tuple[str, bytes], ...]
    charters: Tuple[Charter, ...]
    labels: Mapping[bytes, Tuple[str, ...]]
    """Label tables by their digest."""


def read_genesis(data: bytes) -> Genesis:
    """Parses and checks a genesis file; raises :class:`InvalidTrustRoot`."""
    try:
        text = data.decode("utf-8")
        parsed = json.loads(text, object_pairs_hook=_object, parse_int=_plain, parse_constant=_refuse_constant)
        return _genesis(parsed)
    except (Malformed, ValueError, RecursionError) as reason:
        raise InvalidTrustRoot(f"not a genesis to trust: {reason}") from None


def _genesis(parsed: Any) -> Genesis:
    root = _Members(parsed, "genesis")
    root.word("format", "dropbear-genesis/1")
    market = root.text("market")
    digest = root.hex32("digest")
    created_ms = root.uint("created_ms")
    rules = root.object("rules")
    lifetime_ms, skew_ms = rules.uint("request_lifetime_ms_max"), rules.uint("clock_skew_ms_max")
    rules.done()
    committee = _committee(root.object("committee"))
    gateways = [_gateway(item) for item in root.objects("gateways")]
    groups = [_group(item) for item in root.objects("groups")]
    root.done()
    charters = [charter for charter, _ in groups]
    encoded = _check(market, committee, gateways, charters)
    head: List[Item] = [1, market, created_ms, [lifetime_ms, skew_ms], committee.to_item()]
    if tag("dropbear/genesis/v1", encode([*head, [list(gateway) for gateway in gateways], encoded])) != digest:
        raise Malformed("the digest is not that of the contents")
    tables = {charter.labels: labels for charter, labels in groups if charter.labels is not None and labels is not None}
    return Genesis(digest, market, created_ms, committee, tuple(gateways), tuple(charters), tables)


def _check(
    market: str, committee: Committee, gateways: Sequence[Tuple[str, bytes]], charters: Sequence[Charter]
) -> List[bytes]:
    """Refuses a genesis that is not well formed; returns the charters' bytes."""
    committee.check()
    encoded = []
    for charter in charters:
        charter.check()
        encoded.append(charter.to_bytes())
    names = [market, *(name for name, _ in gateways)]
    _require(committee.epoch == 0, "the committee is not of epoch 0")
    _require(all(map(is_allowed_name, names)), "the market's or a gateway's name is not allowed")
    _require(all(is_admissible(key) for _, key in gateways), "a gateway's key is not admissible")
    _require(len(gateways) <= GATEWAYS_MAX and len(charters) <= CHARTERS_MAX, "too many gateways or groups")
    _require(len({charter.group for charter in charters}) == len(charters), "two charters of one group")
    _require(all(len(one) <= CHARTER_BYTES_MAX for one in encoded), "a charter is too long")
    return encoded


def _committee(source: _Members) -> Committee:
    epoch = source.uint("epoch")
    members = []
    for member in source.objects("members"):
        members.append(Member(member.text("name"), member.hex32("attestation_key"), member.hex32("engine_key")))
        member.done()
    source.done()
    return Committee(epoch, tuple(members))


def _gateway(source: _Members) -> Tuple[str, bytes]:
    gateway = (source.text("name"), source.hex32("key"))
    source.done()
    return gateway


def _group(source: _Members) -> Tuple[Charter, Optional[Tuple[str, ...]]]:
    labels = _labels(source.optional("labels"))
    assurance = source.text("assurance")
    _require(assurance in ("supported", "decisive", "robust"), "an unknown assurance")
    charter = Charter(
        group=source.text("group"),
        task=source.text("task"),
        classes=source.uint("classes", 2**32 - 1),
        labels=None if labels is None else labels_digest(labels),
        roster=tuple(_owner(item) for item in source.objects("owners")),
        policy=_policy(source.take("policy")),
        faults=source.uint("fault_bound"),
        assurance=Assurance[assurance.upper()],
        notice_blocks=source.uint("notice_blocks"),
        approvals=source.uint("approvals"),
        fee=source.uint("fee"),
    )
    source.done()
    return charter, labels


def _owner(source: _Members) -> Owner:
    owner = Owner(source.text("name"), source.hex32("key"), source.text("controlling_party"), source.text("lineage"))
    source.done()
    return owner


def _labels(value: Any) -> Optional[Tuple[str, ...]]:
    if value is None:
        return None
    _require(
        isinstance(value, list) and all(isinstance(label, str) for label in value), "labels are not a list of text"
    )
    return tuple(value)


def _policy(value: Any) -> AnyPolicy:
    if value == "plurality":
        return Plurality()
    source = _Members(value, "policy")
    builders: Dict[str, Callable[[], AnyPolicy]] = {
        "plurality": Plurality,
        "borda": lambda: Borda(source.uint("ranks")),
        "exact": lambda: Exact(source.uint("quorum")),
        "median": lambda: Median(_tensor(source.object("tensor"))),
        "trimmed-mean": lambda: TrimmedMean(_tensor(source.object("tensor"))),
        "within": lambda: Within(_tensor(source.object("tensor")), source.uint("epsilon"), source.uint("quorum")),
    }
    name = source.text("name")
    _require(name in builders, "an unknown policy")
    policy = builders[name]()
    source.done()
    return policy


def _tensor(source: _Members) -> TensorShape:
    tensor = TensorShape(
        source.uint("length", TENSOR_MAX, 1),
        source.uint("fraction_bits", 30),
        source.integer("min"),
        source.integer("max"),
    )
    source.done()
    _require(tensor.min <= tensor.max, "a tensor with an empty range")
    return tensor


class _Members:
    """The members of a JSON object, each taken once; what is left at the end is unknown and refused."""

    def __init__(self, value: Any, what: str) -> None:
        _require(isinstance(value, dict), f"{what} is not an object")
        self._left: Dict[str, Any] = dict(value)
        self._what = what

    def take(self, name: str) -> Any:
        _require(name in self._left, f"{self._what} has no {name}")
        return self._left.pop(name)

    def optional(self, name: str) -> Any:
        return self._left.pop(name, None)

    def done(self) -> None:
        _require(not self._left, f"{self._what} has unknown members: {', '.join(sorted(self._left))}")

    def text(self, name: str) -> str:
        value = self.take(name)
        _require(isinstance(value, str), f"{name} is not text")
        return str(value)

    def word(self, name: str, only: str) -> None:
        _require(self.text(name) == only, f"{name} is not {only}")

    def uint(self, name: str, most: int = UINT_MAX, least: int = 0) -> int:
        return self._bounded(name, least, most)

    def integer(self, name: str) -> int:
        return self._bounded(name, -VALUE_MAX, VALUE_MAX)

    def _bounded(self, name: str, least: int, most: int) -> int:
        value = self.take(name)
        _require(type(value) is int and least <= value <= most, f"{name} is not an integer in its bounds")
        return int(value)

    def hex32(self, name: str) -> bytes:
        value = self.text(name)
        _require(_HEX32.match(value) is not None, f"{name} is not 64 lower-case hex digits")
        return bytes.fromhex(value)

    def object(self, name: str) -> _Members:
        return _Members(self.take(name), name)

    def objects(self, name: str) -> List[_Members]:
        value = self.take(name)
        _require(isinstance(value, list), f"{name} is not a list")
        return [_Members(item, name) for item in value]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Malformed(otherwise)


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    members = dict(pairs)
    _require(len(members) == len(pairs), "an object names a member twice")
    return members


def _plain(digits: str) -> int:
    _require(digits != "-0", "-0 is not a plain integer")
    return int(digits)


def _refuse_constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON")
