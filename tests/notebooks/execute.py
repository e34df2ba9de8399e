"""Run the committed notebooks in place: in order, each in a fresh kernel, on the quick track, then the translated ones.

    python -m tests.notebooks.execute [NAME ...]
    python -m tests.notebooks.execute --language ar [NAME ...]     only the translated ones of that language

The badge and the install line are written from pyproject.toml first; after each run its solutions run, from which its
exercises are written anew. The working folder is a temporary one. What says nothing to a reader is taken out: widget
state, the times of cells, and the version of the Python that happened to run.
"""

import argparse
import base64
import os
import tempfile

import nbformat
from nbclient import NotebookClient
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from tests.notebooks import addresses
from tests.notebooks.exercises import NOTEBOOKS, run, run_headless
from tools import translate
from tools.course import KERNEL

PICTURES = {"06a_train_pytorch": ("loss_curve.png", 1), "07a_infer_pytorch": ("next_token.png", 0)}


def clean(notebook: nbformat.NotebookNode) -> None:
    name = notebook.metadata.kernelspec.name
    display_name = KERNEL_NAMES["keras" if name == KERAS_KERNEL else "main"]
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": display_name, "language": "python", "name": name},
            "language_info": {"name": "python"},
        }
        | {key: value for key, value in notebook.metadata.items() if key in ("accelerator", "colab")}  # ask for a GPU
    )
    CoalesceStreamsPreprocessor().preprocess(notebook, {})  # what several processes print comes in pieces
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def keep_picture(notebook: nbformat.NotebookNode, name: str) -> None:
    """Save the picture of a notebook that the README shows."""
    if name in PICTURES:
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
        file, number = PICTURES[name]
        target = NOTEBOOKS / ".course" / "images" / file
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(base64.b64decode(pictures[number]))


def run_translated(language: str, names: list[str]) -> None:
    """Execute the notebooks of a language: what clmkit says in them is in that language."""
    run_headless()
    os.environ["CLMKIT_LANG"] = language
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((NOTEBOOKS / language).glob("[0-9]*.ipynb")):
            if names and path.stem not in names:
                continue
            notebook = nbformat.read(path, as_version=4)
            NotebookClient(notebook, timeout=600, config=KERNEL, resources={"metadata": {"path": folder}}).execute()
            clean(notebook)
            path.write_bytes(translate.notebook_bytes(notebook))
            print(f"{language}/{path.name}", flush=True)


def run_english(names: list[str]) -> None:
    """Execute the English notebooks with their solutions."""
    run_headless()
    addresses.main()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
            if names and path.stem not in names:
                continue
            notebook = run(nbformat.read(path, as_version=4), path.stem, folder)
            clean(notebook)
            keep_picture(notebook, path.stem)
            nbformat.write(notebook, path)
            print(path.name, flush=True)


def main() -> None:
    """Execute in English, write the translations, and execute those; or only a language's."""
    parser = argparse.ArgumentParser(description="Run the committed notebooks in place.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--language", choices=translate.languages(), help="only the translated notebooks of it")
    asked = parser.parse_args()
    if not asked.language:
        run_english(asked.names)
        translate.translate()
    for language in [asked.language] if asked.language else translate.languages():
        run_translated(language, asked.names)


if __name__ == "__main__":
    main()
