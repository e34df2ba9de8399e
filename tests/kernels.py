"""Where the Python of the Keras kernel is, and how a test runs something in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient import NotebookClient

from clmkit.kernels import KERAS_KERNEL
from tests.tokens import untold

ROOT = Path(__file__).parents[1]
Kernel = Literal["main", "keras"]


def keras_python() -> str:
    """The Keras kernel's Python; the test is skipped where that kernel is left out, and fails where it is missing."""
    if os.environ.get("CLMKIT_KERAS") == "0":
        pytest.skip("left out by CLMKIT_KERAS=0 (make test KERAS=0)")
    try:
        return str(KernelSpecManager().get_kernel_spec(KERAS_KERNEL).argv[0])
    except NoSuchKernel:
        pytest.fail(f"the kernel {KERAS_KERNEL} is not registered: make setup")


def kernel_python(kernel: Kernel) -> str:
    """The Python of one of the two kernels."""
    return keras_python() if kernel == "keras" else sys.executable


def without_mirror(client: NotebookClient) -> NotebookClient:
    """A client to which what widgets show is the cell's output.

    By itself it mirrors Output widgets, which can cost it the cell's reply: it then waits for ten minutes
    (jupyter/nbclient#312).
    """
    client.widget_registry = {}
    return client


def run(python: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python in the repository's folder, with nothing of a kernel's own settings in its environment."""
    ended = subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env=kept_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return untold(ended)


def kept_environment() -> dict[str, str]:
    """The environment without a kernel's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_BACKEND"))}
