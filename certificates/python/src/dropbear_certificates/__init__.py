"""Verifies Dropbear inference certificates offline, from the specification alone."""

from __future__ import annotations

from .assurance import Assurance, Outcome
from .budget import Budget
from .certificate import Certificate
from .chain import Chain
from .conflict import Comparison, Opening, Verdict, compare
from .errors import Fault, InvalidTrustRoot, Malformed, Refused
from .request import Origin, RequestStatement, Seed, SignedRequest, input_digest, sign_request
from .trust import TrustRoot
from .verify import Verified, verify
from .vote import ClassVote, OutputVote, RankingVote, TensorVote, Vote

__all__ = [
    "Assurance",
    "Budget",
    "Certificate",
    "Chain",
    "ClassVote",
    "Comparison",
    "Fault",
    "InvalidTrustRoot",
    "Malformed",
    "Opening",
    "Origin",
    "Outcome",
    "OutputVote",
    "RankingVote",
    "Refused",
    "RequestStatement",
    "Seed",
    "SignedRequest",
    "TensorVote",
    "TrustRoot",
    "Verdict",
    "Verified",
    "Vote",
    "compare",
    "input_digest",
    "sign_request",
    "verify",
]
