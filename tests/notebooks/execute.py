"""Run the committed notebooks in place: in order, each in a fresh kernel, on the quick track.

    python -m tests.notebooks.execute [NAME ...]

The badge and the install line are written from pyproject.toml first; after each run its solutions run, from which its
exercises are written anew. The working folder is a temporary one. What says nothing to a reader is taken out: widget
state, the times of cells, and the version of the Python that happened to run.
"""

import base64
import sys
import tempfile

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from tests.notebooks import addresses
from tests.notebooks.exercises import NOTEBOOKS, run, run_headless

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


def main(names: list[str]) -> None:
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


if __name__ == "__main__":
    main(sys.argv[1:])
