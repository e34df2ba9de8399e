"""How long until something happens: ``import clmkit``, the doctor, and each notebook up to its first output?

    .venv/bin/python -m benchmarks.starting

Everything starts in a new process, on the quick track; medians are printed. For the notebooks, a run of the same cells
under ``-X importtime`` tells which packages the time goes into.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from benchmarks.common import RESULTS, facts, format_table, medians, write_json
from tools.course import HEADLESS, KERNEL

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
COMMANDS = {
    "python, nothing imported": ["-c", "pass"],
    "import clmkit": ["-c", "import clmkit"],
    "import torch": ["-c", "import torch"],
    "python -m clmkit doctor": ["-m", "clmkit", "doctor"],
}


def time_command(command: list[str]) -> dict[str, float]:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return {"seconds": time.perf_counter() - start}


def up_to_first_output(path: Path) -> nbformat.NotebookNode:
    """The notebook's cells up to the first one that shows something in the stored copy."""
    notebook = nbformat.read(path, as_version=4)
    last = next(number for number, cell in enumerate(notebook.cells) if cell.get("outputs"))
    notebook.cells = notebook.cells[: last + 1]
    return notebook


def time_notebook(path: Path) -> dict[str, float]:
    """Seconds until the kernel takes its first cell, and until the first output."""
    begins: list[float] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            up_to_first_output(path),
            config=KERNEL,
            resources={"metadata": {"path": folder}},
            on_cell_start=lambda **cell: begins.append(time.perf_counter()),
            on_cell_executed=lambda **cell: begins.append(time.perf_counter()),
        ).execute()
    return {"kernel_s": begins[0] - start, "first_output_s": begins[-1] - start}


def import_seconds(path: Path) -> dict[str, float]:
    """Seconds that the import of each package takes by itself, in the same cells run as a script."""
    notebook = up_to_first_output(path)
    plain = TransformerManager().transform_cell
    code = "\n".join(plain(cell.source) for cell in notebook.cells if cell.cell_type == "code")
    python = KernelSpecManager().get_kernel_spec(notebook.metadata.kernelspec.name).argv[0]
    with tempfile.TemporaryDirectory() as folder:
        command = [python if Path(python).is_absolute() else sys.executable, "-X", "importtime", "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    found: Counter[str] = Counter()
    for own, package in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)", done.stderr):
        found[package] += int(own)
    return {package: microseconds / 1e6 for package, microseconds in found.most_common(4)}


def tables(result: dict[str, Any]) -> str:
    """Both tables, in Markdown."""
    commands = [[f"`{name}`", f"{one['seconds']:.2f}"] for name, one in result["commands"]["medians"].items()]
    notebooks = []
    for name, one in result["notebooks"]["medians"].items():
        where = ", ".join(f"{package} {seconds:.1f}" for package, seconds in result["imports"][name].items())
        notebooks.append([name, f"{one['kernel_s']:.1f}", f"{one['first_output_s']:.1f}", where])
    return (
        format_table(["", "seconds"], commands)
        + "\n\n"
        + format_table(["", "kernel ready, s", "first output, s", "of that, imports, s"], notebooks)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--notebooks", nargs="*", help="their names (default: all)")
    parser.add_argument("--output", type=Path, default=RESULTS / "starting.json")
    chosen = parser.parse_args()
    os.environ.update(HEADLESS, CLMKIT_TRACK="quick")
    paths = [p for p in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if not chosen.notebooks or p.stem in chosen.notebooks]
    commands: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    notebooks: dict[str, list[dict[str, float]]] = {path.stem: [] for path in paths}
    for _ in range(chosen.repeats):
        for name, words in COMMANDS.items():
            commands[name].append(time_command([sys.executable, *words]))
        for path in paths:
            notebooks[path.stem].append(time_notebook(path))
    result = facts({"main": sys.executable}) | {
        "commands": {"turns": commands, "medians": medians(commands)},
        "notebooks": {"turns": notebooks, "medians": medians(notebooks)},
        "imports": {path.stem: import_seconds(path) for path in paths},
    }
    write_json(chosen.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
