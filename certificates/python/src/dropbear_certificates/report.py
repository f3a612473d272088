"""What a verified certificate proves and what it does not, in words and as JSON (SPEC.md section 14)."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .assurance import Assurance, Outcome
from .request import Origin
from .verify import Verified
from .vote import ClassVote, OutputVote, RankingVote, Vote

_PROMISES = {
    Assurance.SUPPORTED: "at least one honest owner named the result",
    Assurance.DECISIVE: "no ballot left out could have changed the result, unless an owner colluded in leaving it out",
    Assurance.ROBUST: "the result leads among honest owners, whatever the tolerated faulty owners and the gateway do",
}
_TENSOR_PROMISES = {
    "median": "every element lies between the smallest and the largest honest value",
    "trimmed-mean": "every element lies between the smallest and the largest honest value",
    "within": "an honest vote lies within epsilon of the result; every other possible result within 2 epsilon",
}
_NOT_PROVEN = (
    "that the named weights computed the votes",
    "that the owners are independent of each other",
    "that the client did not ask before under another nonce",
    "anything, if a quorum of the committee's keys collude or were stolen",
)


def as_json(verified: Verified, input_digest: Optional[bytes] = None) -> Dict[str, Any]:
    """The verdict with the same members as the vectors' ``expect``, and a few more."""
    record = verified.certificate.record
    return {
        "ok": True,
        "id": verified.id.hex(),
        "market": verified.trust.genesis.market,
        "group": record.group,
        "request_id": record.request_id.hex(),
        "agreed_ms": record.agreed_ms,
        "outcome": verified.outcome.word,
        "assurance": verified.assurance.word,
        "policy": record.policy.name,
        "seq": verified.certificate.header.seq,
        "epoch": verified.certificate.header.epoch,
        "signers": list(verified.signers),
        "class": verified.class_,
        "label": verified.label,
        "result": verified.result.to_bytes().hex() if verified.result else None,
        "origin": verified.origin.word,
        "requester": verified.requester.hex() if verified.requester else None,
        "signature_shown": verified.signature_shown,
        "owners_proven": list(verified.owners_proven),
        "about_input": None if input_digest is None else verified.is_about_input(input_digest),
        "trust_current": verified.trust_current,
    }


def proven(verified: Verified) -> List[str]:
    """What the certificate proves, one sentence a line."""
    record, committee = verified.certificate.record, verified.committee
    names = ", ".join(committee.members[place].name for place in verified.signers)
    lines = [
        f"{len(verified.signers)} of {len(committee.members)} members attested it (quorum {committee.quorum}): {names}",
        f"market {verified.trust.genesis.market}, group {record.group}, seq {record.seq}, epoch {record.epoch}",
        _outcome(verified),
        _promise(verified),
        _result(verified),
        _asked(verified),
    ]
    if verified.owners_proven:
        owners = ", ".join(verified.charter.roster[place].name for place in verified.owners_proven)
        lines.append(f"owners whose own signatures on their votes are shown: {owners}")
    return [line for line in lines if line]


def not_proven(verified: Verified) -> List[str]:
    """What it does not prove."""
    lines = list(_NOT_PROVEN)
    if verified.origin is Origin.GATEWAY:
        lines.append("that the gateway did not ask before under another nonce: it minted this request")
    if not verified.trust_current:
        lines.append("that the charter was still in force: add the market's governance chain to the trust root")
    return lines


def _outcome(verified: Verified) -> str:
    record = verified.certificate.record
    count = record.sizes().count
    heard = f"{count.voters} voted, {count.abstained} abstained, {count.open} did not answer"
    level = f" at level {verified.assurance.word}" if verified.outcome is Outcome.AGREED else ""
    return f"{verified.outcome.word}{level} by {record.policy.name} among {record.owners} owners ({heard})"


def _promise(verified: Verified) -> str:
    if verified.outcome is not Outcome.AGREED:
        return ""
    return "promise: " + _TENSOR_PROMISES.get(verified.certificate.record.policy.name, _PROMISES[verified.assurance])


def _result(verified: Verified) -> str:
    if verified.outcome is not Outcome.AGREED:
        return "there is no result"
    if verified.result is None:
        return "the result is not shown: ask the holder for its opening"
    label = f" ({verified.label})" if verified.label else ""
    return f"result: {describe(verified.result)}{label}"


def _asked(verified: Verified) -> str:
    if verified.requester is None:
        return f"request {verified.origin.word}; who asked for what is not shown"
    vouched = "its signature is shown" if verified.signature_shown else "the committee vouches for its signature"
    return f"request {verified.origin.word} by key {verified.requester.hex()}; {vouched}"


def describe(vote: Vote) -> str:
    """A vote in words."""
    if isinstance(vote, ClassVote):
        return f"class {vote.index}"
    if isinstance(vote, RankingVote):
        return "ranking " + ", ".join(map(str, vote.classes))
    if isinstance(vote, OutputVote):
        return f"output {vote.digest.hex()}"
    more = ", ..." if len(vote.values) > 8 else ""
    return f"tensor of {len(vote.values)} values: {', '.join(map(str, vote.values[:8]))}{more}"
