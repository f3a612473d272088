"""Requests: seeds, salts, commitments, statements and their signatures (SPEC.md section 6)."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import List, Optional, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .assurance import Assurance
from .cbor import Item, encode
from .digest import hmac_sha256, sha256, tag
from .keys import REQUEST_TYPE, statement_bytes, verify_signature


class Origin(enum.IntEnum):
    """Who minted the request."""

    GATEWAY = 0
    """A gateway, for a client without a key: promises nothing towards the client."""
    CLIENT = 1
    """The client, with its own key."""

    @property
    def word(self) -> str:
        """The word that the vectors use."""
        return "client-signed" if self is Origin.CLIENT else "gateway-minted"


def input_digest(name: str, datatype: str, shape: Sequence[int], data: bytes) -> bytes:
    """The digest of one input tensor; ``shape`` is without the batch dimension, ``data`` little-endian.

    An image sent as it is has datatype ``BYTES`` and shape ``[]``.
    """
    return tag("dropbear/input/v1", encode([name, datatype, list(shape), sha256(data)]))


@dataclass(frozen=True)
class Seed:
    """The 32 random bytes that a client draws for each request. Whoever has it can open everything."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise ValueError("a seed has 32 bytes")

    @classmethod
    def random(cls) -> Seed:
        """A fresh seed from the operating system."""
        return cls(os.urandom(32))

    def salt(self, field: str) -> bytes:
        """The salt of ``request``, ``vote`` or ``output``."""
        return hmac_sha256(self.secret, field.encode("ascii"))

    def digest(self) -> bytes:
        """The seed digest."""
        return tag("dropbear/seed/v1", self.secret)

    def request_commitment(self, input_: bytes) -> bytes:
        """The commitment to a request for the input of this digest."""
        return request_commitment(self.salt("request"), self.digest(), input_)

    def output_commitment(self, output: bytes) -> bytes:
        """The commitment to an output."""
        return tag("dropbear/output/v1", self.salt("output"), sha256(output))


def request_commitment(salt: bytes, seed_digest: bytes, input_: bytes) -> bytes:
    """The request commitment of its three openings."""
    return tag("dropbear/request/v1", salt, seed_digest, input_)


@dataclass(frozen=True)
class RequestStatement:
    """What the requester signs. The request id is its digest."""

    genesis: bytes
    group: str
    signer: bytes
    origin: Origin
    nonce: bytes
    commitment: bytes
    expiry_ms: int
    demand: Assurance

    def to_bytes(self) -> bytes:
        """The statement's bytes."""
        fields: List[Item] = [1, self.genesis, self.group, self.signer, int(self.origin), self.nonce, self.commitment]
        return encode([*fields, self.expiry_ms, int(self.demand)])

    def id(self) -> bytes:
        """The request id."""
        return tag("dropbear/request-id/v1", self.to_bytes())

    def is_signed_by_signer(self, signature: bytes) -> bool:
        """Whether ``signature`` is the signer's over this statement."""
        message = statement_bytes(self.signer, REQUEST_TYPE, self.to_bytes())
        return verify_signature(self.signer, signature, message)


@dataclass(frozen=True)
class SignedRequest:
    """A statement with its signature."""

    statement: RequestStatement
    signature: bytes


def sign_request(
    key: Ed25519PrivateKey,
    *,
    genesis: bytes,
    group: str,
    commitment: bytes,
    expiry_ms: int,
    demand: Assurance = Assurance.ROBUST,
    origin: Origin = Origin.CLIENT,
    nonce: Optional[bytes] = None,
) -> SignedRequest:
    """A request signed with ``key``; the nonce is drawn if it is not given."""
    nonce = os.urandom(16) if nonce is None else nonce
    if len(nonce) != 16:
        raise ValueError("a nonce has 16 bytes")
    if demand is Assurance.NONE:
        raise ValueError("a request demands at least 'supported'")
    signer = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    statement = RequestStatement(genesis, group, signer, origin, nonce, commitment, expiry_ms, demand)
    return SignedRequest(statement, key.sign(statement_bytes(signer, REQUEST_TYPE, statement.to_bytes())))
