"""Every committed notebook was run in order, holds its outputs and nothing private, and still gives the same."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from transformers import AutoModelForCausalLM, AutoTokenizer

from clmkit.course import HEADLESS, KERNEL
from clmkit.evaluation import score
from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from clmkit.tracks import choose_track
from clmkit.training.shared import TRAINED_BY, prepare_blocks, tuned_models
from tests.kernels import keras_python
from tests.notebooks.addresses import PAGES, REPOSITORY, with_addresses

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


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
        "06b_train_keras",
        "06c_train_keras_hub",
        "07a_infer_pytorch",
        "07b_infer_keras",
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
    extra = {"06b_train_keras": "keras", "06c_train_keras_hub": "torch,keras-hub", "07b_infer_keras": "keras"}
    assert f'%pip install --quiet "clmkit[{extra.get(path.stem, "torch")}] @ git+{REPOSITORY}"' in setup


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_badge_and_install_line_are_written_from_one_place(page: Path) -> None:
    text, path = page.read_text(encoding="utf-8"), page.relative_to(ROOT)
    assert with_addresses(text, path) == text, "make addresses"
    moved = with_addresses(text, path, "https://github.com/someone/else")
    assert moved.count("/someone/else") >= (2 if page.suffix == ".ipynb" else 1)
    assert REPOSITORY not in moved
    assert f"/github/{REPOSITORY.removeprefix('https://github.com/')}" not in moved
    assert with_addresses(moved, path) == text


COLAB = """
import sys
from IPython.core.interactiveshell import InteractiveShell

sys.modules["clmkit"] = None  # as in Colab: it is not installed yet
shell = InteractiveShell()
shell.register_magic_function(lambda line: print("pip", line), "line", "pip")
shell.run_cell(sys.argv[1].split("from clmkit.kernels")[0])
"""


def test_in_colab_the_keras_notebooks_keep_the_tensorflow_that_is_there() -> None:
    python = keras_python()
    has = subprocess.run(
        [python, "-c", "from importlib.metadata import version as v; print(v('tensorflow'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.rsplit(".", 1)[0]
    for name in ("06b_train_keras", "07b_infer_keras"):
        setup = code_cells(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4))[0].source
        run = subprocess.run([python, "-c", COLAB, setup], capture_output=True, text=True, check=True)
        (line,) = [line for line in run.stdout.splitlines() if line.startswith("pip")]
        assert f'"tensorflow=={has}.*" "tf-keras=={has}.*"' in line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_first_cell_checks_the_kernel_that_the_notebook_names(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    kernel = "keras" if notebook.metadata.kernelspec.name == KERAS_KERNEL else "main"
    assert kernel == ("keras" if path.stem in ("06b_train_keras", "07b_infer_keras") else "main")
    assert notebook.metadata.kernelspec.display_name == KERNEL_NAMES[kernel]
    assert code_cells(notebook)[0].source.endswith(f'use_kernel("{kernel}")')


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_on_the_wrong_kernel_the_first_cell_says_which_one_to_choose(path: Path, tmp_path: Path) -> None:
    keras_python()
    notebook = nbformat.read(path, as_version=4)
    right = notebook.metadata.kernelspec
    wrong = "python3" if right.name == KERAS_KERNEL else KERAS_KERNEL
    first = nbformat.v4.new_notebook(
        cells=[code_cells(notebook)[0]], metadata={"kernelspec": {"name": wrong, "display_name": wrong}}
    )
    resources = {"metadata": {"path": str(tmp_path)}}
    with pytest.raises(CellExecutionError, match=rf"RuntimeError.*{re.escape(right.display_name)}"):
        NotebookClient(first, timeout=120, config=KERNEL, resources=resources).execute()


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


def run_nbval(path: Path, folder: Path) -> None:
    environment = os.environ | HEADLESS | {"CLMKIT_TRACK": "quick"}
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*command, path.name], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    cells = len(code_cells(nbformat.read(path, as_version=4)))
    assert run.returncode == 0, run.stdout[-6000:]
    assert f"{cells} passed" in run.stdout


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_gives_what_it_shows(path: Path, workspace: Path) -> None:
    if nbformat.read(path, as_version=4).metadata.kernelspec.name == KERAS_KERNEL:
        keras_python()
    run_nbval(path, workspace)


@pytest.mark.timeout(2400)
def test_the_three_frameworks_tune_the_model_equally_well(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras_python()
    monkeypatch.chdir(workspace)
    track = choose_track("quick")
    for framework, notebook in TRAINED_BY.items():
        if framework not in tuned_models(track):  # where this test runs alone
            run_nbval(ROOT / "notebooks" / f"{notebook}.ipynb", workspace)
    folders = tuned_models(track)
    blocks = prepare_blocks(track, AutoTokenizer.from_pretrained(folders["pytorch"]))["test"]
    tuned = {
        name: score(AutoModelForCausalLM.from_pretrained(path), blocks).perplexity for name, path in folders.items()
    }
    assert set(tuned) == set(TRAINED_BY)
    assert max(tuned.values()) <= 1.03 * min(tuned.values()), tuned
