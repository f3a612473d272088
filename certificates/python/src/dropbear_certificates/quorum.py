"""A quorum's signatures over a header (SPEC.md section 13, steps 7 and 8)."""

from __future__ import annotations

from typing import Tuple

from .bitmap import places
from .budget import Budget
from .errors import Malformed, Refused
from .genesis import Committee
from .header import Header
from .keys import verify_signature

SIGNATURE_BYTES = 64


def verify_quorum(
    header: Header, record_root: bytes, committee: Committee, signers: bytes, signatures: bytes, budget: Budget
) -> Tuple[int, ...]:
    """The places of the members that signed; raises :class:`Refused` unless they are a quorum and all signed."""
    try:
        signed = places(signers, len(committee.members))
    except Malformed:
        raise Refused("malformed") from None
    if len(signatures) != SIGNATURE_BYTES * len(signed):
        raise Refused("malformed")
    if len(signed) < committee.quorum:
        raise Refused("no-quorum")
    for number, place in enumerate(signed):
        budget.spend_signature()
        key = committee.members[place].attestation_key
        signature = signatures[SIGNATURE_BYTES * number : SIGNATURE_BYTES * (number + 1)]
        if not verify_signature(key, signature, header.signed_bytes(key, record_root)):
            raise Refused("bad-signature")
    return signed
