"""Look at everything that can keep a step of the course from working, and say what to do about it."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from datasets.config import HF_DATASETS_CACHE
from huggingface_hub.constants import HF_HOME, HF_HUB_CACHE
from packaging.requirements import Requirement

from clmkit.gigatokens import gigatoken_problem
from clmkit.hub.client import get_token
from clmkit.hub.login import hub_problem, login_status
from clmkit.kernels import KERAS_KERNEL, gpu_precision, has_gpu, installed_version, start_tensorflow
from clmkit.messages import _, ngettext
from clmkit.saving import check_cache
from clmkit.tracks import BUNDLED

LOCKS = {
    "main": ("requirements/main.txt", "requirements/torch.txt"),
    "keras": ("requirements/keras.txt",),
}
EXTRAS = {"main": ("torch", "lab"), "keras": ("keras", "keras-kernel")}  # of clmkit, where there is no lock
MIN_FREE_GB = {"quick": 0.5, "full": 5.0}  # full: DistilGPT2, its checkpoints with optimizer state, and the data


class Finding(NamedTuple):
    """One line of the doctor: ``ok``, ``note`` for what limits nothing, or ``FAIL`` where a step would fail."""

    level: Literal["ok", "note", "FAIL"]
    what: str
    detail: str


def examine() -> Iterator[Finding]:
    """Check Python, packages, kernels, GPU, disk, bundled files, the Hub and the login."""
    track = os.environ.get("CLMKIT_TRACK", "quick")
    yield _python()
    yield from _packages()
    yield from _kernels()
    yield _tokenizing()
    yield _gpu()
    yield _disk(track)
    yield _cache()
    yield _bundled()
    problem = hub_problem()
    yield _hub(problem, track)
    yield _login(problem)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("ok", "Python", version)
    return Finding("FAIL", "Python", _("{version}: the course needs 3.11, 3.12 or 3.13", version=version))


def _required() -> tuple[str, list[Requirement]]:
    """What to install, and the requirements that it names: the kernel's lock, or clmkit with its own ranges."""
    kernel = "main" if importlib.util.find_spec("torch") else "keras"
    source, lines = "clmkit", importlib.metadata.requires("clmkit") or []
    for root in (Path(__file__).parent.parent, Path.cwd()):
        if there := [root / name for name in LOCKS[kernel] if (root / name).is_file()]:
            source = LOCKS[kernel][0]
            lines = [line for path in there for line in path.read_text(encoding="utf-8").splitlines()]
    # Below each package its hashes, indented.
    found = [Requirement(line.rstrip(" \\")) for line in lines if line and line[0] not in "#- "]
    here = [{"extra": extra} for extra in EXTRAS[kernel]]
    return source, [one for one in found if not one.marker or any(map(one.marker.evaluate, here))]


def _packages() -> Iterator[Finding]:
    source, requirements = _required()
    missing, others = [], []
    for requirement in requirements:
        version = installed_version(requirement.name)
        if not version:
            missing.append(f"{requirement.name}{requirement.specifier}")
        elif not requirement.specifier.contains(version.split("+")[0], prereleases=True):
            others.append(f"{requirement.name} {version} ({requirement.specifier})")
    if missing:
        names = ", ".join(missing)
        detail = _("not installed: {names}; install {source} again (make setup)", names=names, source=source)
        yield Finding("FAIL", _("Packages"), detail)
    if others:
        names = ", ".join(others)
        detail = _(
            "not the versions in brackets: {names}; install {source} again (make setup)", names=names, source=source
        )
        yield Finding("note", _("Packages"), detail)
    if not missing and not others:
        detail = ngettext("{count} as in {source}", "{count} as in {source}", len(requirements), source=source)
        yield Finding("ok", _("Packages"), detail)


def _kernels() -> Iterator[Finding]:
    python3, keras = (_("Kernel {name}", name=name) for name in ("python3", KERAS_KERNEL))
    frozen = _(
        "it is there, frozen at transformers 4.52.4, which gets no security fixes: load only models that you trust, "
        "as safetensors; 06c is the way on"
    )
    if not importlib.util.find_spec("torch"):  # this is its Python
        yield Finding("note", keras, frozen)
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
        yield Finding("note", keras, _("not registered (make setup does it): 06b and 07b need it, nothing else does"))
    elif not Path(python := manager.get_kernel_spec(KERAS_KERNEL).argv[0]).exists():
        yield Finding("FAIL", keras, _("its Python, {path}, is gone: make setup", path=python))
    else:
        yield Finding("note", keras, frozen)


def _tokenizing() -> Finding:
    if problem := gigatoken_problem():
        return Finding("note", _("Tokenizing"), _("without gigatoken, the same but slower: {problem}", problem=problem))
    detail = _("by gigatoken {version} where it gives the same ids", version=importlib.metadata.version("gigatoken"))
    return Finding("ok", _("Tokenizing"), detail)


def _gpu() -> Finding:
    if not importlib.util.find_spec("torch"):
        start_tensorflow(legacy_keras=True)
        if has_gpu():
            return Finding("ok", "GPU", _("TensorFlow sees one"))
        return Finding("note", "GPU", _("none, quick track"))
    import torch

    if has_gpu():
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "Apple MPS"
        dtype = gpu_precision() or "float32"
        return Finding("ok", "GPU", _("{name}, training in {dtype}", name=name, dtype=dtype))
    detail = ngettext(
        "none: {count} CPU thread, training in float32, quick track",
        "none: {count} CPU threads, training in float32, quick track",
        torch.get_num_threads(),
    )
    return Finding("note", "GPU", detail)


def _disk(track: str) -> Finding:
    free, needed = shutil.disk_usage(Path.cwd()).free / 1e9, MIN_FREE_GB.get(track, MIN_FREE_GB["full"])
    if free >= needed:
        detail = _("{free:.0f} GB; the {track} track needs {needed:g}", free=free, track=track, needed=needed)
        return Finding("ok", _("Free disk"), detail)
    detail = _(
        "{free:.1f} GB, and the {track} track needs {needed:g}: make room", free=free, track=track, needed=needed
    )
    return Finding("FAIL", _("Free disk"), detail)


def _cache() -> Finding:
    try:
        for folder in (HF_HOME, HF_HUB_CACHE, HF_DATASETS_CACHE):
            check_cache(folder)
    except OSError as error:
        return Finding("FAIL", _("Cache"), str(error))
    return Finding("ok", _("Cache"), _("the libraries can write theirs"))


def _bundled() -> Finding:
    wanted = ("eli5_sample.jsonl", "tiny_gpt2/config.json", "tiny_gpt2/model.safetensors", "tiny_gpt2/vocab.json")
    if missing := ", ".join(name for name in wanted if not (BUNDLED / name).is_file()):
        return Finding("FAIL", _("Bundled files"), _("missing: {files}: install clmkit again", files=missing))
    return Finding("ok", _("Bundled files"), _("sample and tiny GPT-2 are there"))


def _hub(problem: str | None, track: str) -> Finding:
    if problem is None:
        return Finding("ok", "Hub", _("answers"))
    detail = _("{problem}; the full track and sharing need it", problem=problem)
    return Finding("FAIL" if track == "full" else "note", "Hub", detail)


def _login(problem: str | None) -> Finding:
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
