"""The wheel holds all that the quick track takes; tests/hub/test_full_track.py runs every notebook on it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.kernels import ROOT
from tools.course import HEADLESS


def test_the_wheel_holds_the_sample_the_model_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("eli5_sample.jsonl", "README.md", "tiny_gpt2/model.safetensors", "tiny_gpt2/merges.txt"):
        assert f"clmkit/bundled/{wanted}" in names
    assert "clmkit/locale/ar/LC_MESSAGES/clmkit.mo" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "notebooks"))]


def test_a_notebook_runs_alone_from_an_empty_folder_on_the_installed_wheel_and_gives_what_it_shows(
    wheel: Path, tmp_path: Path
) -> None:
    site, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    shutil.copy(ROOT / "notebooks" / "05_chunk.ipynb", folder)
    # The folder with the wheel's contents comes first on the path, before the repository's own editable install.
    environment = os.environ | HEADLESS | {"CLMKIT_TRACK": "quick", "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import clmkit; print(clmkit.__file__)"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    nbval = [sys.executable, "-m", "pytest", "--nbval", "--nbval-cell-timeout=600", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*nbval, "05_chunk.ipynb"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
