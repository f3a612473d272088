"""Policies: how votes become an outcome, and what it promises (SPEC.md section 8)."""

from __future__ import annotations

from typing import Any

from ..assurance import Assurance, Count, Levels, Outcome
from ..cbor import Reader
from ..errors import Malformed
from .base import GroupSizes, Policy
from .borda import Borda, Candidate
from .combine import Combined, combine
from .groups import Group, group_votes
from .leading import Exact, Plurality
from .tensors import Cluster, Median, TensorShape, TrimmedMean, Within

AnyPolicy = Policy[Any]

__all__ = [
    "AnyPolicy",
    "Assurance",
    "Borda",
    "Candidate",
    "Cluster",
    "Combined",
    "Count",
    "Exact",
    "Group",
    "GroupSizes",
    "Levels",
    "Median",
    "Outcome",
    "Plurality",
    "Policy",
    "TensorShape",
    "TrimmedMean",
    "Within",
    "combine",
    "group_votes",
    "read_policy",
]


def read_policy(reader: Reader) -> AnyPolicy:
    """A ``policy``."""
    length = reader.array(4)
    code = reader.uint()
    if (code, length) == (1, 1):
        return Plurality()
    if (code, length) == (2, 2):
        return Borda(reader.uint())
    if (code, length) == (3, 2):
        return Exact(reader.uint())
    if (code, length) == (4, 2):
        return Median(TensorShape.read(reader))
    if (code, length) == (5, 2):
        return TrimmedMean(TensorShape.read(reader))
    if (code, length) == (6, 4):
        return Within(TensorShape.read(reader), reader.uint(), reader.uint())
    raise Malformed("an unknown policy")
