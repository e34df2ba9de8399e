"""What the README, the pages beside it and the cards say can be done, and what they link to exists."""

import ast
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source, find_spec
from pathlib import Path

import nbformat
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, default_data_collator

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from clmkit.scale.command import parse_training
from clmkit.tracks import BUNDLED, choose_track
from tests.anchors import anchors
from tests.kernels import keras_python

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MACHINES = (ROOT / "MACHINES.md").read_text(encoding="utf-8")
TROUBLESHOOTING = (ROOT / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("clmkit/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere_and_pictures_have_a_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for picture, label, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", text):
        assert label.strip(), target
        assert not picture or len(label) > 40, f"{target} needs a text that stands in for it"
        path, _, anchor = target.partition("#")
        if ":" in target:  # there is no network here: only the form of an address can be checked
            assert re.fullmatch(r"https://[\w.-]+\.\w+(/[\w.~%/#?=&+-]*)?", target), target
        else:
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_an_anchor_is_made_as_github_makes_it(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text('# PyTorch or Keras?\n\n## Keras `fit`, twice: a "b"\n')
    assert anchors(tmp_path / "page.md") == ["pytorch-or-keras", "keras-fit-twice-a-b"]


def messages_of_clmkit() -> list[str]:
    """Every text in the code of clmkit and of the course's runner, with ... for what is put in."""
    texts = []
    for path in [*(ROOT / "clmkit").rglob("*.py"), ROOT / "tools" / "course.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"\{[^{}]*\}", "...", node.value))  # what clmkit.messages._ puts in
    return texts


def import_without_installing() -> None:
    python = subprocess.run([sys.executable, "-I", "-S", "-c", "import clmkit"], capture_output=True, text=True)
    raise RuntimeError(python.stderr)


def split_twice() -> None:
    halves = Dataset.from_dict({"text": ["a", "b"]}).train_test_split(test_size=0.5)
    halves.train_test_split(test_size=0.5)  # type: ignore[attr-defined]


def tokenize_a_long_text() -> None:
    with warnings_of("transformers.tokenization_utils_base") as warnings:
        AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")("word " * 1000)
    raise RuntimeError(*warnings)


@contextmanager
def warnings_of(logger: str) -> Iterator[list[str]]:
    """What a logger of transformers, which does not pass its lines on, says within the block."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(logger).addHandler(handler)
    yield lines
    logging.getLogger(logger).removeHandler(handler)


def collate_blocks_of_two_lengths() -> None:
    default_data_collator([{"input_ids": [1] * 128}, {"input_ids": [1] * 94}])


# How a learner comes to read what is not in clmkit's code.
RAISED_BY = {
    "ModuleNotFoundError: No module named 'clmkit'": import_without_installing,
    "'DatasetDict' object has no attribute 'train_test_split'": split_twice,
    "Token indices sequence length is longer than the specified maximum sequence length": tokenize_a_long_text,
    "expected sequence of length 128 at dim 1 (got 94)": collate_blocks_of_two_lengths,
}
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory"  # raised by a GPU only: its name must do
TROUBLE = re.findall(r"^\| `([^`]+)` \|", TROUBLESHOOTING, flags=re.MULTILINE)


@pytest.mark.parametrize("message", TROUBLE)
def test_a_message_of_the_table_is_one_that_a_learner_can_get(message: str) -> None:
    if message == OUT_OF_MEMORY:
        assert issubclass(torch.OutOfMemoryError, RuntimeError)
    elif raise_it := RAISED_BY.get(message):
        with pytest.raises(Exception, match=re.escape(message)):
            raise_it()
    else:
        assert any(message in text for text in messages_of_clmkit())


def test_the_table_leaves_no_message_unexplained() -> None:
    assert len(TROUBLE) == len(set(TROUBLE)) >= 35
    assert set(RAISED_BY) <= set(TROUBLE)
    tables = [part.split("\n\n")[0].splitlines() for part in TROUBLESHOOTING.split("| message |")[1:]]
    assert len(tables) == len(re.findall("^## ", TROUBLESHOOTING, flags=re.MULTILINE)), "one under each heading"
    rows = [row for table in tables for row in table[2:]]
    assert len(rows) == len(TROUBLE)
    assert all(len(row.split(" | ")) == 3 and all(cell.strip("| ") for cell in row.split(" | ")) for row in rows)


def after_mark(mark: str, page: str) -> str:
    """The indented block after a mark in a page, as it is printed."""
    block = page.split(f"<!-- {mark} -->\n")[1].split("\n\n")[0]
    return "\n".join(line.removeprefix("    ") for line in block.splitlines())


def test_what_make_course_is_said_to_print_is_what_the_stored_notebooks_show() -> None:
    lines = after_mark("printed", README).splitlines()
    assert len(lines) >= 5
    for name, line in (line.split(maxsplit=1) for line in lines):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert line in "".join(output.get("text", "") for output in outputs).splitlines()


def test_the_track_and_the_minutes_are_those_that_choose_track_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, answer in {"has_gpu": False, "check_hub": None}.items():
        monkeypatch.setattr(f"clmkit.tracks.{module}", lambda answer=answer: answer)
    choose_track()
    assert after_mark("said by choose_track", MACHINES) in capsys.readouterr().out
    choose_track("full")
    minutes = re.search(r"about \d+ minutes", capsys.readouterr().out)
    assert minutes is not None
    assert minutes[0] in " ".join(README.split())


def test_every_make_target_named_in_a_page_is_listed_by_make_help() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z-]+) ", listed, flags=re.MULTILINE))
    text = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("*.md"))
    named = set(re.findall(r"make ([a-z-]+)(?=\s{2,}#|`| KERAS|\n)", text))
    assert {"course", "test", "lab", "doctor", "help", "real-model", "gpu-report"} <= named
    assert named <= targets | {"help"}


@pytest.mark.parametrize("keras", ["1", "0"])
@pytest.mark.parametrize("changed", ["main.txt", "torch.txt", "keras.txt"])
def test_setup_runs_once_and_again_when_a_lock_changes(tmp_path: Path, changed: str, keras: str) -> None:
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements/main.txt",
        "requirements/torch.txt",
        "requirements/keras.txt",
        "tools/real_model.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def planned() -> str:
        # Without what a make around this test hands down: -n alone decides.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        command = ["make", "-n", "setup", f"KERAS={keras}"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    assert "pip install" in planned()
    made = re.findall(r"touch (\S+)", planned())
    # A stamp for each environment and the real model, and the kernel's registration.
    assert len(made) == (4 if keras == "1" else 2)
    for file in made:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert "pip install" not in planned()
    with (tmp_path / "requirements" / changed).open("a") as lock:
        lock.write("one-more==1.0\n")
    assert ("pip install" in planned()) is (changed != "keras.txt" or keras == "1")


@pytest.mark.parametrize("package", ["pandas", "matplotlib"])
def test_what_setup_installs_is_compiled(package: str) -> None:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    assert Path(cache_from_source(found.origin)).is_file(), "every process compiles what it imports: make setup"


def test_the_container_is_set_up_by_a_command_of_the_page_on_machines() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert f"`{container['postCreateCommand']}`" in MACHINES
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"].endswith("/.venv/bin/python")  # where that command puts it
    assert re.fullmatch(r"python:3\.1[123]", container["image"])


@pytest.mark.parametrize("page", ["README.md", "README.ar.md"])
def test_the_modules_named_beside_a_notebook_are_those_that_it_imports(page: str) -> None:
    rows = re.findall(
        r"^\| \[.+?\]\(notebooks/(?:ar/)?(\w+)\.ipynb\) \|(.*)\|", (ROOT / page).read_text(), re.MULTILINE
    )
    assert len(rows) == len(list((ROOT / "notebooks").glob("[0-9]*.ipynb")))
    for name, row in rows:
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        named = re.findall(r"`([\w.]+)`", row.rsplit("|", 1)[1])
        assert named, name
        assert set(named) <= set(re.findall(r"from clmkit\.([\w.]+) import", code)), name


def test_the_first_lines_hold_the_two_commands_and_a_picture() -> None:
    top = "\n".join(README.splitlines()[:14])
    assert "make course" in top
    assert "make test" in top
    assert "](notebooks/.course/images/loss_curve.png)" in top


def test_the_readme_is_read_in_two_minutes_and_leads_to_every_page() -> None:
    prose = re.sub(r"^(    |\|).*$|!\[[^]]*\]|\]\([^)]*\)|<!--.*?-->", "", README, flags=re.MULTILINE)
    assert len(prose.split()) <= 600
    for page in ROOT.glob("*.md"):
        assert page.name == "README.md" or page.suffixes[0] != ".md" or f"]({page.name})" in README


WORDS_OF_PAGES = "".join(path.read_text(encoding="utf-8") for path in PAGES)


@pytest.mark.parametrize("words", sorted(set(re.findall(r"(?m)^    .*-m clmkit train (.*)$", WORDS_OF_PAGES))))
def test_a_command_that_trains_is_understood(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = parse_training(shlex.split(words))
    assert given.track or given.arguments


@pytest.mark.long
def test_plain_commands_for_machines_without_make_work() -> None:
    commands = after_mark("plain commands", MACHINES).splitlines()
    # Installing what is there and collecting only: the rest of this very run is the last command.
    dry = {
        "-m venv": None,
        "-m pip": ["--dry-run"],
        "-m ipykernel": None,
        "-m tools.real_model": [],
        "-m tools.course": ["--help"],
        "-m pytest": ["--collect-only", "-q"],
    }
    kinds = [" ".join(command.split()[1:3]) for command in commands]
    assert kinds == ["-m venv", *["-m pip"] * 3, "-m venv", *["-m pip"] * 2, *list(dry)[2:]]
    pythons = {".venv/bin/python": sys.executable, ".venv-keras/bin/python": None}
    if os.environ.get("CLMKIT_KERAS") != "0":
        pythons[".venv-keras/bin/python"] = keras_python()
    for command, kind in zip(commands, kinds, strict=True):
        program, *arguments = shlex.split(command)
        python = pythons.get(program)
        if python and (extra := dry[kind]) is not None:
            run = subprocess.run([python, *arguments, *extra], cwd=ROOT, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stdout + run.stderr


def test_the_kernel_that_make_and_the_plain_commands_register_is_the_one_the_notebooks_name() -> None:
    command = shlex.split(next(line for line in MACHINES.splitlines() if "-m ipykernel install" in line))
    makefile = shlex.split(
        (ROOT / "Makefile").read_text(encoding="utf-8").split("-m ipykernel install")[1].split(">")[0]
    )
    for words in (command, makefile):
        assert words[words.index("--name") + 1] == KERAS_KERNEL
        assert words[words.index("--display-name") + 1] == KERNEL_NAMES["keras"]
