"""What the benchmark scripts share: facts about the machine and the software, tables, and the file of results."""

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
PACKAGES = (
    "accelerate",
    "datasets",
    "gigatoken",
    "keras",
    "keras-hub",
    "numpy",
    "tensorflow",
    "tf-keras",
    "tokenizers",
)
PACKAGES += ("torch", "transformers")


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


def can_compile() -> bool:
    """Whether ``torch.compile`` finds what it needs: for a CPU a C++ compiler, for a GPU the GPU."""
    return bool(gpu_name() or os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++"))


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


def take_turns(
    contenders: Iterable[str], command: Callable[[str], list[str]], repeats: int, environment: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Run each contender in a process of its own, in turns, so that a slow minute of the machine hits all alike.

    Args:
        contenders: Their names.
        command: What runs one; the last line that it prints is its result, as JSON.
        repeats: How many turns each has.
        environment: Added to this process' own. Caches, of data and of what is compiled, are empty each time.

    Returns:
        The results of every turn.
    """
    turns: dict[str, list[dict[str, Any]]] = {contender: [] for contender in contenders}
    for _ in range(repeats):
        for contender, results in turns.items():
            with tempfile.TemporaryDirectory() as cache:
                env = os.environ | environment | {"HF_HOME": cache, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/compiled"}
                done = subprocess.run(command(contender), env=env, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{contender} failed:\n{done.stderr}")
            results.append(json.loads(done.stdout.splitlines()[-1]))
    return turns


def medians(turns: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """The median of each number over the turns of each contender."""
    return {name: {key: median(turn[key] for turn in found) for key in found[0]} for name, found in turns.items()}


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that reads well as it is and is one in Markdown; all columns but the first are numbers."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = [("-" * width if i == 0 else "-" * (width - 1) + ":") for i, width in enumerate(widths)]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in [lines[0], rule, *lines[1:]]
    )


def fill_section(page: str, name: str, text: str) -> str:
    """Put a text between the marks ``<!-- name -->`` and ``<!-- /name -->`` of a page.

    Raises:
        ValueError: If the page does not have them once.
    """
    section = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
    new, count = re.subn(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _: section, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page has {count} sections between <!-- {name} --> and <!-- /{name} -->, not one")
    return new


def write_json(path: Path, result: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
