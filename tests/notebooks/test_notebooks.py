"""Every committed notebook was run in order, holds its outputs and nothing private, and still gives the same."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from transformers import AutoModelForCausalLM, AutoTokenizer

from clmkit.chunking import prepare_blocks
from clmkit.evaluation import score
from clmkit.hub.real_model import REAL_MODEL, stands_in_for
from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from clmkit.tracks import choose_track
from clmkit.training.tuned_models import TRAINED_BY, tuned_models
from tests.kernels import keras_python
from tests.notebooks import exercises as exercises_tool
from tests.notebooks.addresses import PAGES, REPOSITORY, with_addresses
from tests.notebooks.exercises import derive_cells, exercise_cells, read_exercises, stored_outputs, with_solutions
from tools.course import CHAT_NOTEBOOK, HEADLESS, KERNEL

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


class Workspace(NamedTuple):
    """Where the notebooks run.

    Attributes:
        folder: All of them, with their solutions: what 06a saves 07a finds, and the repository stays clean.
        site: What comes first on the path, before the repository's own editable install: the published clmkit.
    """

    folder: Path
    site: Path


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Workspace:
    folder, site = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("site")
    for path in NOTEBOOKS:
        nbformat.write(with_solutions(nbformat.read(path, as_version=4), path.stem), folder / path.name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    python = [sys.executable, "-c", "import clmkit; print(clmkit.__file__)"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = subprocess.run(python, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(site))
    return Workspace(folder, site)


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
        "08a_scale_out",
        "08b_arithmetic",
        "09_todays_models",
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
    assert sum("result" in cell.metadata.get("tags", []) for cell in code_cells(notebook)) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badge_and_install_line_name_the_project_s_own_address(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    colab = REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github")
    assert f"({colab}/blob/main/notebooks/{path.name})" in notebook.cells[0].source
    setup = code_cells(notebook)[0].source
    extra = {"06b_train_keras": "keras", "06c_train_keras_hub": "torch,keras-hub", "07b_infer_keras": "keras"}
    extra["09_todays_models"] = "torch,lora"
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
import tomllib
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
def test_a_notebook_asks_colab_for_a_gpu_where_it_uses_one(path: Path) -> None:
    metadata = nbformat.read(path, as_version=4).metadata
    asked = (
        {"accelerator": "GPU", "colab": {"gpuType": "T4"}}
        if path.stem >= "06" and path.stem != "08b_arithmetic"
        else {}
    )
    assert {key: metadata[key] for key in ("accelerator", "colab") if key in metadata} == asked


ONE_OF = {"main": NOTEBOOKS[0], "keras": ROOT / "notebooks" / "06b_train_keras.ipynb"}


def first_cell(path: Path) -> str:
    """The code of a notebook's first cell, but for the extra that it installs."""
    return re.sub(r"clmkit\[[a-z,-]+\]", "clmkit", code_cells(nbformat.read(path, as_version=4))[0].source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_first_cell_checks_the_kernel_that_the_notebook_names(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    kernel = "keras" if notebook.metadata.kernelspec.name == KERAS_KERNEL else "main"
    assert kernel == ("keras" if path.stem in ("06b_train_keras", "07b_infer_keras") else "main")
    assert notebook.metadata.kernelspec.display_name == KERNEL_NAMES[kernel]
    assert first_cell(path).endswith(f'use_kernel("{kernel}")')
    assert first_cell(path) == first_cell(ONE_OF[kernel])


@pytest.mark.parametrize("path", ONE_OF.values(), ids=ONE_OF)
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
def test_no_cell_assigns_the_output_of_a_shell_command(path: Path) -> None:
    # On Python 3.13 with IPython 7.34, which Colab has, `name = !command` is a SyntaxError.
    for cell in code_cells(nbformat.read(path, as_version=4)):
        assert not re.search(r"^\s*\w+\s*=\s*!|^\s*!", cell.source, flags=re.MULTILINE), cell.source


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
    texts = [str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in outputs]
    shown = " ".join(texts + stored_outputs(notebook))
    for sentence in re.findall(r"[^.:]*\bon this page\b.*?\.(?=\s|$)", prose, flags=re.IGNORECASE):
        for number in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?!\d| %)", sentence):
            assert re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d]|,\d|\.\d)", shown), f"{number}: {sentence}"


