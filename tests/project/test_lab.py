"""`make lab` serves the course: the notebooks are listed, and the kernels that they name are there."""

import os

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from tests.lab import ROOT, serve_lab


def test_make_lab_serves_the_notebooks_and_their_kernels() -> None:
    with serve_lab() as lab:
        names = {entry["name"] for entry in lab.ask("contents")["content"]}
        assert {path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")} <= names
        kernels = lab.ask("kernelspecs")["kernelspecs"]
        assert "python3" in kernels
        if os.environ.get("CLMKIT_KERAS") != "0":
            assert kernels[KERAS_KERNEL]["spec"]["display_name"] == KERNEL_NAMES["keras"]
