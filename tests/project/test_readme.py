"""What the README and the cards say can be done, and what they link to exists."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from tests.kernels import keras_python

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "clmkit" / "bundled" / "README.md", ROOT / "benchmarks" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere_and_pictures_have_a_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text)
    for picture, label, target in links:
        assert label.strip(), target
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
        assert not picture or len(label) > 40, f"{target} needs a text that stands in for it"


def test_every_make_target_named_in_the_readme_is_listed_by_make_help() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z-]+) ", listed, flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)(?=\s{2,}#|`)", README))
    assert {"course", "test", "lab", "doctor", "help"} <= named
    assert named <= targets | {"help"}


@pytest.mark.parametrize("keras", ["1", "0"])
@pytest.mark.parametrize("changed", ["main.txt", "keras.txt"])
def test_setup_runs_once_and_again_when_a_lock_changes(tmp_path: Path, changed: str, keras: str) -> None:
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/main.txt", "requirements/keras.txt"):
        shutil.copy(ROOT / name, tmp_path / name)

    def planned() -> str:
        # Without what a make around this test hands down: -n alone decides.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        command = ["make", "-n", "setup", f"KERAS={keras}"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    assert "pip install" in planned()
    made = re.findall(r"touch (\S+)", planned())
    assert len(made) == (3 if keras == "1" else 1)  # a stamp for each environment, and the kernel's registration
    for file in made:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert "pip install" not in planned()
    with (tmp_path / "requirements" / changed).open("a") as lock:
        lock.write("one-more==1.0\n")
    assert ("pip install" in planned()) is (changed == "main.txt" or keras == "1")


def test_the_first_lines_hold_the_two_commands_and_a_picture() -> None:
    top = "\n".join(README.splitlines()[:14])
    assert "make course" in top
    assert "make test" in top
    assert "](notebooks/images/loss_curve.png)" in top


def test_plain_commands_for_machines_without_make_work() -> None:
    block = README.split("<!-- plain commands -->")[1].split("\n\n")[0]
    commands = [line.strip() for line in block.splitlines() if line.strip()]
    # Installing what is there and collecting only: the rest of this very run is the last command.
    dry = {
        "-m venv": None,
        "-m pip": ["--dry-run"],
        "-m ipykernel": None,
        "-m clmkit": ["--help"],
        "-m pytest": ["--collect-only", "-q"],
    }
    kinds = [" ".join(command.split()[1:3]) for command in commands]
    assert kinds == ["-m venv", "-m pip", "-m pip", "-m venv", "-m pip", "-m pip", *list(dry)[2:]]
    pythons = {".venv/bin/python": sys.executable, ".venv-keras/bin/python": None}
    if os.environ.get("CLMKIT_KERAS") != "0":
        pythons[".venv-keras/bin/python"] = keras_python()
    for command, kind in zip(commands, kinds, strict=True):
        program, *arguments = shlex.split(command)
        python = pythons.get(program)
        if python and (extra := dry[kind]):
            run = subprocess.run([python, *arguments, *extra], cwd=ROOT, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stdout + run.stderr


def test_the_kernel_that_make_and_the_plain_commands_register_is_the_one_the_notebooks_name() -> None:
    command = shlex.split(next(line for line in README.splitlines() if "-m ipykernel install" in line))
    makefile = shlex.split(
        (ROOT / "Makefile").read_text(encoding="utf-8").split("-m ipykernel install")[1].split(">")[0]
    )
    for words in (command, makefile):
        assert words[words.index("--name") + 1] == KERAS_KERNEL
        assert words[words.index("--display-name") + 1] == KERNEL_NAMES["keras"]
