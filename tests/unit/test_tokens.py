"""A token that ends up in a file, a log or an output of the tests is found; where a login keeps it, it may stand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels import ROOT
from tests.tokens import USED, untold

CONFTEST = """\
from tests.isolation import _temporary_cache
from tests.tokens import _no_token_is_written, pytest_runtest_makereport
"""
TESTS = """\
import logging
from tests.tokens import remember

token = remember("hf_" + "ab" * 17)

def test_printed():
    print("with", token)

def test_logged():
    logging.getLogger("hub").warning("with %s", token)

def test_of_a_login(tmp_path):
    (tmp_path / "token").write_text(token)

def test_removed(tmp_path):
    (tmp_path / "removed.log").write_text(token)
    (tmp_path / "removed.log").unlink()

def test_written(tmp_path):
    (tmp_path / "train.log").write_text("Bearer " + token + "\\n")
"""


def test_a_token_that_is_told_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_one.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temp")]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 failed, 3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    for name, where in (("printed", "stdout"), ("logged", "log")):
        assert f"test_{name} ___" in done.stdout
        assert f"\nCaptured {where} call: a token that a test used\n" in done.stdout
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("E   ") and "stands in" in line]
    assert said.endswith("/train.log")
    assert said.count(".log") == 1


def test_what_a_process_prints_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.tokens.USED", {*USED, "hf_ofThisTestAlone"})
    assert untold(subprocess.CompletedProcess([], 0, "hf_other\n", "")).stdout == "hf_other\n"
    with pytest.raises(AssertionError, match="printed a token"):
        untold(subprocess.CompletedProcess([], 0, "", "401 for Bearer hf_ofThisTestAlone"))
