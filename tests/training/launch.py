"""Start runs in processes of their own, cheaply: forks of a server that has imported everything already."""

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.numpy import load_file

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

pytest.importorskip("resource", reason="these tests fork processes, limit and signal them, which Windows does not do")

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["clmkit.scale.run", "clmkit.scale.command", "tests.training.jobs"])
PATIENCE = 120


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def start(job: Callable[..., Any], *arguments: Any, log: Path, processes: int = 1) -> "list[ForkServerProcess]":
    """Start a job in so many processes that find each other as torchrun's would; each writes into a log of its own."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
    address["OMP_NUM_THREADS"] = "1"
    started = []
    for rank in range(processes):
        environment = {**address, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
        process = FORKS.Process(target=_run, args=(environment, log_of(log, rank), job, arguments))
        process.start()
        started.append(process)
    return started


def log_of(log: Path, rank: int) -> Path:
    return log.with_name(f"{log.name}-{rank}")


def _run(environment: dict[str, str], log: Path, job: Callable[..., Any], arguments: Sequence[Any]) -> None:
    import torch

    os.environ |= environment
    torch.set_num_threads(1)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(job(*arguments))


def finish(processes: "list[ForkServerProcess]", patience: float = PATIENCE) -> list[int | None]:
    """Wait for processes to end, some seconds at most for each; their exit statuses."""
    for process in processes:
        process.join(patience)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def run(job: Callable[..., Any], *arguments: Any, log: Path, processes: int = 1, patience: float = PATIENCE) -> str:
    """Run a job to its end; what it printed, in all processes. The test fails if one of them did."""
    statuses = finish(start(job, *arguments, log=log, processes=processes), patience)
    printed = "".join(log_of(log, rank).read_text() for rank in range(processes))
    assert statuses == [0] * processes, printed
    return printed


def record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text()))


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)
