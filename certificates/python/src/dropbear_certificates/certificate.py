"""The certificate as a file (SPEC.md section 11), checked as far as needs no trust (section 13, steps 1 to 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Sequence, Tuple, TypeVar

from .ballot import BallotProof
from .bitmap import PLACE_MAX, PLACES_MAX
from .budget import Budget
from .cbor import Reader, read_all
from .chain import Chain, read_signatures, read_signers
from .digest import tag
from .errors import Malformed, Refused
from .genesis import MODEL_SET_BYTES_MAX, ModelSet, read_model_set
from .header import TEMPLATE_BYTES_MAX, Header
from .keys import read_key
from .merkle import leaf_hash, root_of_path
from .record import RECORD_BYTES_MAX, Record
from .vote import Vote, read_vote

CERTIFICATE_BYTES_MAX = 65536

T = TypeVar("T")


@dataclass(frozen=True)
class RequestOpening:
    """Attachment 1."""

    signer: bytes
    nonce: bytes
    salt: bytes
    seed_digest: bytes
    input_digest: bytes
    signature: Optional[bytes]


@dataclass(frozen=True)
class VotesOpening:
    """Attachment 2."""

    salt: bytes
    votes: Tuple[Optional[Vote], ...]


@dataclass(frozen=True)
class ModelSetOpening:
    """Attachment 3."""

    encoded: bytes
    models: ModelSet


@dataclass(frozen=True)
class ResultOpening:
    """Attachment 4."""

    salt: bytes
    vote: Optional[Vote]


@dataclass(frozen=True)
class SingleVote:
    """One opening of attachment 5."""

    group: int
    salt: bytes
    vote: Optional[Vote]


@dataclass(frozen=True)
class Attachments:
    """What the holder chose to show."""

    request: Optional[RequestOpening] = None
    votes: Optional[VotesOpening] = None
    model_set: Optional[ModelSetOpening] = None
    result: Optional[ResultOpening] = None
    single_votes: Tuple[SingleVote, ...] = ()
    ballots: Tuple[BallotProof, ...] = ()
    chain: Optional[Chain] = None


@dataclass(frozen=True)
class Certificate:
    """A certificate whose parts fit each other. Nothing is proven: see :func:`dropbear_certificates.verify`."""

    header: Header
    path: bytes
    signers: bytes
    signatures: bytes
    record_bytes: bytes
    record: Record
    record_root: bytes
    attachments: Attachments

    @classmethod
    def from_bytes(cls, data: bytes, budget: Optional[Budget] = None) -> Certificate:
        """Steps 1 to 5; raises :class:`Refused`."""
        if len(data) > CERTIFICATE_BYTES_MAX:
            raise Refused("too-large")
        _check_version(data)
        file = _parsed(lambda: read_all(data, _read_file), "malformed")
        record = _parsed(lambda: Record.from_bytes(file.record), "malformed-record")
        header = _parsed(lambda: Header.from_template(file.template), "malformed-header")
        (budget or Budget()).spend_path(file.path)
        root = root_of_path(leaf_hash(file.record), record.leaf_index, header.tree_size, file.path)
        if root is None:
            raise Refused("bad-path")
        return cls(header, file.path, file.signers, file.signatures, file.record, record, root, file.attachments)

    def id(self) -> bytes:
        """The certificate id: equal for every quorum of the same record."""
        leaf = self.header.ledger_leaf(self.record_root)
        return tag("dropbear/certificate/v1", leaf, self.record.leaf_index.to_bytes(8, "big"))


@dataclass(frozen=True)
class _File:
    template: bytes
    path: bytes
    signers: bytes
    signatures: bytes
    record: bytes
    attachments: Attachments


def _parsed(parse: Callable[[], T], code: str) -> T:
    try:
        return parse()
    except Malformed:
        raise Refused(code) from None


def _check_version(data: bytes) -> None:
    """Step 2: only what tells versions apart is read."""

    def version() -> int:
        reader = Reader(data)
        reader.array(255)
        return reader.uint()

    if _parsed(version, "malformed") != 1:
        raise Refused("unknown-version")


def _read_file(reader: Reader) -> _File:
    reader.array_of(7)
    reader.constant(1)
    return _File(
        reader.byte_string(TEMPLATE_BYTES_MAX),
        reader.path(),
        read_signers(reader),
        read_signatures(reader),
        reader.byte_string(RECORD_BYTES_MAX),
        _read_attachments(reader),
    )


def _read_attachments(reader: Reader) -> Attachments:
    readers: Dict[int, Tuple[str, Callable[[Reader], object]]] = {
        1: ("request", _read_request),
        2: ("votes", _read_votes),
        3: ("model_set", _read_model_set),
        4: ("result", _read_result),
        5: ("single_votes", _read_single_votes),
        6: ("ballots", _read_ballots),
        7: ("chain", Chain.read),
    }
    found: Dict[str, object] = {}
    last = 0
    for _ in range(reader.map(len(readers))):
        last = reader.uint(len(readers), last + 1)
        name, read = readers[last]
        found[name] = read(reader)
    return Attachments(**found)  # type: ignore[arg-type]


def _read_request(reader: Reader) -> RequestOpening:
    reader.array_of(6)
    return RequestOpening(
        read_key(reader),
        reader.byte_string_of(16),
        reader.digest(),
        reader.digest(),
        reader.digest(),
        reader.or_null(lambda item: item.byte_string_of(64)),
    )


def _read_votes(reader: Reader) -> VotesOpening:
    reader.array_of(2)
    return VotesOpening(reader.digest(), tuple(reader.list_of(read_vote, PLACES_MAX)))


def _read_model_set(reader: Reader) -> ModelSetOpening:
    encoded = reader.byte_string(MODEL_SET_BYTES_MAX)
    return ModelSetOpening(encoded, read_model_set(encoded))


def _read_result(reader: Reader) -> ResultOpening:
    reader.array_of(2)
    return ResultOpening(reader.digest(), read_vote(reader))


def _read_single_votes(reader: Reader) -> Tuple[SingleVote, ...]:
    openings = reader.list_of(_read_single_vote, PLACES_MAX)
    _check_ascending([opening.group for opening in openings])
    return tuple(openings)


def _read_single_vote(reader: Reader) -> SingleVote:
    reader.array_of(3)
    return SingleVote(reader.uint(PLACE_MAX), reader.digest(), read_vote(reader))


def _read_ballots(reader: Reader) -> Tuple[BallotProof, ...]:
    proofs = reader.list_of(BallotProof.read, PLACES_MAX)
    _check_ascending([proof.owner for proof in proofs])
    return tuple(proofs)


def _check_ascending(places: Sequence[int]) -> None:
    if not places or any(before >= after for before, after in zip(places, places[1:])):
        raise Malformed("an empty list, or one out of order")
