"""What the README and the cards say can be done, and what they link to exists."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "clmkit" / "bundled" / "README.md"]


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


def test_setup_runs_once_and_again_when_the_lock_changes(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/main.txt"):
        shutil.copy(ROOT / name, tmp_path / name)

    def planned() -> str:
        # Without what a make around this test hands down: -n alone decides.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        command = ["make", "-n", "setup"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    assert "pip install" in planned()
    (stamp,) = re.findall(r"touch (\S+)", planned())
    (tmp_path / stamp).parent.mkdir()
    (tmp_path / stamp).touch()
    assert "pip install" not in planned()
    with (tmp_path / "requirements" / "main.txt").open("a") as lock:
        lock.write("one-more==1.0\n")
    assert "pip install" in planned()


def test_the_first_lines_hold_the_two_commands_and_a_picture() -> None:
    top = "\n".join(README.splitlines()[:14])
    assert "make course" in top
    assert "make test" in top
    assert "](notebooks/images/loss_curve.png)" in top


def test_plain_commands_for_machines_without_make_work() -> None:
    block = README.split("<!-- plain commands -->")[1].split("\n\n")[0]
    commands = [line.strip() for line in block.splitlines() if line.strip()]
    assert commands[0] == "python -m venv .venv"
    in_venv = [command.removeprefix(".venv/bin/python ") for command in commands[1:]]
    assert [command.split()[:3] for command in in_venv] == [
        ["-m", "pip", "install"],
        ["-m", "pip", "install"],
        ["-m", "clmkit", "course"],
        ["-m", "pytest"],
    ]
    # Installing what is there and collecting only: the rest of this very run is the last command.
    dry = ["--dry-run"], ["--dry-run"], ["--help"], ["--collect-only", "-q"]
    for command, extra in zip(in_venv, dry, strict=True):
        run = subprocess.run(
            [sys.executable, *command.split(), *extra], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
