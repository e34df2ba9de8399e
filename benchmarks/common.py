"""What the benchmark scripts share: facts about the machine and the software, tables, and the file of results."""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("accelerate", "datasets", "keras", "keras-hub", "numpy", "tensorflow", "tf-keras", "torch", "transformers")


def facts(pythons: dict[str, str]) -> dict[str, Any]:
    """What a reader needs to know of where the numbers come from.

    Args:
        pythons: The Python of each kernel that was measured, by the kernel's name.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "gpu": gpu_name(),
            "os": platform.platform(),
        },
        "versions": {name: versions(python) for name, python in pythons.items()},
    }


def cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def gpu_name() -> str | None:
    """The first NVIDIA GPU's name, or None."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    return answer.stdout.splitlines()[0] if answer.returncode == 0 and answer.stdout else None


def commit() -> str:
    """The commit of the working tree, with "-dirty" behind it if files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(describe, capture_output=True, text=True).stdout.strip() or "unknown"


def versions(python: str) -> dict[str, str]:
    """The versions of Python and of those of PACKAGES that another Python has."""
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {d.name.replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(json.dumps({'python': platform.python_version()} | {n: found[n] for n in sys.argv[1:] if n in found}))"
    )
    return json.loads(
        subprocess.run([python, "-c", code, *PACKAGES], capture_output=True, text=True, check=True).stdout
    )


def peak_memory_mb() -> float:
    """The most memory that this process ever had resident.

    On Linux ``ru_maxrss`` starts at what the parent process had, hence the kernel's own mark for this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return int(next(x for x in status.read_text().splitlines() if x.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table that is also one in Markdown; all columns but the first are numbers."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = [("-" * width if i == 0 else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    for line in [lines[0], rule, *lines[1:]]:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print(f"| {' | '.join(cells)} |")


def write_json(path: Path, result: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
