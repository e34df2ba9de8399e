"""The exercises at the end of every notebook, derived from one source, so that task and solution can't drift apart.

The source is ``notebooks/.course/exercises/NAME.md``, three or four times:

    ## Title of the exercise

    The question: a few lines of prose.

    ```python
    blocks = chunk(documents, «32»)
    print(len(blocks["train"]))
    ```

    A reading of what the solution prints.

Between « and » stands what the learner is to find. It may be a value or whole lines; the starting code has ``...`` in
its place. Without any mark there is no starting code. The code runs after the notebook's last cell, in the notebook's
own kernel, in order, so it may use the notebook's variables; what it prints is kept. A solution whose output depends on
the machine, on time or on training is marked by ``varies`` after ``python``; it checks itself, by assertions.

    python -m tests.notebooks.exercises [NAME ...]

runs notebooks with their solutions, and writes anew nothing but the exercises. ``tests.notebooks.execute`` writes all.
"""

import copy
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient

from tools.course import HEADLESS, KERNEL

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CODE = re.compile(r"^```python( varies)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARKED = re.compile(r"«(.*?)»", re.DOTALL)
OUTPUT = re.compile(r"^```text\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
HEADING = (
    "## Exercises\n\nWrite each one into a new cell below it. Where there is code to start from, put your own in place "
    "of the `...`. The solutions are folded; they run after the last cell of this notebook, in order."
)


class Exercise(NamedTuple):
    """One exercise of a source."""

    title: str
    question: str
    marked: str  # the code, with its marks
    varies: bool
    reading: str

    @property
    def parts(self) -> list[str]:
        """What the learner is to find, in order."""
        return MARKED.findall(self.marked)

    @property
    def solution(self) -> str:
        """The code that is run."""
        return MARKED.sub(r"\1", self.marked)

    @property
    def start(self) -> str:
        """The code that the learner starts from; empty where nothing is marked."""
        return MARKED.sub("...", self.marked) if self.parts else ""


def read_exercises(name: str) -> list[Exercise]:
    """The exercises of a notebook.

    Raises:
        FileNotFoundError: If it has no source.
        ValueError: If one has no question, no reading, or not exactly one block of code.
    """
    path = NOTEBOOKS / ".course" / "exercises" / f"{name}.md"
    _, *sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    exercises = []
    for section in sections:
        title, body = section.split("\n", 1)
        question, *found = CODE.split(body)
        if len(found) != 3 or not question.strip() or not found[2].strip():
            raise ValueError(f"{path.name}, {title!r}: an exercise is a question, one block of code, and a reading")
        varies, code, reading = found
        exercises.append(Exercise(title.strip(), question.strip(), code.strip(), bool(varies), reading.strip()))
    return exercises


def derive_cell(number: int, exercise: Exercise, output: str) -> nbformat.NotebookNode:
    """The Markdown cell of an exercise: question, starting code, and folded solution, output and reading."""
    start = f"```python\n{exercise.start}\n```\n\n" if exercise.start else ""
    source = (
        f"### {number}. {exercise.title}\n\n{exercise.question}\n\n{start}<details>\n<summary>Solution</summary>\n\n"
        f"```python\n{exercise.solution}\n```\n\nIt prints:\n\n```text\n{output}\n```\n\n"
        f"{exercise.reading}\n\n</details>"
    )
    return nbformat.v4.new_markdown_cell(source, id=f"exercise-{number}")


def derive_cells(name: str, outputs: list[str]) -> list[nbformat.NotebookNode]:
    """All cells after a notebook's summary, from its source and what its solutions printed."""
    cells = [
        derive_cell(number, exercise, output)
        for number, (exercise, output) in enumerate(zip(read_exercises(name), outputs, strict=True), start=1)
    ]
    return [nbformat.v4.new_markdown_cell(HEADING, id="exercises"), *cells]


def lesson_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells up to the summary."""
    return notebook.cells[: len(notebook.cells) - len(exercise_cells(notebook))]


def exercise_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells after the summary: the heading, and one for each exercise."""
    ids = [cell.id for cell in notebook.cells]
    return notebook.cells[ids.index("exercises") :] if "exercises" in ids else []


def stored_outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """What the solutions printed when the exercises were written."""
    return [OUTPUT.findall(cell.source)[-1] for cell in exercise_cells(notebook)[1:]]


def with_solutions(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The notebook with its solutions as code cells in place of its exercises, with what they printed."""
    exercises, stored = read_exercises(name), stored_outputs(notebook)
    notebook = copy.deepcopy(notebook)
    notebook.cells = cells = lesson_cells(notebook)
    for number, exercise in enumerate(exercises):
        texts = stored[number : number + 1]
        cells.append(
            nbformat.v4.new_code_cell(
                exercise.solution,
                id=f"solution-{number + 1}",
                execution_count=sum(cell.cell_type == "code" for cell in cells) + 1,
                metadata={"tags": ["nbval-ignore-output"] if exercise.varies else []},
                outputs=[nbformat.v4.new_output("stream", name="stdout", text=text + "\n") for text in texts],
            )
        )
    return notebook


def printed(cell: nbformat.NotebookNode) -> str:
    """What a solution printed.

    Raises:
        ValueError: If it printed nothing, or a warning.
    """
    texts = {"stdout": "", "stderr": ""}
    for output in cell.outputs:
        if output.output_type == "stream":
            texts[output.name] += output.text
    if texts["stderr"] or not texts["stdout"]:
        raise ValueError(f"a solution must print a result, and no warnings, not {texts}:\n{cell.source}")
    return texts["stdout"].rstrip("\n")


def run(notebook: nbformat.NotebookNode, name: str, folder: str) -> nbformat.NotebookNode:
    """Execute a notebook and its solutions in one kernel; the exercises of the result are derived from them."""
    executed = with_solutions(notebook, name)
    NotebookClient(executed, timeout=600, config=KERNEL, resources={"metadata": {"path": folder}}).execute()
    count = len(read_exercises(name))
    outputs = [printed(cell) for cell in executed.cells[-count:]]
    executed.cells[-count:] = derive_cells(name, outputs)
    return executed


def run_headless() -> None:
    """Let the kernels that are started from here run the quick track in English, with no widgets and no login."""
    os.environ.update(HEADLESS, CLMKIT_TRACK="quick")
    for choice in ("HF_TOKEN", "CLMKIT_LANG"):
        os.environ.pop(choice, None)


def main(names: list[str]) -> None:
    run_headless()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
            if names and path.stem not in names:
                continue
            notebook = nbformat.read(path, as_version=4)
            exercises = exercise_cells(run(notebook, path.stem, folder))
            notebook.cells = [*lesson_cells(notebook), *exercises]
            nbformat.write(notebook, path)
            print(path.name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
