"""Refusals: the stable reason codes of SPEC.md section 13, and who is at fault for each."""

from __future__ import annotations

import enum


class Fault(enum.Enum):
    """Who is to blame for a refusal."""

    BEARER = "bearer"
    """The file is damaged, forged, or no certificate."""
    QUORUM = "quorum"
    """A quorum of the committee attested what the rules forbid: keep the certificate as evidence."""
    VERIFIER = "verifier"
    """This verifier lacks something: another genesis, a governance chain, a newer version."""


_QUORUM = frozenset({"contradiction", "wrong-outcome", "expired-request", "charter-not-in-force"})

_ADVICE = {
    "too-large": "the file is longer than the format allows; ask for the file again",
    "unknown-version": "the certificate is of another version; use a verifier that knows it",
    "malformed": "the file does not have the shape of a certificate; ask for the file again",
    "malformed-record": "the record inside does not have the shape of a record",
    "malformed-header": "the header inside does not have the shape of a header",
    "bad-path": "the path does not lead from the record to a root",
    "other-genesis": "the certificate is of another market; name the trust root of that market",
    "bad-chain": "the governance chain does not extend the trust root",
    "unknown-committee": "the trust root does not know this committee; add the market's governance chain",
    "outside-epoch": "the committee attested outside its epoch",
    "no-quorum": "fewer members signed than a quorum",
    "bad-signature": "a signature is not the member's",
    "contradiction": "the quorum attested a record that contradicts its header or charter; keep it as evidence",
    "unknown-charter": "the trust root does not know this charter; add the market's governance chain",
    "charter-not-in-force": "the quorum attested a record under a charter that was not in force; keep it as evidence",
    "wrong-outcome": "the quorum attested an outcome that does not follow from the tally; keep it as evidence",
    "expired-request": "the quorum attested an outcome after the request had expired; keep it as evidence",
    "bad-opening": "an attachment opens something else than the record commits to; ask for it without attachments",
    "bad-ballot": "a ballot proof does not hold; ask for the certificate without ballot proofs",
    "budget-exhausted": "the work exceeds the budget; verify again with a larger one",
}


class Malformed(ValueError):
    """Bytes that do not have the shape that SPEC.md gives. Callers turn it into the code of their step."""


class Refused(Exception):
    """A certificate or governance chain that does not verify.

    ``code`` is the stable reason code of SPEC.md section 13, the same in every verifier.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"{code}: {_ADVICE[code]}")
        self.code = code

    @property
    def fault(self) -> Fault:
        """Who is to blame."""
        if self.code in _QUORUM:
            return Fault.QUORUM
        if self.code.startswith(("unknown-", "other-")) or self.code == "budget-exhausted":
            return Fault.VERIFIER
        return Fault.BEARER


class InvalidTrustRoot(ValueError):
    """A genesis file that a verifier must not trust: the message says which rule of SPEC.md section 5 it breaks."""
