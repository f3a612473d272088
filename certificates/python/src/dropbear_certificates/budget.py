"""A bound on the work of one verification (SPEC.md section 13)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import Refused


@dataclass
class Budget:
    """Counts down the signatures and path nodes that may still be checked. The defaults never meet a certificate."""

    signatures: int = 1024
    nodes: int = 65536

    def spend_signature(self) -> None:
        """Takes one signature check."""
        self.signatures -= 1
        if self.signatures < 0:
            raise Refused("budget-exhausted")

    def spend_path(self, path: bytes) -> None:
        """Takes the nodes of a path."""
        self.nodes -= len(path) // 32
        if self.nodes < 0:
            raise Refused("budget-exhausted")
