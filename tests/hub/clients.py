"""Run the real clients in processes of their own: they read where the Hub is when they are imported."""

import subprocess

from tests.hub.server import StandInHub
from tests.kernels import Kernel, kernel_python, run

AT_HOME = "import os; os.chdir(os.environ['HOME'])\n"  # what a client writes does not end up in the repository


def run_client(
    hub: StandInHub, kernel: Kernel, code: str, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python code on one of the two kernels, with this Hub, in an empty home, and without a token.

    Args:
        hub: The Hub that ``HF_ENDPOINT`` names.
        kernel: Whose Python, and so which version of the clients.
        code: What ``python -c`` takes.
        arguments: Its ``sys.argv[1:]``.
        environment: More of the environment, or other values: ``HF_TOKEN=...``.
    """
    return run(kernel_python(kernel), "-c", AT_HOME + code, *arguments, **(hub.environment | environment))
