"""Where the vectors are, and how to read them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Dict, List

from dropbear_certificates import TrustRoot

TESTDATA = Path(__file__).resolve().parents[2] / "testdata"

Vector = Dict[str, Any]


def vectors(folder: str) -> List[Vector]:
    """All vectors of a folder; their number is checked, so that none is passed over in silence."""
    found = [json.loads(path.read_text()) for path in sorted((TESTDATA / folder).glob("*.json"))]
    assert found, f"no vectors in {folder}"
    return found


def vector(name: str) -> Vector:
    """One valid vector."""
    loaded: Vector = json.loads((TESTDATA / "valid" / f"{name}.json").read_text())
    return loaded


@functools.cache
def trust_file(name: str) -> TrustRoot:
    """A trust root of the vectors."""
    return TrustRoot.from_json((TESTDATA / name).read_bytes())


def trust_of(vector: Vector) -> TrustRoot:
    """A vector's trust root, extended by its chain file if it has one."""
    trust = trust_file(vector["trust"])
    return trust.extended(bytes.fromhex(vector["chain"])) if vector.get("chain") else trust
