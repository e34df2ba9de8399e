"""clmkit as it is published: the wheel that pip builds from the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels import ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy, so that setuptools leaves no build folder in the repository.
    source = tmp_path_factory.mktemp("source") / "clmkit"
    shutil.copytree(ROOT / "clmkit", source / "clmkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    output = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = output.glob("*.whl")
    return path
