"""Serve the course by `make lab`, for the tests that ask it or look at it."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tools.course import HEADLESS

ROOT = Path(__file__).parents[1]
TOKEN = "test"


class Lab(NamedTuple):
    """A running JupyterLab."""

    port: int

    def url(self, path: str = "lab") -> str:
        """The address of a page, with what lets one in."""
        return f"http://127.0.0.1:{self.port}/{path}?token={TOKEN}"

    def ask(self, path: str) -> Any:
        """What the server's API answers."""
        with urllib.request.urlopen(self.url(f"api/{path}"), timeout=10) as answer:
            return json.load(answer)


@contextmanager
def serve_lab(notebooks: Path | None = None) -> Iterator[Lab]:
    """Run `make lab` as a learner would, who has the quick track, widgets, progress bars, and no settings of Jupyter.

    Args:
        notebooks: A folder to serve; without one, the repository's.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port={port}"
    command = ["make", "lab", f"LAB_OPTIONS={options} --IdentityProvider.token={TOKEN}"]
    command += [f"KERAS={os.environ.get('CLMKIT_KERAS', '1')}", *([f"NOTEBOOKS={notebooks}"] if notebooks else [])]
    environment = {name: value for name, value in os.environ.items() if name not in HEADLESS}
    # One thread, as in the other tests: where other work keeps the cores busy, two wait for each other.
    environment |= {"MAKEFLAGS": "", "CLMKIT_TRACK": "quick", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        settings = {
            name: f"{folder}/{name}" for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        }
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | settings,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        lab = Lab(port)
        try:
            for _ in range(120):
                try:
                    lab.ask("status")
                    break
                except OSError:
                    if process.poll() is not None:
                        log.seek(0)
                        raise AssertionError(f"make lab ended:\n{log.read()}") from None
                    time.sleep(0.5)
            else:
                raise AssertionError("make lab did not answer in a minute")
            yield lab
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
