"""Receipts: a certificate expanded for verifiers that know RFC 9942 only (SPEC.md section 15)."""

from __future__ import annotations

from typing import List

from .cbor import encode
from .certificate import Certificate
from .genesis import Committee

_COSE_SIGN1_TAG = b"\xd2"
_PROOFS, _INCLUSION = 396, -1


def expand(certificate: Certificate, committee: Committee, signers: List[int]) -> List[bytes]:
    """One receipt per attestation, in the order of the members' places."""
    nodes = [certificate.path[start : start + 32] for start in range(0, len(certificate.path), 32)]
    proof = encode([certificate.header.tree_size, certificate.record.leaf_index, nodes])
    unprotected = {_PROOFS: {_INCLUSION: [proof]}}
    receipts = []
    for number, place in enumerate(signers):
        protected = certificate.header.protected(committee.members[place].attestation_key)
        signature = certificate.signatures[64 * number : 64 * (number + 1)]
        receipts.append(_COSE_SIGN1_TAG + encode([protected, unprotected, None, signature]))
    return receipts
