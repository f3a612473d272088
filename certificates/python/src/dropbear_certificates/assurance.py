"""Assurance levels and the arithmetic that gives them (SPEC.md section 8)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Assurance(enum.IntEnum):
    """How much an outcome promises."""

    NONE = 0
    SUPPORTED = 1
    DECISIVE = 2
    ROBUST = 3

    @property
    def word(self) -> str:
        """The word that the vectors use."""
        return self.name.lower()


class Outcome(enum.IntEnum):
    """What came out. ``INSUFFICIENT`` is never recorded: more ballots could still bring agreement."""

    INSUFFICIENT = 0
    AGREED = 1
    NO_AGREEMENT = 2

    @property
    def word(self) -> str:
        """The word that the vectors use."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True)
class Levels:
    """The level reached now, and the highest that the ballots still out could bring."""

    now: Assurance
    reachable: Assurance

    def outcome(self, demand: Assurance) -> Outcome:
        """The outcome under a demanded level."""
        if self.now >= demand:
            return Outcome.AGREED
        return Outcome.INSUFFICIENT if self.reachable >= demand else Outcome.NO_AGREEMENT


@dataclass(frozen=True)
class Count:
    """How many owners voted, abstained, and may still vote."""

    owners: int
    faults: int
    voters: int
    abstained: int

    @property
    def open(self) -> int:
        """Owners without a counted ballot."""
        return self.owners - self.voters - self.abstained

    @property
    def missing(self) -> int:
        """Owners that named nothing."""
        return self.open + self.abstained


def level(count: Count, named: int, lead: int, weight: int, missing: int) -> Assurance:
    """``level(named, lead, w, missing)``; a negative lead stands for 0."""
    if lead <= 0 or named <= count.faults:
        return Assurance.NONE
    if lead > weight * (count.faults + missing):
        return Assurance.ROBUST
    return Assurance.DECISIVE if lead > weight * missing else Assurance.SUPPORTED
