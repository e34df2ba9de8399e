"""Run the real clients in processes of their own: they read where the Hub is when they are imported."""

import atexit
import json
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Lock

from tests.hub.server import StandInHub
from tests.kernels import ROOT, Kernel, kept_environment, kernel_python, run
from tests.tokens import untold

AT_HOME = "import os; os.chdir(os.environ['HOME'])\n"  # what a client writes does not end up in the repository
PREPARE = "import sys; from tests.hub.prepared import wait_for_work; exec(wait_for_work(sys.argv[1]))"
LOCK = Lock()


def run_client(
    hub: StandInHub, kernel: Kernel, code: str, *arguments: str, fresh: bool = False, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python code on one of the two kernels, with this Hub, in an empty home, and without a token.

    Args:
        hub: The Hub that ``HF_ENDPOINT`` names.
        kernel: Whose Python, and so which version of the clients.
        code: What ``python -c`` takes.
        arguments: Its ``sys.argv[1:]``.
        fresh: Start a Python for it, where a prepared one would do.
        environment: More of the environment, or other values: ``HF_TOKEN=...``.
    """
    python, environment, code = kernel_python(kernel), hub.environment | environment, AT_HOME + code
    if fresh or sys.platform != "linux":
        return run(python, "-c", code, *arguments, **environment)
    with LOCK:
        address = _prepare(python)
    return _run_prepared(address, code, arguments, kept_environment() | environment)


@cache
def _prepare(python: str) -> str:
    """Start a Python that clients are forked from; where it is to be had, until the tests end."""
    folder = tempfile.TemporaryDirectory(prefix="clients-")
    address = str(Path(folder.name) / "socket")
    prepared = subprocess.Popen(
        [python, "-c", PREPARE, address],
        cwd=ROOT,
        env=kept_environment() | {"OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(folder.cleanup)
    atexit.register(prepared.communicate)
    assert prepared.stdout is not None
    assert prepared.stdout.readline() == "ready\n"
    return address


def _run_prepared(
    address: str, code: str, arguments: tuple[str, ...], environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as connection:
        out, err = Path(folder) / "stdout", Path(folder) / "stderr"
        out.touch()
        err.touch()
        wanted = {"code": code, "arguments": arguments, "environment": environment, "folder": str(ROOT)}
        connection.connect(address)
        connection.sendall(json.dumps(wanted | {"stdout": str(out), "stderr": str(err)}).encode() + b"\n")
        status = json.loads(connection.makefile().read())
        return untold(subprocess.CompletedProcess([code, *arguments], status, out.read_text(), err.read_text()))
