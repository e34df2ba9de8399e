"""The site, built once for all tests, served on this machine, and a real browser to open it in."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from tests.browser.conftest import browser  # noqa: F401
from tests.site.offline import offline

ROOT = Path(__file__).parents[2]
BUILD = "import sys, pathlib; from tools.site import build; build(pathlib.Path(sys.argv[1]))"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built where neither the network nor a kernel can be reached; warnings are errors."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # all of them share one
        folder = folder.parent
    with FileLock(folder / "site.lock"):
        if not (folder / "site").exists():
            _build(folder, offline(tmp_path_factory.mktemp("offline")))
    return folder / "site"


def _build(folder: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", BUILD, str(folder / "built")]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (folder / "built").rename(folder / "site")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Keep the requests out of the tests' output."""


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
