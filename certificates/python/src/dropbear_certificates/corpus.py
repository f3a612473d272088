"""Agreement with another verifier: a file of certificates with the verdicts that it gave."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .errors import Refused
from .trust import TrustRoot
from .verify import verify

Expectation = Dict[str, Any]


@dataclass
class Agreement:
    """How far the verdicts agree."""

    checked: int = 0
    accepted: int = 0
    disagreements: List[str] = field(default_factory=list)


class Corpus:
    """Lines of ``{trust, chain?, certificate, expect: {ok, code?}}``; ``trust`` names a file in ``roots``."""

    def __init__(self, roots: Path) -> None:
        self._roots = roots
        self._trusted: Dict[Tuple[str, Optional[str]], TrustRoot] = {}

    def check(self, lines: Path) -> Agreement:
        """Compares our verdict and reason code with the expected one of each line."""
        agreement = Agreement()
        with lines.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                expected = json.loads(line)
                verdict = self._verdict(expected)
                agreement.checked += 1
                agreement.accepted += verdict["ok"]
                wanted = {key: expected["expect"][key] for key in ("ok", "code") if key in expected["expect"]}
                if verdict != wanted:
                    agreement.disagreements.append(f"line {number}: expected {wanted}, but {verdict}")
        return agreement

    def _verdict(self, line: Expectation) -> Expectation:
        try:
            verify(bytes.fromhex(line["certificate"]), self._trust(line["trust"], line.get("chain")))
        except Refused as refused:
            return {"ok": False, "code": refused.code}
        return {"ok": True}

    def _trust(self, name: str, chain: Optional[str]) -> TrustRoot:
        if (name, chain) not in self._trusted:
            trust = TrustRoot.from_json((self._roots / name).read_bytes())
            self._trusted[name, chain] = trust.extended(bytes.fromhex(chain)) if chain else trust
        return self._trusted[name, chain]
