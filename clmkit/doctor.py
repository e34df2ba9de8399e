"""Look at everything that can keep a step of the course from working, and say what to do about it."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from clmkit.hub.login import hub_problem
from clmkit.kernels import KERAS_KERNEL, start_tensorflow
from clmkit.messages import _
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
    return Finding("FAIL", "Python", _("{version}: the course needs 3.11, 3.12 or 3.13", version=version))


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
    return _("clmkit's ranges"), [
        line for line in ranges if "extra ==" not in line or any(f'"{e}"' in line for e in extras)
    ]


def _packages() -> Finding:
    from packaging.requirements import Requirement

    source, lines = _required()
    wrong, checked, missing = [], 0, False
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker and "extra" not in str(requirement.marker) and not requirement.marker.evaluate():
            continue
        checked += 1
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing = True
            wrong.append(_("{name} is missing", name=requirement.name))
            continue
        if not requirement.specifier.contains(version.split("+")[0], prereleases=True):
            wrong.append(
                _(
                    "{name} is {version}, not {wanted}",
                    name=requirement.name,
                    version=version,
                    wanted=str(requirement.specifier),
                )
            )
    if not wrong:
        return Finding("ok", _("Packages"), _("{count} as in {source}", count=checked, source=source))
    detail = _("against {source}: {wrong}: install {source} again (make setup)", source=source, wrong="; ".join(wrong))
    return Finding("FAIL" if missing else "note", _("Packages"), detail)


def _kernels() -> Iterator[Finding]:
    python3, what = (_("Kernel {name}", name=name) for name in ("python3", KERAS_KERNEL))
    frozen = _(
        "frozen at transformers 4.52.4, which gets no security fixes: load only models that you trust, as safetensors; "
        "06c is the way on"
    )
    if not importlib.util.find_spec("torch"):
        yield Finding("note", what, _("this is its Python; {frozen}", frozen=frozen))
        return
    if not importlib.util.find_spec("jupyter_client"):
        yield Finding("FAIL", python3, _("Jupyter is not installed: make setup"))
        return
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    specs = manager.find_kernel_specs()
    if "python3" in specs:
        yield Finding("ok", python3, _("registered with Jupyter"))
    else:
        yield Finding("FAIL", python3, _("not registered with Jupyter: make setup"))
    if KERAS_KERNEL not in specs:
        yield Finding("note", what, _("not registered (make setup does it): 06b and 07b need it, nothing else does"))
    elif not Path(python := manager.get_kernel_spec(KERAS_KERNEL).argv[0]).exists():
        yield Finding("FAIL", what, _("its Python, {path}, is gone: make setup", path=python))
    else:
        yield Finding("note", what, _("registered with Jupyter; {frozen}", frozen=frozen))


def _gpu() -> Finding:
    if not importlib.util.find_spec("torch"):
        start_tensorflow(legacy_keras=True)
        if has_gpu():
            return Finding("ok", "GPU", _("TensorFlow sees one"))
        return Finding("note", "GPU", _("none, quick track"))
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        dtype = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
        return Finding("ok", "GPU", _("{name}, training in {dtype}", name=name, dtype=dtype))
    if torch.backends.mps.is_available():
        return Finding("ok", "GPU", _("{name}, training in {dtype}", name="Apple MPS", dtype="float32"))
    detail = _("none: {threads} CPU threads, training in float32, quick track", threads=torch.get_num_threads())
    return Finding("note", "GPU", detail)


def _disk(track: str) -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    needed = MIN_FREE_GB.get(track, MIN_FREE_GB["full"])
    if free >= needed:
        detail = _("{free:.0f} GB; the {track} track needs {needed:g}", free=free, track=track, needed=needed)
        return Finding("ok", _("Free disk"), detail)
    detail = _(
        "{free:.1f} GB, and the {track} track needs {needed:g}: make room", free=free, track=track, needed=needed
    )
    return Finding("FAIL", _("Free disk"), detail)


def _bundled() -> Finding:
    wanted = ("eli5_sample.jsonl", "tiny_gpt2/config.json", "tiny_gpt2/model.safetensors", "tiny_gpt2/vocab.json")
    missing = [name for name in wanted if not (BUNDLED / name).is_file()]
    if missing:
        return Finding(
            "FAIL",
            _("Bundled files"),
            _("missing: {files}: install clmkit again", files=", ".join(missing)),
        )
    return Finding("ok", _("Bundled files"), _("sample and tiny GPT-2 are there"))


def _hub(problem: str | None, track: str) -> Finding:
    if problem is None:
        return Finding("ok", "Hub", _("answers"))
    detail = _("{problem}; the full track and sharing need it", problem=problem)
    return Finding("FAIL" if track == "full" else "note", "Hub", detail)


def _login(problem: str | None) -> Finding:
    from huggingface_hub import get_token

    from clmkit.hub.login import login_status

    if get_token() is None:
        return Finding("note", _("Login"), _("not logged in; only sharing needs it"))
    if problem:
        detail = _("there is a token, which can't be checked while the Hub does not answer")
        return Finding("note", _("Login"), detail)
    return Finding("ok", _("Login"), login_status())


def run_doctor() -> int:
    """Print one line a finding.

    Returns:
        The exit status: 1 if a step of the course would fail, else 0.
    """
    failed = False
    for finding in examine():
        failed |= finding.level == "FAIL"
        print(f"{finding.level:4}  {finding.what}: {finding.detail}", flush=True)
    if failed:
        print(_("A step of the course would fail: see FAIL above."))
    else:
        print(_("Every step of the course can run here."))
    return int(failed)