def test_the_texts_that_notebook_1_begins_with_are_those_of_notebook_7a() -> None:
    first, later = (
        nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4) for name in ("01_login", "07a_infer_pytorch")
    )
    printed = [output.text for cell in code_cells(first) if "generate_text" in cell.source for output in cell.outputs]
    (quoted,) = re.findall(r"^> (.+)$", "\n".join(cell.source for cell in first.cells), flags=re.MULTILINE)
    shown = [output.text for cell in code_cells(later) for output in cell.outputs if output.output_type == "stream"]
    assert f"base:  {printed[0].strip()}\ntuned: {quoted}\n" in "".join(shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_ends_with_a_short_summary_and_three_or_four_exercises(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    summary, heading, *exercises = notebook.cells[[cell.id for cell in notebook.cells].index("summary") :]
    points = [line for line in summary.source.splitlines() if line.startswith("- ")]
    assert summary.source.startswith("## Summary\n\n- ")
    assert 1 <= len(points) <= 5
    assert heading.source.startswith("## Exercises\n")
    assert [cell.id for cell in exercises] in ([f"exercise-{i}" for i in range(1, n + 1)] for n in (3, 4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_are_those_of_their_source(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = exercise_cells(notebook)
    derived = derive_cells(path.stem, stored_outputs(notebook))
    assert cells == derived, f"python -m tests.notebooks.exercises {path.stem}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercise_filled_in_is_its_solution(path: Path) -> None:
    outputs = stored_outputs(nbformat.read(path, as_version=4))
    cells = exercise_cells(nbformat.read(path, as_version=4))[1:]
    for exercise, output, cell in zip(read_exercises(path.stem), outputs, cells, strict=True):
        *start, solution = re.findall(r"```python\n(.*?)\n```", cell.source, flags=re.DOTALL)
        assert len([line for line in solution.splitlines() if line]) <= 15, solution
        assert not re.search("[«»]", cell.source)
        assert len(start) == bool(exercise.parts)
        for unfilled in start:
            assert unfilled != solution
            ast.parse(unfilled)  # it is Python as it stands
            filled = reduce(lambda code, part: code.replace("...", part, 1), exercise.parts, unfilled)
            assert filled == solution
        if exercise.varies:
            assert "assert " in solution, f"{exercise.title}: its output is not compared, so it must check itself"
        claims = re.sub(r"`[^`]*`|[Nn]otebooks? \d+[abc]?|\]\([^)]*\)", "", exercise.reading)
        for number in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", claims):
            said = exercise.question + solution + output
            assert re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d]|,\d|\.\d)", said), f"{exercise.title}: {number}"


BLOCK = "```python\nprint(1)\n```\n\n"


@pytest.mark.parametrize("body", ["Q.\n\nA.", f"Q.\n\n{BLOCK}", f"{BLOCK}A.", f"Q.\n\n{BLOCK}And\n\n{BLOCK}A."])
def test_a_source_without_question_code_or_reading_is_refused(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exercises_tool, "NOTEBOOKS", tmp_path)
    (tmp_path / ".course" / "exercises").mkdir(parents=True)
    (tmp_path / ".course" / "exercises" / "09_new.md").write_text(f"## Odd\n\n{body}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"09_new\.md, 'Odd'.*one block of code"):
        read_exercises("09_new")


def test_solutions_are_formatted_and_checked_like_other_code(workspace: Workspace) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    ignored = ",".join(settings["per-file-ignores"]["notebooks/**"])
    where = ["--config", str(ROOT / "pyproject.toml"), str(workspace.folder)]
    for command in (["format", "--check"], ["check", "--extend-ignore", ignored]):
        command = [sys.executable, "-m", "ruff", *command, *where]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout


def run_nbval(path: Path, workspace: Workspace) -> None:
    environment = os.environ | HEADLESS | {"CLMKIT_TRACK": "quick", "PYTHONPATH": str(workspace.site)}
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*command, path.name], cwd=workspace.folder, env=environment, capture_output=True, text=True, check=False
    )
    cells = len(code_cells(nbformat.read(workspace.folder / path.name, as_version=4)))
    assert run.returncode == 0, run.stdout[-6000:]
    assert f"{cells} passed" in run.stdout


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_on_the_installed_wheel_and_gives_what_it_shows(path: Path, workspace: Workspace) -> None:
    if nbformat.read(path, as_version=4).metadata.kernelspec.name == KERAS_KERNEL:
        keras_python()
    if path.stem == CHAT_NOTEBOOK and stands_in_for(REAL_MODEL) is None:
        pytest.skip("no real model, and no Hub in the tests: make real-model")
    run_nbval(path, workspace)


@pytest.mark.timeout(2400)
def test_the_three_frameworks_tune_the_model_equally_well(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras_python()
    monkeypatch.chdir(workspace.folder)
    track = choose_track("quick")
    for framework, notebook in TRAINED_BY.items():
        if framework not in tuned_models(track):  # where this test runs alone
            run_nbval(ROOT / "notebooks" / f"{notebook}.ipynb", workspace)
    folders = tuned_models(track)
    blocks = prepare_blocks(track, AutoTokenizer.from_pretrained(folders["pytorch"]))["test"]
    before = score(AutoModelForCausalLM.from_pretrained(track.model), blocks).perplexity
    tuned = {
        name: score(AutoModelForCausalLM.from_pretrained(path), blocks).perplexity for name, path in folders.items()
    }
    assert set(tuned) == set(TRAINED_BY)
    assert max(tuned.values()) <= 1.03 * min(tuned.values()), tuned
    assert max(tuned.values()) <= 0.7 * before, f"{before} before: {tuned}"
