"""The command: verdicts, words, exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List

import pytest

from conftest import TESTDATA, vector
from dropbear_certificates.cli import main

IMAGE = bytes.fromhex(json.loads((TESTDATA / "requests.json").read_text())["input"]["data"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("example", "client-signed", "chain-apart", "gateway-minted", "plurality-no-agreement"):
        (tmp_path / name).write_bytes(bytes.fromhex(vector(name)["certificate"]))
    (tmp_path / "chain").write_bytes(bytes.fromhex(vector("chain-apart")["chain"]))
    (tmp_path / "image").write_bytes(IMAGE)
    (tmp_path / "other").write_bytes(b"another photo")
    return tmp_path


def trust(name: str = "example") -> List[str]:
    return ["--trust", str(TESTDATA / vector(name)["trust"])]


def test_a_verified_certificate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "example"), *trust()]) == 0
    said = capsys.readouterr().out
    assert "VERIFIED" in said
    assert "3 of 4 members attested it (quorum 3): coordinator-1, coordinator-2, coordinator-3" in said
    assert "agreed at level robust by plurality among 4 owners" in said
    assert "result: class 285" in said
    assert "not proven: that the named weights computed the votes" in said


def test_a_refused_certificate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "damaged").write_bytes((folder / "example").read_bytes()[:-1])
    assert main([str(folder / "example"), str(folder / "damaged"), *trust()]) == 1
    said = capsys.readouterr().out
    assert "damaged: REFUSED, malformed" in said
    assert "1 of 2 verified" in said


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "example"), *trust(), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    expect = vector("example")["expect"]
    shared = set(expect) - {"receipts"}
    assert {key: said[key] for key in shared} == {key: expect[key] for key in shared}
    (folder / "damaged").write_bytes(b"")
    assert main([str(folder / "damaged"), *trust(), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["code"], said["fault"]) == (False, "malformed", "bearer")


@pytest.mark.parametrize(
    ("certificate", "question", "codes"),
    [
        ("client-signed", ["--image", "image"], []),
        ("client-signed", ["--image", "other"], ["other-image"]),
        ("client-signed", ["--image", "image", "--input-name", "x"], ["other-image"]),
        ("example", ["--image", "image"], ["request-hidden"]),
        ("example", ["--label", "285"], []),
        ("example", ["--label", "class 285"], []),
        ("example", ["--label", "286"], ["other-label"]),
        ("client-signed", ["--label", "285"], ["votes-hidden"]),
        ("client-signed", ["--label", "None"], ["votes-hidden"]),
        ("client-signed", ["--label", "None", "--image", "other"], ["other-image", "votes-hidden"]),
        ("plurality-no-agreement", ["--label", "2"], ["no-agreement"]),
    ],
)
def test_questions(
    folder: Path,
    certificate: str,
    question: List[str],
    codes: List[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main([certificate, *trust(certificate), *question, "--json"]) == bool(codes)
    assert [asked["code"] for asked in json.loads(capsys.readouterr().out)["unmet"]] == codes
    assert main([certificate, *trust(certificate), *question]) == bool(codes)
    assert all(f"! {code}: " in capsys.readouterr().out for code in codes[:1])


def test_a_chain_file_and_a_folder(folder: Path) -> None:
    certificate = str(folder / "chain-apart")
    assert main([certificate, *trust("chain-apart")]) == 1
    assert main([certificate, *trust("chain-apart"), "--chain", str(folder / "chain")]) == 0
    inside = folder / "certificates"
    inside.mkdir()
    (folder / "example").rename(inside / "example")
    assert main([str(inside), *trust()]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["example"],
        ["absent", *trust()],
        ["example", "--trust", "absent"],
        ["example", "--trust", "image"],
        ["example", *trust(), "--chain", "image"],
        ["--corpus", "absent"],
        ["--corpus", "image"],
        ["--nonsense"],
    ],
)
def test_questions_that_cannot_be_asked(folder: Path, arguments: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_a_gateway_minted_request_promises_less(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "gateway-minted"), *trust("gateway-minted")]) == 0
    assert "the gateway did not ask before under another nonce" in capsys.readouterr().out
