"""Every committed notebook was run in order, holds its outputs and nothing private, and still gives the same."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from clmkit.course import HEADLESS

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of all notebooks in one folder, so that what 06a saves 07a finds, and the repository stays clean."""
    folder = tmp_path_factory.mktemp("notebooks")
    for path in NOTEBOOKS:
        shutil.copy(path, folder)
    return folder


def test_the_course_has_its_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_login",
        "02_load_eli5",
        "03_flatten",
        "04_tokenize",
        "05_chunk",
        "06a_train_pytorch",
        "07a_infer_pytorch",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_was_run_in_order_from_a_fresh_kernel(path: Path) -> None:
    # nbval never compares a cell without an execution count, so a stripped notebook would pass whatever it did.
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) // 2
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_no_machine_path_token_or_widget_state(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert "widgets" not in notebook["metadata"]
    assert not re.search(r"/(root|home|Users|tmp|work|mnt)/|[A-Z]:\\\\Users", text)
    assert not re.search(r"hf_[A-Za-z]{20,}", text)
    assert '"name": "stderr"' not in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_short_explained_and_described(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 15, cell.source
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert output.metadata["image/png"]["alt"], cell.source
    assert notebook.cells[0].source.startswith("# ")
    assert "## Summary" in notebook.cells[-1].source
    assert sum("result" in cell.metadata.get("tags", []) for cell in code_cells(notebook)) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badge_and_install_line_name_the_project_s_own_address(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    colab = REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github")
    assert f"({colab}/blob/main/notebooks/{path.name})" in notebook.cells[0].source
    setup = code_cells(notebook)[0].source
    assert f'%pip install --quiet "clmkit[torch] @ git+{REPOSITORY}"' in setup


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_local_links_lead_to_files(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", prose) if not target.startswith("http")]
    assert all((path.parent / target).is_file() for target in targets), targets


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_numbers_said_to_be_on_this_page_are(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    shown = " ".join(str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in outputs)
    for sentence in re.findall(r"[^.:]*\bon this page\b.*?\.(?=\s|$)", prose, flags=re.IGNORECASE):
        for number in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?!\d| %)", sentence):
            assert re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d]|,\d|\.\d)", shown), f"{number}: {sentence}"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_gives_what_it_shows(path: Path, workspace: Path) -> None:
    environment = os.environ | HEADLESS | {"CLMKIT_TRACK": "quick"}
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*command, path.name], cwd=workspace, env=environment, capture_output=True, text=True, check=False
    )
    cells = len(code_cells(nbformat.read(path, as_version=4)))
    assert run.returncode == 0, run.stdout[-6000:]
    assert f"{cells} passed" in run.stdout
