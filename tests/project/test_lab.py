"""`make lab` serves the course: the notebooks are listed, and the kernels that they name are there."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES

ROOT = Path(__file__).parents[2]


def test_make_lab_serves_the_notebooks_and_their_kernels() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = (
        f"--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port={port} --IdentityProvider.token=test"
    )
    process = subprocess.Popen(
        ["make", "lab", f"LAB_OPTIONS={options}", f"KERAS={os.environ.get('CLMKIT_KERAS', '1')}"],
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
        kernels = ask("kernelspecs")["kernelspecs"]
        assert "python3" in kernels
        if os.environ.get("CLMKIT_KERAS") != "0":
            assert kernels[KERAS_KERNEL]["spec"]["display_name"] == KERNEL_NAMES["keras"]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
