"""Run every notebook of the course in order, and show what each one found.

python -m tools.course [--jobs 1]
"""

import argparse
import asyncio
import html
import os
import re
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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
from clmkit.tracks import CHAT_MODELS, check_whole_number
from clmkit.training.tuned_models import TRAINED_BY

# Set before a kernel starts: a run that nobody watches draws no progress bars and no controls into its notebooks.
HEADLESS = {
    "CLMKIT_WIDGETS": "0",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

T = TypeVar("T")

INTERRUPTED = 130  # a shell's status for what Ctrl-C has ended

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


def run_course(notebooks: Path, output: Path, *, keras: bool = True, jobs: int = 1) -> list[NotebookResult]:
    """Execute the notebooks of a folder in the order of their names, each in a fresh kernel of the kind that it names.

    Several at a time share the CPU cores. Those of chapter 7, which read what chapter 6 has trained, wait for it.

    Args:
        notebooks: The folder to read them from; it is not written to.
        output: The folder for the executed copies, the same as HTML pages, and an ``index.html`` that opens them. It
            is also the notebooks' working folder, so what one saves the next one finds.
        keras: Whether to run the notebooks of the Keras kernel too.
        jobs: So many at a time, 1 or more; with 1, each begins when the one before has ended.

    Returns:
        One result a notebook, in order.

    Raises:
        FileNotFoundError: If there are no notebooks in the folder.
        RuntimeError: If a kernel is not there, or a notebook fails; the message has its name, the cell and the error.
            What was executed is kept, and what runs beside it is ended.
    """
    check_whole_number("jobs", jobs)
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
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // jobs, 1)))
    return _run_in_thread(_run_notebooks(paths, output, jobs))


def _run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run it beside the main thread, where Ctrl-C arrives: there each nbclient takes it for its own kernel alone."""
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as pool:
        task = runner.get_loop().create_task(work)
        ended = pool.submit(runner.get_loop().run_until_complete, task)
        try:
            while not wait([ended], timeout=1).done:  # Windows tells of Ctrl-C only between two waits
                pass
        except KeyboardInterrupt:
            runner.get_loop().call_soon_threadsafe(task.cancel)
            raise
        return ended.result()


async def _run_notebooks(paths: list[Path], output: Path, jobs: int) -> list[NotebookResult]:
    waiting, running, results = list(paths), dict[asyncio.Task[NotebookResult], Path](), list[NotebookResult]()
    try:
        while waiting or running:
            unfinished = {path.stem for path in (*waiting, *running.values())}
            ready = [path for path in waiting if not _needed(path) & unfinished][: jobs - len(running)]
            for path in ready:
                waiting.remove(path)
                running[asyncio.create_task(_run_notebook(path, output))] = path
            ended, _others = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                results = sorted([*results, task.result()])
                del running[task]
                _write_index(results, output)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return results


def _needed(path: Path) -> set[str]:
    """The notebooks whose tuned models this one reads."""
    return set(TRAINED_BY.values()) if path.stem.startswith("07") else set()


def _kernel(path: Path) -> str:
    return str(nbformat.read(path, as_version=4).metadata.get("kernelspec", {}).get("name", "python3"))


def _left_out(path: Path) -> str:
    """Why a notebook is not run: the one whose model can't be had here; empty for all others."""
    name = CHAT_MODELS["full" if os.environ["CLMKIT_TRACK"] == "full" else "quick"]
    if path.stem != CHAT_NOTEBOOK or stands_in_for(name) or cached_folder(name, MODEL_FILES, required=NEEDED_FILES):
        return ""
    problem = hub_problem()
    return _("left out: {problem}. To get its model: make real-model", problem=problem) if problem else ""


async def _run_notebook(path: Path, output: Path) -> NotebookResult:
    notebook = nbformat.read(path, as_version=4)
    left_out = _left_out(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # or a run that fails would keep an earlier run's results after the failure
            cell.outputs, cell.execution_count = [], None
    reached, last = 0, max((i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"), default=-1)

    def on_cell_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal reached
        reached = cell_index + 1
        bar.update(cell_index - bar.n)

    def on_cell_executed(cell_index: int, **_reply: object) -> None:
        if cell_index == last:  # until then a kernel that is ended early would tell what its sockets miss
            client.shutdown_kernel = "graceful"

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
            on_cell_executed=on_cell_executed,
            shutdown_kernel="immediate",
        )
        try:
            if not left_out:
                await client.async_execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
            raise RuntimeError(f"{path.name} failed in cell {reached} of {len(notebook.cells)}:\n{plain}") from error
        finally:
            seconds = time.perf_counter() - start
            CoalesceStreamsPreprocessor().preprocess(notebook, {})  # what several processes print comes in pieces
            nbformat.write(notebook, output / path.name)
    page = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": path.stem}})[0]
    (output / path.name).with_suffix(".html").write_text(page, encoding="utf-8")
    with tqdm.external_write_mode():  # another notebook's bar may stand there
        print(f"{path.stem}: {seconds:.0f} s", flush=True)
    return NotebookResult(path.stem, seconds, left_out or _what_it_showed(notebook))


def _what_it_showed(notebook: nbformat.NotebookNode) -> str:
    """The printed text of the cells that are tagged ``result``."""
    tagged = [cell for cell in notebook.cells if "result" in cell.metadata.get("tags", [])]
    texts = [out.text.strip() for cell in tagged for out in cell.outputs if out.get("name") == "stdout"]
    return "\n".join(texts)


def format_table(results: list[NotebookResult], seconds: float) -> str:
    """The results as a plain text table, one notebook a block, and the seconds that all of them took together."""
    width = max(len(result.name) for result in results)
    lines = []
    for result in results:
        first, *rest = result.showed.splitlines() or [""]
        lines.append(f"{result.name:{width}}  {result.seconds:5.0f} s  {first}")
        lines += [" " * (width + 11) + line for line in rest]
    lines.append(f"{'all':{width}}  {seconds:5.0f} s")
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
        The exit status: 0 if every notebook ran, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tools.course", description="Run every notebook in order and show what each one found."
    )
    parser.add_argument("--notebooks", type=Path, help="the folder to read them from; by default notebooks")
    parser.add_argument("--output", type=Path, default=Path("build/course"), help="the folder for executed copies")
    parser.add_argument("--no-keras", action="store_true", help="leave out the notebooks of the Keras kernel")
    parser.add_argument("--jobs", type=int, help="so many at a time; by default two on the quick track, else one")
    options = parser.parse_args(arguments)
    jobs = (1 if os.environ.get("CLMKIT_TRACK") == "full" else 2) if options.jobs is None else options.jobs
    start = time.perf_counter()
    try:
        results = run_course(
            options.notebooks or notebook_folder(), options.output, keras=not options.no_keras, jobs=jobs
        )
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n" + _("Interrupted. What was executed until then is in {folder}.", folder=options.output))
        return INTERRUPTED
    print("\n" + format_table(results, time.perf_counter() - start))
    print("\n" + _("Open {page} to read the executed notebooks.", page=options.output / "index.html"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
