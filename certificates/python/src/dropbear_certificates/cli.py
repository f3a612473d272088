"""``dropbear-verify``: verifies certificate files and says what they prove and what not.

Exit status: 0 if everything verified (and is about the input and label asked for), 1 if anything did not, 2 if the
question could not be asked (usage, unreadable file, a genesis that must not be trusted).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, NamedTuple, NoReturn, Optional, Sequence

from . import report
from .assurance import Outcome
from .corpus import Corpus
from .errors import InvalidTrustRoot, Refused
from .request import input_digest
from .trust import TrustRoot
from .verify import Verified, verify

_OK, _REFUSED, _UNANSWERED = 0, 1, 2
_DISAGREEMENTS_SHOWN_MAX = 20


@dataclass(frozen=True)
class _Question:
    """What is asked of each certificate."""

    trust: TrustRoot
    input_digest: Optional[bytes]
    label: Optional[str]
    as_json: bool


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.corpus:
            return _check_corpus(options.corpus, options.roots or options.corpus.parent)
        if not options.certificates or not options.trust:
            parser.error("name certificates and, with --trust, the market's genesis file")
        question = _Question(_trust(options.trust, options.chain), _input(options), options.label, options.json)
        statuses = [_answer(path, question) for path in _files(options.certificates)]
    except (OSError, InvalidTrustRoot) as reason:
        _fail(str(reason))
    except Refused as refused:
        _fail(f"the chain file does not extend the trust root: {refused}")
    except KeyError as missing:
        _fail(f"the corpus has a line without {missing}")
    except ValueError as reason:
        _fail(f"the corpus is not readable: {reason}")
    if len(statuses) > 1 and not options.json:
        print(f"{statuses.count(_OK)} of {len(statuses)} verified")
    return max(statuses, default=_OK)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dropbear-verify", description="Verifies Dropbear inference certificates offline."
    )
    parser.add_argument(
        "certificates", nargs="*", type=Path, metavar="CERT", help="certificate files, or folders of them"
    )
    parser.add_argument(
        "--trust", type=Path, metavar="GENESIS", help="the market's genesis file (JSON) that you pinned"
    )
    parser.add_argument("--chain", type=Path, metavar="FILE", help="a governance chain that extends the trust root")
    parser.add_argument("--image", type=Path, metavar="FILE", help="check that the request was about this file")
    parser.add_argument("--input-name", default="image", metavar="NAME", help="the name of that input (default: image)")
    parser.add_argument(
        "--label", metavar="L", help="check that the result has this label, or class number if there are no labels"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each certificate")
    parser.add_argument("--corpus", type=Path, metavar="JSONL", help="check verdicts against those of another verifier")
    parser.add_argument(
        "--roots", type=Path, metavar="DIR", help="where the corpus' trust roots are (default: beside it)"
    )
    return parser


def _fail(reason: str) -> NoReturn:
    print(f"dropbear-verify: {reason}", file=sys.stderr)
    raise SystemExit(_UNANSWERED)


def _trust(genesis: Path, chain: Optional[Path]) -> TrustRoot:
    trust = TrustRoot.from_json(genesis.read_bytes())
    return trust.extended(chain.read_bytes()) if chain else trust


def _input(options: argparse.Namespace) -> Optional[bytes]:
    return input_digest(options.input_name, "BYTES", [], options.image.read_bytes()) if options.image else None


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (inside for inside in sorted(path.iterdir()) if inside.is_file())
        else:
            yield path


def _answer(path: Path, question: _Question) -> int:
    try:
        verified = verify(path.read_bytes(), question.trust)
    except Refused as refused:
        _print_refused(path, refused, question.as_json)
        return _REFUSED
    unmet = _unmet(verified, question)
    if question.as_json:
        said = report.as_json(verified, question.input_digest)
        print(json.dumps({"file": str(path), **said, "unmet": [asked._asdict() for asked in unmet]}))
    else:
        _print_verified(path, verified, question, unmet)
    return _REFUSED if unmet else _OK


class _Unmet(NamedTuple):
    """What was asked of a verified certificate and is not so: a stable code (SPEC.md section 21) and a sentence."""

    code: str
    reason: str


def _unmet(verified: Verified, question: _Question) -> List[_Unmet]:
    """What was asked of a verified certificate and is not so."""
    unmet = []
    if question.input_digest is not None:
        about = verified.is_about_input(question.input_digest)
        if about is None:
            advice = "the request is not shown, so it is not known what it was about: ask the holder for its opening"
            unmet.append(_Unmet("request-hidden", advice))
        elif not about:
            unmet.append(_Unmet("other-image", "the request was about another input"))
    if question.label is not None:
        unmet.extend(_other_label(verified, question.label))
    return unmet


def _other_label(verified: Verified, label: str) -> Iterator[_Unmet]:
    """Why the result is not ``label``, which is a label of the charter's table or a class number."""
    if verified.class_ is not None:
        found = f"class {verified.class_}" if verified.label is None else verified.label
        if label not in (str(verified.class_), found):
            yield _Unmet("other-label", f"the result is {found}, not {label}")
    elif verified.outcome is Outcome.NO_AGREEMENT:
        yield _Unmet("no-agreement", "the owners did not agree: no label is certified")
    else:
        yield _Unmet("votes-hidden", f"no class is shown, so the result is not shown to be {label}")


def _print_refused(path: Path, refused: Refused, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": str(path), "ok": False, "code": refused.code, "fault": refused.fault.value}))
    else:
        print(f"{path}: REFUSED, {refused} (fault: {refused.fault.value})")


def _print_verified(path: Path, verified: Verified, question: _Question, unmet: Sequence[_Unmet]) -> None:
    print(f"{path}: {'VERIFIED, BUT NOT WHAT WAS ASKED' if unmet else 'VERIFIED'}")
    for asked in unmet:
        print(f"  ! {asked.code}: {asked.reason}")
    if question.input_digest is not None and verified.is_about_input(question.input_digest):
        print("  + the request was about the given input")
    for line in report.proven(verified):
        print(f"  + {line}")
    for line in report.not_proven(verified):
        print(f"  - not proven: {line}")
    genesis, governance_seq = verified.trust.genesis, verified.trust.governance_seq
    print(
        f"  trust root {genesis.digest.hex()}, of {genesis.created_ms} Unix ms, governance up to seq {governance_seq}"
    )
    print(f"  certificate id {verified.id.hex()}")


def _check_corpus(lines: Path, roots: Path) -> int:
    agreement = Corpus(roots).check(lines)
    for disagreement in agreement.disagreements[:_DISAGREEMENTS_SHOWN_MAX]:
        print(disagreement)
    print(
        f"{agreement.checked} certificates, {agreement.accepted} accepted, {len(agreement.disagreements)} disagreements"
    )
    return _REFUSED if agreement.disagreements or not agreement.checked else _OK


if __name__ == "__main__":
    sys.exit(main())
