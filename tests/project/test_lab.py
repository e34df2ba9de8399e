"""`make lab` serves the course: the notebooks are listed, and the kernel that they name is there."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def test_make_lab_serves_the_notebooks_and_their_kernel() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = (
        f"--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port={port} --IdentityProvider.token=test"
    )
    process = subprocess.Popen(
        ["make", "lab", f"LAB_OPTIONS={options}"],
        cwd=ROOT,
        env=os.environ | {"MAKEFLAGS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def ask(path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", headers={"Authorization": "token test"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    try:
        for _ in range(120):
            try:
                ask("status")
                break
            except OSError:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                time.sleep(0.5)
        names = {entry["name"] for entry in ask("contents")["content"]}
        assert {path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")} <= names
        assert "python3" in ask("kernelspecs")["kernelspecs"]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
