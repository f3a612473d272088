"""The package as people get it: installed into an empty environment."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path
from typing import List

import pytest

from conftest import TESTDATA, vector

PACKAGE = Path(__file__).resolve().parents[1]


@pytest.mark.skipif("DROPBEAR_NO_INSTALL" in os.environ, reason="DROPBEAR_NO_INSTALL is set")
def test_installs_into_an_empty_environment(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([scripts / "python", "-m", "pip", "install", "--quiet", str(PACKAGE)], check=True)
    chosen = vector("example")
    (tmp_path / "certificate").write_bytes(bytes.fromhex(chosen["certificate"]))
    command: List[str] = [str(scripts / "dropbear-verify"), "certificate", "--trust", str(TESTDATA / chosen["trust"])]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "certificate: VERIFIED" in ran.stdout
    typed = "import dropbear_certificates as d, pathlib; print((pathlib.Path(d.__file__).parent / 'py.typed').exists())"
    ran = subprocess.run([scripts / "python", "-c", typed], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
