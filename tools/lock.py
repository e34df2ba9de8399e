"""Compile both locks from the ranges in ``pyproject.toml``, with the hashes of every file of each package.

    python -m tools.lock              keep the versions that the locks have, but for what the ranges no longer allow
    python -m tools.lock --upgrade    take the newest that the ranges allow

torch and what its CUDA build depends on stay out, since they differ by machine: ``requirements/torch.txt`` has torch.
"""

import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TORCH = ROOT / "requirements" / "torch.txt"
EXTRAS = {
    "main.txt": ("torch", "keras-hub", "fast", "lora", "real-model", "lab", "bench", "site", "test", "browser"),
    "keras.txt": ("keras", "keras-kernel"),
}
ENTRY = re.compile(r"^\S.*\n(?:[ \t]+\S.*\n)*", re.MULTILINE)
BY_MACHINE = re.compile(r"torch==|cuda|nvidia|triton")


def entries(text: str) -> dict[str, list[str]]:
    """The requirements of a lock, each with the hashes that stand below it."""
    found = {}
    for lines in ENTRY.findall(text):
        pin, *hashes = (line.strip(" \t\\") for line in lines.splitlines())
        found[pin] = [word.removeprefix("--hash=") for word in hashes]
    return found


def read_lock(path: Path) -> list[Requirement]:
    """The requirements of a lock."""
    return [Requirement(pin) for pin in entries(path.read_text(encoding="utf-8"))]


def without_torch(text: str) -> str:
    """A compiled lock without the packages that differ by machine."""
    return "".join(entry for entry in ENTRY.findall(text) if not BY_MACHINE.match(entry))


def compile_lock(name: str, *options: str) -> None:
    """Let uv write a lock anew; the versions in the file are those that it prefers.

    Raises:
        subprocess.CalledProcessError: If uv finds no versions that fit; it has said why.
    """
    path = ROOT / "requirements" / name
    words = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    words += ["--no-header", "--no-annotate", "--no-emit-index-url", "--constraint", str(TORCH)]
    words += [word for extra in EXTRAS[name] for word in ("--extra", extra)]
    words += ["--output-file", str(path), *options, str(ROOT / "pyproject.toml")]
    subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.DEVNULL)
    path.write_text(without_torch(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--upgrade"]):
        sys.exit("python -m tools.lock [--upgrade]")
    for lock in EXTRAS:
        compile_lock(lock, *sys.argv[1:])
