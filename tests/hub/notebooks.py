"""Run the course's notebooks on the full track against a stand-in Hub, each alone, as a learner would."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.hub.server import StandInHub
from tests.kernels import ROOT
from tools.course import HEADLESS, KERNEL

NOTEBOOKS = ROOT / "notebooks"


def run_notebook(name: str, hub: StandInHub, folder: Path, **environment: str) -> nbformat.NotebookNode:
    """Run a committed notebook, unchanged, and give it back as executed.

    Args:
        name: Which, without ``.ipynb``.
        hub: The Hub that ``HF_ENDPOINT`` names.
        folder: The working folder, made if need be; the cache of the Hub's clients lies in it too.
        environment: More of the environment: ``HF_TOKEN=...``, ``CLMKIT_SHARE="1"``.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = read_notebook(name)
    (folder / "work").mkdir(parents=True, exist_ok=True)
    chosen = hub.environment | HEADLESS | {"CLMKIT_TRACK": "full", "HF_HOME": str(folder / "hf_home")}
    resources = {"metadata": {"path": folder / "work"}}
    client = NotebookClient(notebook, timeout=600, config=KERNEL, resources=resources)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "KERAS_BACKEND"))}
    client.execute(env=kept | chosen | environment, cleanup_kc=True)
    return notebook


def read_notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def printed(notebook: nbformat.NotebookNode) -> str:
    """All that the cells of a notebook printed, on stdout and stderr."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")
