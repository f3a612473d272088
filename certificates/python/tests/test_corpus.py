"""Agreement with the Rust verifier on seeded mutations of valid certificates."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conftest import TESTDATA, vector
from dropbear_certificates.cli import main
from dropbear_certificates.corpus import Corpus

MUTATIONS = Path(os.environ.get("DROPBEAR_MUTATIONS", TESTDATA.parents[1] / "target" / "mutations.jsonl"))
MUTATIONS_MIN = 10_000


@pytest.mark.skipif(
    not MUTATIONS.exists(),
    reason=f"{MUTATIONS} is absent: cargo run -p dropbear-certificates --example mutations -- 10000 > FILE",
)
def test_agrees_on_mutations() -> None:
    agreement = Corpus(TESTDATA).check(MUTATIONS)
    assert agreement.disagreements == []
    assert agreement.checked >= MUTATIONS_MIN
    assert 0 < agreement.accepted < agreement.checked


def test_a_disagreement_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = {key: vector("example")[key] for key in ("trust", "certificate")}
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({**line, "expect": {"ok": True}}) + "\n")
    assert main(["--corpus", str(corpus), "--roots", str(TESTDATA)]) == 0
    assert capsys.readouterr().out == "1 certificates, 1 accepted, 0 disagreements\n"
    corpus.write_text(json.dumps({**line, "expect": {"ok": False, "code": "malformed"}}) + "\n")
    assert main(["--corpus", str(corpus), "--roots", str(TESTDATA)]) == 1
    assert "line 1: expected" in capsys.readouterr().out


def test_an_empty_corpus_is_no_agreement(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("")
    assert main(["--corpus", str(tmp_path / "corpus.jsonl"), "--roots", str(TESTDATA)]) == 1
