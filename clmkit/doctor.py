"""Look at everything that can keep a step of the course from working, and say what to do about it."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from clmkit.hub import hub_problem
from clmkit.kernels import KERAS_KERNEL, start_tensorflow
from clmkit.tracks import BUNDLED, has_gpu

LOCKS = {"main": "requirements/main.txt", "keras": "requirements/keras.txt"}
MIN_FREE_GB = {"quick": 0.5, "full": 5.0}  # full: DistilGPT2, its checkpoints with optimizer state, and the data


class Finding(NamedTuple):
    """One line of the doctor: ``ok``, ``note`` for what limits nothing, or ``FAIL`` where a step would fail."""

    level: Literal["ok", "note", "FAIL"]
    what: str
    detail: str


def examine() -> Iterator[Finding]:
    """Check Python, packages, kernels, GPU, disk, bundled files, the Hub and the login, one finding each."""
    track = os.environ.get("CLMKIT_TRACK", "quick")
    yield _python()
    yield _packages()
    yield from _kernels()
    yield _gpu()
    yield _disk(track)
    yield _bundled()
    problem = hub_problem()
    yield _hub(problem, track)
    yield _login(problem)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("ok", "Python", version)
    return Finding("FAIL", "Python", f"{version}: the course needs 3.11, 3.12 or 3.13")


def _required() -> tuple[str, list[str]]:
    """Where the wanted versions come from, and the requirements: the kernel's lock, or clmkit's own ranges."""
    kernel = "main" if importlib.util.find_spec("torch") else "keras"
    for root in (Path.cwd(), Path(__file__).parent.parent):
        lock = root / LOCKS[kernel]
        if lock.is_file():
            lines = lock.read_text(encoding="utf-8").splitlines()
            return LOCKS[kernel], [line for line in lines if line and line[0] not in "#-"]
    extras = ("torch", "lab") if kernel == "main" else ("keras", "keras-kernel")
    ranges = importlib.metadata.requires("clmkit") or []
    return "clmkit's ranges", [
        line for line in ranges if "extra ==" not in line or any(f'"{e}"' in line for e in extras)
    ]


def _packages() -> Finding:
    from packaging.requirements import Requirement

    source, lines = _required()
    wrong, checked = [], 0
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker and "extra" not in str(requirement.marker) and not requirement.marker.evaluate():
            continue
        checked += 1
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version.split("+")[0], prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if not wrong:
        return Finding("ok", "Packages", f"{checked} as in {source}")
    missing = any("is missing" in text for text in wrong)
    advice = f"install {source} again (make setup)"
    return Finding("FAIL" if missing else "note", "Packages", f"against {source}: {'; '.join(wrong)}: {advice}")


def _kernels() -> Iterator[Finding]:
    what = f"Kernel {KERAS_KERNEL}"
    frozen = (
        "frozen at transformers 4.52.4, which gets no security fixes: load only models that you trust, as safetensors; "
        "06c is the way on"
    )
    if not importlib.util.find_spec("torch"):
        yield Finding("note", what, f"this is its Python; {frozen}")
        return
    if not importlib.util.find_spec("jupyter_client"):
        yield Finding("FAIL", "Kernel python3", "Jupyter is not installed: make setup")
        return
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    specs = manager.find_kernel_specs()
    if "python3" in specs:
        yield Finding("ok", "Kernel python3", "registered with Jupyter")
    else:
        yield Finding("FAIL", "Kernel python3", "not registered with Jupyter: make setup")
    if KERAS_KERNEL not in specs:
        yield Finding("note", what, "not registered (make setup does it): 06b and 07b need it, nothing else does")
    elif not Path(python := manager.get_kernel_spec(KERAS_KERNEL).argv[0]).exists():
        yield Finding("FAIL", what, f"its Python, {python}, is gone: make setup")
    else:
        yield Finding("note", what, f"registered with Jupyter; {frozen}")


def _gpu() -> Finding:
    if not importlib.util.find_spec("torch"):
        start_tensorflow(legacy_keras=True)
        return Finding("ok", "GPU", "TensorFlow sees one") if has_gpu() else Finding("note", "GPU", "none, quick track")
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        dtype = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
        return Finding("ok", "GPU", f"{name}, training in {dtype}")
    if torch.backends.mps.is_available():
        return Finding("ok", "GPU", "Apple MPS, training in float32")
    return Finding("note", "GPU", f"none: {torch.get_num_threads()} CPU threads, training in float32, quick track")


def _disk(track: str) -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    needed = MIN_FREE_GB.get(track, MIN_FREE_GB["full"])
    if free >= needed:
        return Finding("ok", "Free disk", f"{free:.0f} GB; the {track} track needs {needed:g}")
    return Finding("FAIL", "Free disk", f"{free:.1f} GB, and the {track} track needs {needed:g}: make room")


def _bundled() -> Finding:
    wanted = ("eli5_sample.jsonl", "tiny_gpt2/config.json", "tiny_gpt2/model.safetensors", "tiny_gpt2/vocab.json")
    missing = [name for name in wanted if not (BUNDLED / name).is_file()]
    if missing:
        return Finding("FAIL", "Bundled files", f"missing: {', '.join(missing)}: install clmkit again")
    return Finding("ok", "Bundled files", "sample and tiny GPT-2 are there")


def _hub(problem: str | None, track: str) -> Finding:
    if problem is None:
        return Finding("ok", "Hub", "answers")
    return Finding("FAIL" if track == "full" else "note", "Hub", f"{problem}; the full track and sharing need it")


def _login(problem: str | None) -> Finding:
    from huggingface_hub import get_token

    from clmkit.hub import login_status

    if get_token() is None:
        return Finding("note", "Login", "not logged in; only sharing needs it")
    if problem:
        return Finding("note", "Login", "there is a token, which can't be checked while the Hub does not answer")
    return Finding("ok", "Login", login_status())


def run_doctor() -> int:
    """Print one line a finding.

    Returns:
        The exit status: 1 if a step of the course would fail, else 0.
    """
    failed = False
    for finding in examine():
        failed |= finding.level == "FAIL"
        print(f"{finding.level:4}  {finding.what}: {finding.detail}", flush=True)
    print("A step of the course would fail: see FAIL above." if failed else "Every step of the course can run here.")
    return int(failed)
