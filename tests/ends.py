"""Run the tests at an end of the ranges in ``pyproject.toml``: the lowest version of each dependency, or the newest.

python -m tests.ends floors|newest|beyond [arguments of pytest]

``beyond`` takes the newest there is, whatever the ranges say: what fails there only informs, and the status is 0. Each
end gets an environment of its own, such as ``build/floors``. torch stays at the version that ``requirements/torch.txt``
names, since there is no CPU build of others everywhere: those are untried. What moved since the lock comes first.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import format_table

ROOT = Path(__file__).parents[1]
LOCK, TORCH = ROOT / "requirements" / "main.txt", ROOT / "requirements" / "torch.txt"
RESOLUTIONS = {"floors": "lowest-direct", "newest": "highest", "beyond": "highest"}
UPPER_BOUND = re.compile(r",<[\d.]+")
EXTRAS = ("torch", "keras-hub", "fast", "lora", "real-model", "lab", "test")
# Notebooks of this kernel too. The Keras kernel has exact versions, and Colab's stand-in Google's.
TESTS = ("tests/unit", "tests/bad_input", "tests/training/test_arguments.py", "tests/training/test_streams.py")
TESTS += ("tests/notebooks/test_notebooks.py",)
# The doctor compares with the lock.
ELSE = ("--deselect", "tests/unit/test_doctor.py::test_a_machine_that_can_run_the_quick_track_passes", "-m", "not long")
ELSE += ("--deselect", "tests/unit/test_platforms.py::test_nothing_depends_on_the_default_encoding")
GPU_BUILD = re.compile(r"(torch$|cuda|nvidia|triton)")  # what torch's build for GPUs brings, and torch
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def read_pins(path: Path) -> dict[str, str]:
    """The versions that a lock names, by package."""
    return dict(PIN.findall(path.read_text(encoding="utf-8")))


def compile_versions(end: str, path: Path) -> None:
    """Let uv write the versions at an end of the ranges."""
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    words = ["uv", "pip", "compile", "--quiet", "--upgrade", "--no-header", "--no-annotate", "--python-version", "3.11"]
    words += ["--resolution", RESOLUTIONS[end], "--constraint", str(TORCH), "--output-file", str(path), *extras]
    ranges = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "pyproject.toml"
        project.write_text(UPPER_BOUND.sub("", ranges) if end == "beyond" else ranges, encoding="utf-8")
        subprocess.run([sys.executable, "-m", *words, str(project)], check=True, stdout=subprocess.DEVNULL)


def describe_moves(pins: dict[str, str]) -> str:
    """The table of what differs from the lock; packages that only a GPU's build of torch brings are none of it."""
    lock = read_pins(LOCK)
    moved = [[name, lock[name], pins[name]] for name in sorted(lock.keys() & pins) if lock[name] != pins[name]]
    return format_table(["package", "in the lock", "here"], moved)


def set_up(folder: Path, pins: dict[str, str]) -> Path:
    """Install the versions, torch by pip, whose settings say which build of it suits this machine."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = [f"{name}=={version}" for name, version in pins.items() if not GPU_BUILD.match(name)]
    pip, uv = [str(python), "-m", "pip", "install"], [sys.executable, "-m", "uv", "pip", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", f"torch=={pins['torch']}"], check=True)
    subprocess.run([*uv, "--quiet", "--compile-bytecode", "--python", str(python), *wanted], check=True)
    subprocess.run([*pip, "--quiet", "--no-deps", "--editable", str(ROOT)], check=True)
    return python


def main(end: str, *arguments: str) -> int:
    """Compile, install, say what moved, and run the tests; pytest's exit status."""
    folder = ROOT / "build" / end
    folder.parent.mkdir(exist_ok=True)
    compile_versions(end, folder.with_suffix(".txt"))
    pins = read_pins(folder.with_suffix(".txt"))
    print(describe_moves(pins), flush=True)
    python = set_up(folder, pins)
    environment = {**os.environ, "CLMKIT_KERAS": "0", "CLMKIT_COLAB": "0", "OMP_NUM_THREADS": "1"}
    tests = arguments or (*TESTS, *ELSE)
    status = subprocess.run([str(python), "-m", "pytest", *tests], cwd=ROOT, env=environment).returncode
    return 0 if end == "beyond" else status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
