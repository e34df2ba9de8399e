"""Runs that are killed, stopped, or run out of something."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clmkit.scale.checkpoints import MARK, checkpoints, last_whole, mark_whole, missing_from, step_of
from clmkit.scale.guard import TERMINATED
from tests.training import jobs
from tests.training.launch import FORKS, finish, log_of, record, run, same_weights, start
from tests.waiting import wait_for

# A kill is to come a few milliseconds after a run begins to save, and SIGTERM has half a minute.
pytestmark = pytest.mark.alone

Words = Callable[..., list[str]]
KILLS = {"train": 8, "save": 6, "evaluate": 6}
TIMES = {"train": range(1, 12), "save": (2, 3), "evaluate": (1, 2)}  # after which beginnings of a phase the kill comes


def kill_in(phase: str, words: list[str], log: Path, chance: random.Random) -> str | None:
    """Start a run and kill it a random moment after it comes to a phase; in which phase it was, if it was killed."""
    told, times = FORKS.Value("i", 0, lock=False), FORKS.Array("i", len(jobs.PHASES), lock=False)
    (process,) = start(jobs.tell_phases, words, told, times, log=log)
    number, wanted = jobs.PHASES.index(phase), chance.choice(TIMES[phase])
    assert wait_for(lambda: (told.value == number and times[number] >= wanted) or not process.is_alive())
    time.sleep(chance.uniform(0, 0.01))
    at = jobs.PHASES[told.value]
    process.kill()
    process.join()
    return at if process.exitcode == -signal.SIGKILL else None


def test_killed_twenty_times_a_run_ends_with_the_weights_of_one_never_killed(
    words_of: Words, noisy_model: Path, tmp_path: Path
) -> None:
    how = {"model": noisy_model, "max_steps": 120, "save_steps": 2, "eval_steps": 4, "logging_steps": 2}
    run(jobs.command, "train", words_of(**how, output_dir=tmp_path / "whole"), log=tmp_path / "whole-log")
    chance, killed = random.Random(20), Counter[str]()
    words = words_of(**how, output_dir=tmp_path / "killed")
    goals = [phase for phase, times in KILLS.items() for _ in range(times)]
    chance.shuffle(goals)
    for goal in goals:
        killed[kill_in(goal, words, tmp_path / "log", chance) or "not killed: it was done"] += 1
    run(jobs.command, "train", words, log=tmp_path / "log")
    printed = log_of(tmp_path / "log", 0).read_text()
    passed_over, resumed = printed.count("which is half-written"), printed.count("Going on from")
    assert sum(killed[phase] for phase in jobs.PHASES) == 20, "a run was done before it could be killed"
    assert min(killed[phase] for phase in KILLS) > 0
    assert passed_over > 0
    assert resumed > 0
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    assert record(tmp_path / "whole")["losses"] == record(tmp_path / "killed")["losses"]
    assert not list((tmp_path / "killed").glob("unfinished-*"))
    where = ", ".join(f"{times} in phase {phase!r}" for phase, times in killed.items())
    print(f"\n{len(goals)} kills tried, {sum(killed.values())} survived: {where}.")
    print(f"{resumed} times gone on from a checkpoint, {passed_over} half-written ones passed over")


def make_checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "optimizer.pt").write_bytes(b"state" * 100)
    mark_whole(folder)
    return folder


def test_what_is_missing_from_a_checkpoint_is_found(tmp_path: Path) -> None:
    whole = make_checkpoint(tmp_path / "checkpoint-5")
    assert missing_from(whole) == []
    cut = make_checkpoint(tmp_path / "checkpoint-6")
    os.truncate(cut / "optimizer.pt", 10)
    assert missing_from(cut) == ["optimizer.pt"]
    gone = make_checkpoint(tmp_path / "checkpoint-7")
    (gone / "model.safetensors").unlink()
    assert missing_from(gone) == ["model.safetensors"]
    unmarked = make_checkpoint(tmp_path / "checkpoint-10")
    (unmarked / MARK).unlink()
    assert missing_from(unmarked) == [MARK]
    emptied = make_checkpoint(tmp_path / "checkpoint-11")
    os.truncate(emptied / MARK, 0)  # as a loss of power can leave it
    assert missing_from(emptied) == [MARK]
    assert [step_of(folder) for folder in checkpoints(tmp_path)] == [11, 10, 7, 6, 5]


def test_half_written_checkpoints_are_passed_over_with_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert last_whole(tmp_path) is None
    whole = make_checkpoint(tmp_path / "checkpoint-5")
    for step in (9, 10):
        os.truncate(make_checkpoint(tmp_path / f"checkpoint-{step}") / "optimizer.pt", 10)
    assert last_whole(tmp_path) == whole
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["Passing over checkpoint-10", "Passing over checkpoint-9"]


@pytest.mark.parametrize(
    ("processes", "streaming", "how_stopped"),
    [
        (1, False, signal.SIGTERM),
        (1, True, signal.SIGTERM),
        (2, False, signal.SIGTERM),
        (2, True, signal.SIGTERM),
        (1, False, signal.SIGINT),  # Ctrl-C, or a notebook's stop button
    ],
)
def test_sigterm_saves_and_the_same_command_goes_on_to_the_same_weights(
    words_of: Words,
    noisy_model: Path,
    shards: Path,
    tmp_path: Path,
    processes: int,
    streaming: bool,
    how_stopped: signal.Signals,
) -> None:
    how: dict[str, Any] = {"model": noisy_model, "save_steps": 100, "eval_strategy": "no"}
    if streaming:
        how |= {"data": shards / "*.jsonl", "streaming": True, "window": 20, "test_size": 0.1}
    whole = words_of(**how, output_dir=tmp_path / "whole")
    run(jobs.command, "train", whole, log=tmp_path / "whole-log", processes=processes)
    words = words_of(**how, output_dir=tmp_path / "stopped")
    log = log_of(tmp_path / "log", 0)
    started = start(jobs.slow_steps, words, 0.05, log=tmp_path / "log", processes=processes)
    assert wait_for(lambda: log.is_file() and log.read_text().count("'loss'") >= 5)
    for process in started:
        os.kill(process.pid, how_stopped)
    asked = time.monotonic()
    assert finish(started) == [TERMINATED] * processes, log.read_text()
    assert time.monotonic() - asked < 30
    assert f"Stopped by {how_stopped.name} after step" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert last_whole(tmp_path / "stopped") is not None
    printed = run(jobs.command, "train", words, log=tmp_path / "log-again", processes=processes)
    assert "Going on from checkpoint-" in printed
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")


def test_sigterm_in_an_evaluation_gives_it_up_and_saves(words_of: Words, noisy_model: Path, tmp_path: Path) -> None:
    how = {"model": noisy_model, "save_steps": 20, "eval_steps": 8, "per_device_eval_batch_size": 2}
    run(jobs.command, "train", words_of(**how, output_dir=tmp_path / "whole"), log=tmp_path / "whole-log")
    told, words = FORKS.Value("i", 0, lock=False), words_of(**how, output_dir=tmp_path / "stopped")
    (process,) = start(jobs.slow_evaluation, words, told, log=tmp_path / "log")
    assert wait_for(lambda: told.value == 1)
    os.kill(process.pid, signal.SIGTERM)
    assert finish([process]) == [TERMINATED], log_of(tmp_path / "log", 0).read_text()
    assert "eval_loss" not in log_of(tmp_path / "log", 0).read_text()
    assert last_whole(tmp_path / "stopped") == tmp_path / "stopped" / "checkpoint-8"
    run(jobs.command, "train", words, log=tmp_path / "log-again")
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")


def test_sigterm_under_torchrun_reaches_every_process(words_of: Words, tmp_path: Path) -> None:
    words = words_of(max_steps=2000, save_steps=2000, eval_strategy="no", logging_steps=20)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "clmkit"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*launcher, "train", *words], stdout=log, stderr=log)
        try:
            assert wait_for(lambda: "'loss'" in (tmp_path / "log").read_text(), 120)
            process.terminate()
            asked = time.monotonic()
            process.wait(60)
        finally:
            process.kill()
    assert time.monotonic() - asked < 30
    assert "Stopped by SIGTERM after step" in (tmp_path / "log").read_text()
    assert last_whole(tmp_path / "out") is not None


def test_a_finished_run_is_not_run_again(words_of: Words, tmp_path: Path) -> None:
    words = words_of(max_steps=6)
    run(jobs.command, "train", words, log=tmp_path / "log")
    written = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
    assert "holds this run, finished: perplexity" in run(jobs.command, "train", words, log=tmp_path / "again")
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == written


def test_a_folder_that_holds_another_run_is_left_alone(words_of: Words, tmp_path: Path) -> None:
    run(jobs.command, "train", words_of(max_steps=6), log=tmp_path / "log")
    statuses = finish(start(jobs.command, "train", words_of(max_steps=6, seed=7), log=tmp_path / "again"))
    assert statuses == [1]
    said = log_of(tmp_path / "again", 0).read_text()
    assert "holds another run: seed was 42 and is 7" in said
    assert "Traceback" not in said


def stopped(job: Callable[..., int], *arguments: Any, log: Path) -> str:
    """The one sentence with which a run stops."""
    assert finish(start(job, *arguments, log=log)) == [1], log_of(log, 0).read_text()
    said = log_of(log, 0).read_text()
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line.startswith("train: ")][-1]


def test_a_full_disk_is_one_sentence_and_leaves_the_last_good_checkpoint(words_of: Words, tmp_path: Path) -> None:
    sentence = stopped(jobs.fill_the_disk, words_of(), 7, log=tmp_path / "log")
    assert "checkpoint-12 could not be written, with" in sentence
    assert "Make room. checkpoint-6 is whole: the same call goes on from there" in sentence
    assert last_whole(tmp_path / "out") == tmp_path / "out" / "checkpoint-6"
    assert not (tmp_path / "out" / "checkpoint-12").exists()
    assert "Going on from checkpoint-6" in run(jobs.command, "train", words_of(), log=tmp_path / "again")


def test_what_fails_in_an_evaluation_is_no_full_disk(words_of: Words, tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", 0)
    assert finish(start(jobs.break_evaluation, words_of(), 11, log=tmp_path / "log")) == [1], log.read_text()
    assert "RuntimeError: a fault of our own" in log.read_text()
    assert "Make room" not in log.read_text()


def test_the_best_checkpoint_is_kept_and_loaded_in_the_end(words_of: Words, tmp_path: Path) -> None:
    # The one with the greatest loss counts as the best, which is the first.
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    words, out = words_of(eval_steps=6, **best), tmp_path / "out"
    run(jobs.command, "train", words, log=tmp_path / "log")
    assert [step_of(folder) for folder in checkpoints(out)] == [24, 6]
    assert same_weights(out, out / "checkpoint-6")
    whole = out.rename(tmp_path / "whole")
    out.mkdir()
    for checkpoint in checkpoints(whole):
        checkpoint.rename(out / checkpoint.name)
    begun = (whole / "run.json").read_text().replace('"status": "finished"', '"status": "training"')
    (out / "run.json").write_text(begun)
    assert "Going on from checkpoint-24" in run(jobs.command, "train", words, log=tmp_path / "again")
    assert same_weights(out, whole), "killed after the last step, it ended with the last weights, not the best"
    assert record(out)["after"] == record(whole)["after"]


@pytest.fixture
def small_disk(steady_model: Path, tmp_path: Path) -> Iterator[Path]:
    """A file system that holds a checkpoint and a half: the model's files, and AdamW's two numbers for each weight."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = sum(path.stat().st_size for path in steady_model.iterdir())
    size += 2 * (steady_model / "model.safetensors").stat().st_size
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2048}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only the superuser can make a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_is_the_same_sentence(words_of: Words, small_disk: Path, tmp_path: Path) -> None:
    words = words_of(output_dir=small_disk / "out")
    sentence = stopped(jobs.command, "train", words, log=tmp_path / "log")
    assert re.search(r"checkpoint-12 could not be written, with [012] MiB free", sentence)
    assert "checkpoint-6 is whole: the same call goes on from there" in sentence
    assert last_whole(small_disk / "out") == small_disk / "out" / "checkpoint-6"


