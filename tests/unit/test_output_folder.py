"""What training may write over: what clmkit left itself, and nothing else."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import DatasetDict
from filelock import FileLock
from huggingface_hub.utils import filter_repo_objects
from peft import LoraConfig
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedTokenizerBase, Trainer

from clmkit.hub.upload import NOT_SHARED
from clmkit.tracks import MODEL_NAME, TINY_MODEL, Track
from clmkit.training import output_folder
from clmkit.training.lora import add_adapter
from clmkit.training.output_folder import LOCK, foreign_files, hold, release
from clmkit.training.pytorch import build_trainer
from clmkit.training.tuned_models import find_or_train

Build = Callable[..., Trainer]
NOTES = "Two years of notes."


def write(path: Path, text: str = NOTES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def build(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> Build:
    """Builds a Trainer of two steps for the folder ``out``."""

    def make(trained: object = model, track: Track = quick, **arguments: object) -> Trainer:
        how = {"output_dir": str(tmp_path / "out"), "max_steps": 2, "save_steps": 1, "disable_tqdm": True}
        return build_trainer(track, trained, blocks, tokenizer, save_strategy="steps", **{**how, **arguments})

    return make


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "notes.txt",
        "config.json",
        "adapter_config.json",
        "tokenizer.json",
        "checkpoint-500/config.json",
        "checkpoint-best/optimizer.pt",
    ],
)
def test_build_trainer_refuses_a_folder_with_other_files(build: Build, tmp_path: Path, name: str) -> None:
    mine = write(tmp_path / "out" / name, "{}")
    with pytest.raises(ValueError, match=rf"holds other files \({Path(name).parts[0]}\), which training could write"):
        build()
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]
    build(output_dir=str(tmp_path / "out" / "run"))


@pytest.mark.parametrize(
    "name",
    ["runs/events", "logs/a.txt", "wandb/run-1/config.txt", "mlruns/0/meta", "train.log", "desktop.ini", ".DS_Store"],
)
def test_what_programs_leave_beside_a_model_is_neither_in_the_way_nor_shared(
    build: Build, tmp_path: Path, name: str
) -> None:
    theirs = write(tmp_path / "out" / name)
    build().train()
    assert theirs.read_text() == NOTES
    assert list(filter_repo_objects([name], ignore_patterns=NOT_SHARED)) == []


def test_a_model_of_someone_else_is_not_written_over(build: Build, model: GPT2LMHeadModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds other files \(config\.json, generation_config\.json, model\.safe"):
        build()
    write(tmp_path / "out" / LOCK, "")  # nor where a training that was refused began
    with pytest.raises(ValueError, match=r"holds other files \(config\.json, generation_config\.json, model\.safe"):
        build()


@pytest.mark.parametrize("adapter", [False, True])
def test_the_same_cells_run_twice_and_after_an_interruption(
    build: Build, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, adapter: bool
) -> None:
    def trainer() -> Trainer:
        model = AutoModelForCausalLM.from_pretrained(TINY_MODEL)
        return build(add_adapter(model, LoraConfig(task_type="CAUSAL_LM")) if adapter else model)

    first = trainer()
    first.train()  # leaves checkpoints alone
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"checkpoint-2", LOCK}
    second = trainer()
    second.train()
    second.save_model()
    trainer().train()


def test_the_folder_of_the_model_to_start_from_is_refused(build: Build, tmp_path: Path, quick: Track) -> None:
    build(AutoModelForCausalLM.from_pretrained(TINY_MODEL)).train()
    checkpoint = tmp_path / "out" / "checkpoint-2"
    for how in ({"track": replace(quick, model=str(checkpoint))}, {"trained": checkpoint}):
        if "trained" in how:
            how["trained"] = AutoModelForCausalLM.from_pretrained(checkpoint)
        with pytest.raises(ValueError, match=r"start from is checkpoint-2 in the output folder .* are removed"):
            build(**how)
        with pytest.raises(ValueError, match="is that of the model to start from, which would be written over"):
            build(**how, output_dir=str(checkpoint))


def test_build_trainer_leaves_a_run_of_the_command_alone(build: Build, tmp_path: Path) -> None:
    write(tmp_path / "out" / "run.json", json.dumps({"status": "training", "versions": {}}))
    with pytest.raises(ValueError, match="holds a run of `python -m clmkit train`: choose another output_dir"):
        build()


def test_two_notebooks_do_not_train_into_one_folder(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build()
    hold(tmp_path / "out", "")
    monkeypatch.setattr(output_folder, "_held", {})  # as if by another process
    with pytest.raises(OSError, match="in use by another run: wait for it, or choose another output_dir"):
        trainer.train()


def test_the_lock_lies_in_the_folder_and_is_not_shared(tmp_path: Path) -> None:
    hold(tmp_path, "")
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert foreign_files(tmp_path) == []
    assert any(Path(LOCK).match(pattern) for pattern in NOT_SHARED)
    with pytest.raises(OSError, match="in use by another run: wait for it, or take a walk"):
        hold(tmp_path, "take a walk")
    release(tmp_path)
    hold(tmp_path, "")
    release(tmp_path)


def test_a_file_system_without_locks_has_one_that_this_machine_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FileLock.acquire

    def acquire_elsewhere(self: FileLock, **options: bool) -> object:
        if Path(self.lock_file).parent == tmp_path:
            raise OSError(errno.ENOTSUP, "Operation not supported")
        return acquire(self, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire_elsewhere)
    hold(tmp_path, "")
    with pytest.raises(OSError, match="in use by another run"):
        hold(tmp_path, "")
    release(tmp_path)


def test_find_or_train_goes_beside_what_is_not_its_own(
    quick: Track, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "quick" / MODEL_NAME
    track = replace(quick, output_dir=str(first))
    mine = write(first / "README.md")
    trained: list[Path] = []
    assert find_or_train(track, "pytorch", trained.append) == Path(f"{first}-2")
    assert f"Not using {first.as_posix()}: it holds other files (README.md)" in capsys.readouterr().out
    assert mine.read_text() == NOTES
    # An interrupted training of a notebook is the course's own.
    mine.unlink()
    write(first / "checkpoint-3" / "config.json", "{}")
    assert find_or_train(track, "pytorch", trained.append) == first
