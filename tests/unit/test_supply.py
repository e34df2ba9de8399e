"""The audit's report, read; and what the locks' hashes are for: a file that was altered is not installed."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tools.lock import entries, without_torch
from tools.supply import FOUND, NOTHING_KNOWN, describe_audit

UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}
SOUND = {"name": "tqdm", "version": "4.67.0", "vulns": []}
HURT = {
    "name": "jinja2",
    "version": "3.1.5",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["3.1.6", "3.2"], "aliases": [], "description": ""},
        {"id": "PYSEC-2", "fix_versions": [], "aliases": [], "description": ""},
    ],
}


@pytest.mark.parametrize(
    ("packages", "lines", "status"),
    [
        ([SOUND, SOUND], ["main: 0 known vulnerabilities in 2 packages"], 0),
        ([SOUND, UNKNOWN], ["main: 0 known vulnerabilities in 1 packages; nothing is known of 1 more"], 0),
        (
            [HURT, SOUND],
            [
                "main: jinja2 3.1.5: PYSEC-1, mended in 3.1.6, 3.2",
                "main: jinja2 3.1.5: PYSEC-2, mended in no version yet",
                "main: 2 known vulnerabilities in 2 packages",
            ],
            FOUND,
        ),
        ([UNKNOWN, UNKNOWN], ["main: the index has no vulnerability data for any of the 2 packages"], NOTHING_KNOWN),
    ],
)
def test_a_report_becomes_lines_and_a_status(packages: list[dict[str, Any]], lines: list[str], status: int) -> None:
    assert describe_audit("main", {"dependencies": packages, "fixes": []}) == (lines, status)


COMPILED = """\
appnope==1.0.0 ; sys_platform == 'darwin' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
torch==2.13.0 \\
    --hash=sha256:cc
nvidia-cublas==13.1 ; sys_platform == 'linux' \\
    --hash=sha256:dd
triton==3.7.1 \\
    --hash=sha256:ee
wheel==0.48.0 \\
    --hash=sha256:ff
"""


def test_torch_and_its_cuda_packages_leave_a_compiled_lock_with_their_hashes() -> None:
    assert entries(without_torch(COMPILED)) == {
        "appnope==1.0.0 ; sys_platform == 'darwin'": ["sha256:aa", "sha256:bb"],
        "wheel==0.48.0": ["sha256:ff"],
    }


def write_wheel(folder: Path, code: str) -> Path:
    path, information = folder / "small-1.0-py3-none-any.whl", "small-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("small.py", code)
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    return path


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_an_altered_wheel_is_refused(installer: str, tmp_path: Path) -> None:
    honest = write_wheel(tmp_path, "honest = True\n").read_bytes()
    lock = tmp_path / "lock.txt"
    lock.write_text(f"small==1.0 \\\n    --hash=sha256:{hashlib.sha256(honest).hexdigest()}\n")
    command = [sys.executable, "-m", *(["uv", "--no-cache"] if installer == "uv" else []), "pip", "install"]
    command += ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "installed")]
    command += ["--no-deps", "--require-hashes", "--requirement", str(lock)]  # the Makefile's words

    def install() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    wheel = write_wheel(tmp_path, "honest = False\n")
    done = install()
    if "No module named uv" in done.stderr:
        pytest.skip("uv is not installed: make sbom, audit or lock gets it")
    assert done.returncode, done.stdout
    assert "hash" in done.stderr.lower()
    assert not (tmp_path / "installed" / "small.py").exists()
    wheel.write_bytes(honest)
    done = install()
    assert not done.returncode, done.stderr
    assert (tmp_path / "installed" / "small.py").read_text() == "honest = True\n"
