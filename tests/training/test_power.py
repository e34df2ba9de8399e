"""The power is gone: files of a run that are empty or cut in half, each in turn, are recognized."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clmkit.scale.checkpoints import MARK, last_whole
from clmkit.scale.data import HELD_OUT, _has_held_out
from clmkit.scale.guard import STREAM_STATE
from clmkit.scale.record import RECORD
from clmkit.scale.results import generate
from clmkit.scale.run import _find_earlier
from tests.training import jobs
from tests.training.conftest import words
from tests.training.launch import record, run, same_weights

CHECKPOINT = {"config.json", "generation_config.json", "model.safetensors", "optimizer.pt", "rng_state.pth"}
CHECKPOINT |= {
    "scheduler.pt",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
    "training_args.bin",
    MARK,
}
MODEL = CHECKPOINT - {"optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json", MARK}
Finished = tuple[Path, list[str]]


@pytest.fixture(scope="module", params=["stored", "stream"])
def finished(
    request: pytest.FixtureRequest, noisy_model: Path, small_shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A finished run with two checkpoints, of rows on the disk or of a stream, and the words that made it."""
    folder = tmp_path_factory.mktemp(request.param)
    how = {"data": small_shards / "*.jsonl", "model": noisy_model, "block_size": 16, "max_steps": 6, "save_steps": 3}
    how |= {"save_strategy": "steps", "save_total_limit": 2, "eval_strategy": "no", "use_cpu": True, "test_size": 0.2}
    how |= {"streaming": True, "window": 10} if request.param == "stream" else {}
    given = words(**how, learning_rate=1e-2, output_dir=folder / "out")
    run(jobs.command, "train", given, log=folder / "log")
    return folder / "out", given


def cuts(path: Path) -> Iterator[int]:
    """Leave nothing of a file, then its first half; and in the end mend it."""
    whole = path.read_bytes()
    for length in (0, len(whole) // 2):
        os.truncate(path, length)
        yield length
        path.write_bytes(whole)


def test_a_checkpoint_with_a_cut_file_is_passed_over(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    folder, given = finished
    names = {path.name for path in (folder / "checkpoint-6").iterdir()}
    assert names == CHECKPOINT | ({STREAM_STATE} if "--streaming" in given else set())
    broken = 0
    for name in sorted(names):
        for _ in cuts(folder / "checkpoint-6" / name):
            assert last_whole(folder) == folder / "checkpoint-3"
            assert f"Passing over checkpoint-6, which is half-written: it lacks {name}\n" in capsys.readouterr().out
            broken += 1
    assert last_whole(folder) == folder / "checkpoint-6"
    print(f"\n{broken} checkpoints with a cut file, {broken} passed over")


def test_a_finished_model_with_a_cut_file_is_saved_again(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, given = finished
    written = record(folder)
    assert set(written["files"]) == MODEL
    for name in written["files"]:
        for _ in cuts(folder / name):
            earlier, checkpoint = _find_earlier(folder, first=True)
            assert earlier is not None
            assert (earlier["status"], checkpoint) == ("training", folder / "checkpoint-6")
            assert f"it lacks {name}\n" in capsys.readouterr().out
    shutil.copytree(folder, tmp_path / "whole")
    for name in ("model.safetensors", "config.json"):
        os.truncate(folder / name, 100)
        with pytest.raises(ValueError, match=f"{name} of .* is (not whole|no JSON) "):
            generate(folder, ["a"])
    assert "Going on from checkpoint-6" in run(jobs.command, "train", given, log=tmp_path / "log")
    assert same_weights(folder, tmp_path / "whole")
    assert record(folder) == written


def test_json_that_somebody_made_shorter_is_whole(finished: Finished) -> None:
    folder, _ = finished
    path = folder / "generation_config.json"
    before = path.read_text()
    path.write_text("{}")
    earlier, _ = _find_earlier(folder, first=True)
    path.write_text(before)
    assert earlier is not None
    assert earlier["status"] == "finished"


def test_a_cut_record_is_passed_over_and_the_run_begins_anew(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = finished
    for _ in cuts(folder / RECORD):
        assert _find_earlier(folder, first=False) == (None, None)
        assert f"{RECORD}, which is broken" in capsys.readouterr().out


def test_cut_blocks_to_test_on_are_made_anew(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    folder, given = finished
    if "--streaming" not in given:
        assert not (folder / HELD_OUT).exists()
        return
    for _ in cuts(folder / HELD_OUT):
        assert not _has_held_out(folder)
        assert f"{HELD_OUT}, which is broken" in capsys.readouterr().out
    assert _has_held_out(folder)


def test_a_run_goes_on_where_several_files_are_cut(finished: Finished, tmp_path: Path) -> None:
    folder, given = finished
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    begun = (out / RECORD).read_text().replace('"status": "finished"', '"status": "training"')
    (out / RECORD).write_text(begun)
    (out / "model.safetensors").unlink()
    os.truncate(out / "checkpoint-6" / "optimizer.pt", 1000)
    if (out / HELD_OUT).exists():
        os.truncate(out / HELD_OUT, 10)
    given = [*given[: given.index("--output_dir")], "--output_dir", str(out)]
    assert "Going on from checkpoint-3" in run(jobs.command, "train", given, log=tmp_path / "log")
    assert same_weights(out, folder)
    assert record(out)["after"] == record(folder)["after"]
