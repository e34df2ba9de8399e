"""Cells run twice, as people do who changed one: the whole notebook, and each cell that does not train."""

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from clmkit.kernels import KERAS_KERNEL
from tests.kernels import keras_python, without_mirror
from tests.notebooks.test_notebooks import NOTEBOOKS, Workspace, code_cells
from tests.notebooks.test_notebooks import workspace as workspace  # a fixture
from tools.course import KERNEL

TRAINS = re.compile(r"\.train\(|\.fit\(|\btrain\(|notebook_launcher\(|find_or_train\(|clmkit train")
MEASURES = re.compile(r"perf_counter|%time|timeit|Time:|seconds\[|tracing_count")  # seconds, and counts of all so far
# Ids, and seconds: estimated, and as Keras and the live chart print them.
NUMBERED = re.compile(
    r"0x[0-9a-f]+|model_id='\w+'|Time: .*|[\d,]+ tokens/s, [\d,]+ s in all|\b\d+m?s(?:/epoch|/step)?(?= -|$)", re.M
)
LIGHT = {"01_login", "02_load_eli5", "03_flatten", "04_tokenize"}
PATHS = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in LIGHT else [pytest.mark.long, pytest.mark.timeout(1800)])
    for path in NOTEBOOKS
]


def run(path: Path, workspace: Workspace, cells: Sequence[nbformat.NotebookNode], folder: Path) -> None:
    """Run cells in a new kernel, in place."""
    notebook = nbformat.read(path, as_version=4)
    if notebook.metadata.kernelspec.name == KERAS_KERNEL:
        keras_python()
    notebook.cells = list(cells)
    client = NotebookClient(notebook, timeout=600, config=KERNEL, resources={"metadata": {"path": str(folder)}})
    without_mirror(client).execute()


def again(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata)


def said(cell: nbformat.NotebookNode) -> list[str]:
    """The lines that a cell prints and returns, sorted, as processes print in any order; bars and logs on stderr are no
    part of it."""
    texts = [
        output.text if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
        if output.get("name") != "stderr"
    ]
    return sorted(NUMBERED.sub("#", "".join(texts)).splitlines())


@pytest.mark.parametrize("path", PATHS)
def test_run_twice_from_the_top_a_notebook_says_the_same(path: Path, workspace: Workspace, tmp_path: Path) -> None:
    first = code_cells(nbformat.read(workspace.folder / path.name, as_version=4))
    second = [again(cell) for cell in first]
    run(path, workspace, [*first, *second], tmp_path)
    for one, two in zip(first, second, strict=True):
        if "find_or_train(" in one.source:
            found = "Using the tuned model that is in "
            assert any(line.startswith(found) for line in said(two)), said(two)
        elif not MEASURES.search(one.source):
            assert said(two) == said(one), one.source


@pytest.mark.parametrize("path", PATHS)
def test_a_cell_that_does_not_train_says_the_same_twice_in_a_row(
    path: Path, workspace: Workspace, tmp_path: Path
) -> None:
    cells = code_cells(nbformat.read(workspace.folder / path.name, as_version=4))
    pairs = [[cell] if TRAINS.search(cell.source) else [cell, again(cell)] for cell in cells]
    run(path, workspace, [cell for pair in pairs for cell in pair], tmp_path)
    assert any(len(pair) == 2 for pair in pairs)
    for one, *two in pairs:
        if two and not MEASURES.search(one.source):
            assert said(two[0]) == said(one), one.source
