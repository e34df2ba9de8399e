"""Run every notebook of the course in order, and show what each one found.

python -m tools.course
"""

import argparse
import html
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from tqdm import tqdm
from traitlets.config import Config

from clmkit.hub.download import MODEL_FILES, NEEDED_FILES, cached_folder
from clmkit.hub.login import hub_problem
from clmkit.hub.real_model import real_model_folder, stands_in_for
from clmkit.kernels import KERAS_KERNEL
from clmkit.messages import ENGLISH, _, html_direction, language
from clmkit.tracks import CHAT_MODELS

# Set before a kernel starts: a run that nobody watches draws no progress bars and no controls into its notebooks.
HEADLESS = {
    "CLMKIT_WIDGETS": "0",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

CHAT_NOTEBOOK = "09_todays_models"  # its model does not come with the course

# Encrypts what passes between the runner and a kernel, which would otherwise print a warning that it is not.
KERNEL = Config(KernelManager={"transport_encryption": "auto"}) if zmq.has("curve") else Config()


def notebook_folder() -> Path:
    """Where the notebooks are, from the course's folder, in the language of ``CLMKIT_LANG``."""
    return Path("notebooks") if language() == ENGLISH else Path("notebooks", language())


class NotebookResult(NamedTuple):
    """What one notebook of the course took and showed."""

    name: str
    seconds: float
    showed: str


def run_course(notebooks: Path, output: Path, *, keras: bool = True) -> list[NotebookResult]:
    """Execute the notebooks of a folder in the order of their names, each in a fresh kernel of the kind that it names.

    Args:
        notebooks: The folder to read them from; it is not written to.
        output: The folder for the executed copies, the same as HTML pages, and an ``index.html`` that opens them. It
            is also the notebooks' working folder, so what one saves the next one finds.
        keras: Whether to run the notebooks of the Keras kernel too.

    Returns:
        One result a notebook.

    Raises:
        FileNotFoundError: If there are no notebooks in the folder.
        RuntimeError: If a kernel is not there, or a notebook fails; the message has its name, the cell and the error.
            What was executed is kept.
    """
    kernels = {path: _kernel(path) for path in sorted(notebooks.glob("[0-9]*.ipynb"))}
    if not kernels:
        raise FileNotFoundError(f"no numbered notebooks in {notebooks.resolve()}: run this in the course's folder")
    paths = [path for path, kernel in kernels.items() if keras or kernel != KERAS_KERNEL]
    if missing := {kernels[path] for path in paths} - set(KernelSpecManager().find_kernel_specs()):
        raise RuntimeError(
            f"Jupyter has no kernel {', '.join(sorted(missing))}: make setup, or leave out the notebooks of the "
            "Keras kernel (make course KERAS=0, python -m tools.course --no-keras)"
        )
    output.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CLMKIT_TRACK", "quick")
    if "CLMKIT_REAL_MODEL" in os.environ:  # the notebooks work in another folder
        os.environ["CLMKIT_REAL_MODEL"] = str(real_model_folder().absolute())
    os.environ.update(HEADLESS)
    results = []
    for path in paths:
        results.append(_run_notebook(path, output))
        print(f"{results[-1].name}: {results[-1].seconds:.0f} s", flush=True)
        _write_index(results, output)
    return results


def _kernel(path: Path) -> str:
    return str(nbformat.read(path, as_version=4).metadata.get("kernelspec", {}).get("name", "python3"))


def _left_out(path: Path) -> str:
    """Why a notebook is not run: the one whose model can't be had here; empty for all others."""
    name = CHAT_MODELS["full" if os.environ["CLMKIT_TRACK"] == "full" else "quick"]
    if path.stem != CHAT_NOTEBOOK or stands_in_for(name) or cached_folder(name, MODEL_FILES, required=NEEDED_FILES):
        return ""
    problem = hub_problem()
    return _("left out: {problem}. To get its model: make real-model", problem=problem) if problem else ""


def _run_notebook(path: Path, output: Path) -> NotebookResult:
    notebook = nbformat.read(path, as_version=4)
    left_out = _left_out(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # or a run that fails would keep an earlier run's results after the failure
            cell.outputs, cell.execution_count = [], None
    reached = 0

    def on_cell_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal reached
        reached = cell_index + 1
        bar.update(cell_index - bar.n)

    start = time.perf_counter()
    with tqdm(
        total=len(notebook.cells), desc=path.stem, unit="cell", leave=False, disable=not sys.stderr.isatty()
    ) as bar:
        client = NotebookClient(
            notebook,
            config=KERNEL,
            timeout=None if os.environ["CLMKIT_TRACK"] == "full" else 600,
            resources={"metadata": {"path": str(output)}},
            on_cell_start=on_cell_start,
        )
        try:
            if not left_out:
                client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
            raise RuntimeError(f"{path.name} failed in cell {reached} of {len(notebook.cells)}:\n{plain}") from error
        finally:
            seconds = time.perf_counter() - start
            CoalesceStreamsPreprocessor().preprocess(notebook, {})  # what several processes print comes in pieces
            nbformat.write(notebook, output / path.name)
    page = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": path.stem}})[0]
    (output / path.name).with_suffix(".html").write_text(page, encoding="utf-8")
    return NotebookResult(path.stem, seconds, left_out or _what_it_showed(notebook))


def _what_it_showed(notebook: nbformat.NotebookNode) -> str:
    """The printed text of the cells that are tagged ``result``."""
    tagged = [cell for cell in notebook.cells if "result" in cell.metadata.get("tags", [])]
    texts = [out.text.strip() for cell in tagged for out in cell.outputs if out.get("name") == "stdout"]
    return "\n".join(texts)


def format_table(results: list[NotebookResult]) -> str:
    """The results as a plain text table, one notebook a block."""
    width = max(len(result.name) for result in results)
    lines = []
    for result in results:
        first, *rest = result.showed.splitlines() or [""]
        lines.append(f"{result.name:{width}}  {result.seconds:5.0f} s  {first}")
        lines += [" " * (width + 11) + line for line in rest]
    lines.append(f"{'all':{width}}  {sum(result.seconds for result in results):5.0f} s")
    return "\n".join(lines)


def _write_index(results: list[NotebookResult], output: Path) -> None:
    title = _("Causal language modeling: the course, executed")
    file = _("notebook")
    titles = (_("page"), _("took"), _("what it showed"), _("file"))
    head = "".join(f"<th>{name}</th>" for name in titles)
    rows = "\n".join(
        f'<tr><td><a href="{result.name}.html">{result.name}</a></td><td>{result.seconds:.0f} s</td>'
        f'<td dir="ltr"><pre>{html.escape(result.showed)}</pre></td>'
        f'<td><a href="{result.name}.ipynb">{file}</a></td></tr>'
        for result in results
    )
    (output / "index.html").write_text(
        f"""<!doctype html>
<html lang="{language()}"{html_direction()}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }}
td, th {{ text-align: start; vertical-align: top; padding: 0.5rem; border-bottom: 1px solid #ccc; }}
pre {{ margin: 0; white-space: pre-wrap; }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
""",
        encoding="utf-8",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the course.

    Args:
        arguments: The words after ``python -m tools.course``; ``None`` takes them from the command line.

    Returns:
        The exit status: 0 if every notebook ran.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.course", description="Run every notebook in order and show what each one found."
    )
    parser.add_argument("--notebooks", type=Path, help="the folder to read them from; by default notebooks")
    parser.add_argument("--output", type=Path, default=Path("build/course"), help="the folder for executed copies")
    parser.add_argument("--no-keras", action="store_true", help="leave out the notebooks of the Keras kernel")
    options = parser.parse_args(arguments)
    try:
        results = run_course(options.notebooks or notebook_folder(), options.output, keras=not options.no_keras)
    except (RuntimeError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n" + format_table(results))
    print("\n" + _("Open {page} to read the executed notebooks.", page=options.output / "index.html"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
