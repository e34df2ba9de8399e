"""Whose an output folder is."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clmkit.saving import check_output_dir
from clmkit.scale.command import run_command
from clmkit.scale.processes import own_folder
from clmkit.training.output_folder import RECORD
from tests.training.launch import record

Words = Callable[..., list[str]]


@pytest.mark.parametrize(
    "name", ["README.md", "notes.txt", "model.safetensors", "checkpoint-500/trainer_state.json", "data/rows.jsonl"]
)
def test_a_folder_with_other_files_is_refused_and_nothing_in_it_changes(
    words_of: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("Two years of notes.")
    assert run_command("train", words_of()) == 1
    said = capsys.readouterr().err
    assert f"holds other files ({Path(name).parts[0]}), which training could write over" in said
    assert f"--output_dir {(tmp_path / 'out' / 'run').as_posix()}" in said
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "Two years of notes."
    assert run_command("train", words_of(output_dir=tmp_path / "out" / "run", max_steps=2)) == 0


@pytest.mark.parametrize("name", ["slurm-7.out", "train.log", "run.yaml", ".gitignore"])
def test_logs_and_the_options_may_lie_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with own_folder(tmp_path, "gpt2", first=True) as folder:
        assert folder == tmp_path


def test_the_folder_of_the_model_to_start_from_is_refused(
    words_of: Words, steady_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(steady_model, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    os.symlink(model, tmp_path / "out")
    assert run_command("train", words_of(model=model)) == 1
    assert "is that of the model to start from, which would be written over" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_second_run_in_a_folder_is_refused_at_once(
    words_of: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_folder(tmp_path / "out", "gpt2", first=True):
        assert run_command("train", words_of()) == 1
        assert "is in use by another run: wait for it, or choose another --output_dir" in capsys.readouterr().err
        with own_folder(tmp_path / "out", "gpt2", first=False) as folder:  # another process of the same run
            assert folder == check_output_dir(tmp_path / "out")
    assert run_command("train", words_of(max_steps=2)) == 0


def test_the_lock_is_seen_with_other_folders_for_temporary_files_and_dies_with_its_process(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = (
        "import os, signal, sys\n"
        "from clmkit.scale.processes import own_folder\n"
        "with own_folder(sys.argv[1], 'gpt2', first=True):\n"
        "    print('mine', flush=True)\n"
        "    signal.pause()\n"
    )
    elsewhere = os.environ | {
        "TMPDIR": str(tmp_path_factory.mktemp("tmp")),
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=elsewhere
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(OSError, match="in use by another run"), own_folder(tmp_path, "gpt2", first=True):
            pass
        other.send_signal(signal.SIGKILL)
    with own_folder(tmp_path, "gpt2", first=True):
        pass


@pytest.mark.parametrize(
    ("content", "others"),
    [
        ("", ["notes.txt"]),
        ("{", ["notes.txt", "run.json"]),
        ("{}", ["run.json"]),
        ('["mine"]', ["run.json"]),
        ('{"name": "morning", "miles": 5}', ["run.json"]),
    ],
)
def test_a_record_that_is_not_of_a_run_makes_no_folder_ones_own(
    words_of: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, others: list[str]
) -> None:
    (tmp_path / "out").mkdir()
    for name in {*others, RECORD}:
        (tmp_path / "out" / name).write_text(content if name == RECORD else "Two years of notes.")
    before = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert run_command("train", words_of()) == 1
    assert f"holds other files ({', '.join(others)})" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("content", ["", "{", '{"status": "finis'])
def test_a_broken_record_is_passed_over_and_its_checkpoints_are_not_trusted(
    words_of: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    folder = tmp_path / "out"
    assert run_command("train", words_of(max_steps=12, learning_rate=0.5)) == 0
    (folder / RECORD).write_text(content)
    capsys.readouterr()
    assert run_command("train", words_of(max_steps=6)) == 0
    said = capsys.readouterr().out
    assert f"Passing over {(folder / RECORD).as_posix()}, which is broken" in said
    assert "Going on from" not in said
    assert record(folder)["arguments"]["learning_rate"] == 1e-2
