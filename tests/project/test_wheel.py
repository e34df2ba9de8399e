"""The wheel, installed elsewhere, runs a notebook from an empty folder, as in Colab: no repository around."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from clmkit.course import HEADLESS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
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


def test_the_wheel_holds_the_sample_the_model_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("eli5_sample.jsonl", "README.md", "tiny_gpt2/model.safetensors", "tiny_gpt2/merges.txt"):
        assert f"clmkit/bundled/{wanted}" in names
    assert "clmkit/locale/ar/LC_MESSAGES/clmkit.mo" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "notebooks"))]


@pytest.mark.timeout(1200)
def test_notebooks_run_alone_from_an_empty_folder_on_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    notebooks = ["05_chunk.ipynb", "07a_infer_pytorch.ipynb"]  # 07a has to train its model first here
    for name in notebooks:
        shutil.copy(ROOT / "notebooks" / name, folder)
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
    pytest_nbval = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-cell-timeout=600",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    run = subprocess.run(
        [*pytest_nbval, *notebooks],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
