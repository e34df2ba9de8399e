"""An environment in which Python can reach no network and start no kernel."""

import os
from pathlib import Path

WATCH = """
import sys


def forbid(event, arguments):
    started = str(arguments[1]) if event == "subprocess.Popen" else ""
    if event in ("socket.connect", "socket.getaddrinfo") or "ipykernel" in started:
        raise RuntimeError(f"no network and no kernel is needed to build the site, and yet: {event} {arguments}")


sys.addaudithook(forbid)
"""


def offline(folder: Path) -> dict[str, str]:
    """The environment; every Python started in it imports ``sitecustomize`` from the folder first."""
    (folder / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