def test_a_removed_output_folder_is_one_sentence(words_of: Words, tmp_path: Path) -> None:
    sentence = stopped(jobs.at_step, words_of(), 7, "remove", log=tmp_path / "log")
    assert sentence.endswith("was removed while training, and all checkpoints with it: run this again to begin anew")
    assert not (tmp_path / "out").exists()


def test_a_loss_of_nan_is_one_sentence_and_leaves_the_last_good_checkpoint(words_of: Words, tmp_path: Path) -> None:
    sentence = stopped(jobs.at_step, words_of(logging_steps=5, save_steps=2), 7, "nan", log=tmp_path / "log")
    assert "no longer finite after step 8. Lower --learning_rate" in sentence
    assert sentence.endswith("checkpoint-6 is whole: the same call goes on from there")
    logged = stopped(jobs.at_step, words_of(output_dir=tmp_path / "b"), 7, "nan", log=tmp_path / "log2")
    assert "train: the loss is nan at step 8. Lower" in logged


def test_memory_that_ran_out_is_one_sentence_and_leaves_the_last_good_checkpoint(
    words_of: Words, tmp_path: Path
) -> None:
    sentence = stopped(jobs.at_step, words_of(), 7, "memory", log=tmp_path / "log")
    assert "out of memory. Halve --per_device_train_batch_size and double --gradient_accumulation_steps" in sentence
    assert sentence.endswith("checkpoint-6 is whole: the same call goes on from there")


def test_an_error_in_one_process_ends_all_with_its_traceback(words_of: Words, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = tmp_path / "fail.py"
    script.write_text(FAILING)
    done = subprocess.run(
        [*launcher, str(script), *words_of(max_steps=2000)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "Root Cause" in done.stderr
    cause = done.stderr.partition("Root Cause")[2]
    assert "rank      : 1" in cause
    assert "ZeroDivisionError" in cause
    assert "in broken_step" in cause


FAILING = """
import os, sys
from clmkit.scale import run
from clmkit.scale.command import run_command

original = run.SharedTrainer.training_step

def broken_step(self, *arguments, **options):
    if os.environ["RANK"] == "1" and self.state.global_step == 3:
        1 / 0
    return original(self, *arguments, **options)

run.SharedTrainer.training_step = broken_step
sys.exit(run_command("train", sys.argv[1:]))
"""
