"""Breaks of breaks: runs that are killed again and again, each time in the run that has just been resumed."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from transformers import PreTrainedTokenizerBase

from clmkit.scale.checkpoints import last_whole, step_of
from tests.training import jobs
from tests.training.launch import finish, log_of, record, run, same_weights, start
from tests.training.test_configs import environment_of
from tests.training.test_streams import first_epoch, make_stream

Words = Callable[..., list[str]]
LENGTHS = [5, pytest.param(20, marks=pytest.mark.long)]
BATCH = 4  # blocks in a step of all processes


def taken(notes: Path, processes: int, begun: int = 0) -> list[list[Any]]:
    """The blocks of each step from one on, as it counts: what a kill undid was done again, and noted again."""
    parts: list[dict[int, Any]] = []
    for rank in range(processes):
        path = notes.with_name(f"{notes.name}-{rank}")
        parts.append({})
        for line in path.read_text().splitlines():
            step, blocks = json.loads(line)
            parts[-1][step] = blocks
    assert all(set(part) == set(range(begun, max(part) + 1)) for part in parts)
    return [[block for part in parts for block in part[step]] for step in range(begun, max(parts[0]) + 1)]


def kill_in_turn(
    words: list[str],
    links: int,
    tmp_path: Path,
    *,
    processes: int = 1,
    notes: str = "notes",
    steps: int = 3,
    environment: dict[str, str] | None = None,
) -> None:
    """Kill a run, and each run that goes on from it, some steps after it began; every third as it saves."""
    for link in range(links):
        where, after = ("save", steps + 1) if link % 3 == 2 else ("step", steps)
        before = last_whole(tmp_path / "killed")
        job = (jobs.note_and_die, words, tmp_path / notes, after, where, environment)
        started = start(*job, log=tmp_path / "log", processes=processes)
        started[0].join(120)
        for process in started:  # as a launcher does
            process.kill()
            process.join()
        assert started[0].exitcode == -signal.SIGKILL, log_of(tmp_path / "log", 0).read_text()
        reached = last_whole(tmp_path / "killed")
        assert reached is not None
        assert before is None or step_of(reached) > step_of(before), "a link got nowhere"


@pytest.mark.parametrize("links", LENGTHS)
def test_a_stream_that_is_killed_in_each_run_that_goes_on_sees_every_block_once(
    words_of: Words,
    noisy_model: Path,
    small_shards: Path,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
    links: int,
) -> None:
    steps = 2 * links + 6
    how: dict[str, Any] = {"model": noisy_model, "data": small_shards / "*.jsonl", "streaming": True, "window": 10}
    how |= {"test_size": 0.1, "max_steps": steps, "save_steps": 2, "eval_strategy": "no"}
    run(jobs.command, "train", words_of(**how, output_dir=tmp_path / "whole"), log=tmp_path / "whole-log")
    words = words_of(**how, output_dir=tmp_path / "killed")
    kill_in_turn(words, links, tmp_path)
    run(jobs.note_blocks, words, tmp_path / "notes", log=tmp_path / "log")
    expected = [row["input_ids"] for row in islice(make_stream(small_shards, tokenizer, window=10), steps * BATCH)]
    assert [block for step in taken(tmp_path / "notes", 1) for block in step] == expected
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    resumed = log_of(tmp_path / "log", 0).read_text().count("Going on from")
    assert resumed == links
    print(f"\n{links} kills, each in the run that had just gone on; {resumed} times gone on")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_run_goes_on_with_another_number_of_processes_and_sees_every_block_once(
    words_of: Words, small_shards: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, streaming: bool
) -> None:
    epoch = first_epoch(make_stream(small_shards, tokenizer, window=10))
    steps = len(epoch) // BATCH + 2 if streaming else 12
    how: dict[str, Any] = {"max_steps": steps, "save_steps": 2, "eval_strategy": "no"}
    if streaming:
        how |= {"data": small_shards / "*.jsonl", "streaming": True, "window": 10, "test_size": 0.1}
    run(jobs.note_blocks, words_of(**how, output_dir=tmp_path / "whole"), tmp_path / "whole-notes", log=tmp_path / "w")
    words = {
        processes: words_of(**how, output_dir=tmp_path / "killed", per_device_train_batch_size=BATCH // processes)
        for processes in (1, 2)
    }
    seen: list[list[Any]] = []
    for link, processes in enumerate((1, 2, 1)):
        notes = f"notes{link}"
        begun = step_of(last_whole(tmp_path / "killed") or Path("checkpoint-0"))
        if link == 2:
            printed = run(jobs.note_blocks, words[1], tmp_path / notes, log=tmp_path / f"log{link}")
        else:
            kill_in_turn(words[processes], 1, tmp_path, processes=processes, notes=notes, steps=steps // 3 + 1)
        del seen[begun:]
        seen += taken(tmp_path / notes, processes, begun)
    assert "The number of processes is another than before" in printed
    expected = taken(tmp_path / "whole-notes", 1)
    assert [sorted(step) for step in seen] == [sorted(step) for step in expected]
    if streaming:
        blocks = [block for step in seen for block in step][: len(epoch)]
        assert Counter(map(tuple, blocks)) == Counter(map(tuple, epoch))


LORA = '{"r": 4, "lora_dropout": 0.1}'


@pytest.mark.parametrize("links", LENGTHS)
@pytest.mark.parametrize("lora", [{}, {"lora": LORA}], ids=["all weights", "LoRA"])
def test_two_processes_that_are_killed_in_each_run_that_goes_on_end_with_the_weights_of_ones_never_killed(
    words_of: Words, noisy_model: Path, small_shards: Path, tmp_path: Path, links: int, lora: dict[str, str]
) -> None:
    how: dict[str, Any] = {"model": noisy_model, "data": small_shards / "*.jsonl", "streaming": True, "window": 10}
    how |= {"test_size": 0.1, "max_steps": 2 * links + 6, "save_steps": 2, "eval_strategy": "no", **lora}
    run(jobs.command, "train", words_of(**how, output_dir=tmp_path / "whole"), log=tmp_path / "w", processes=2)
    words = words_of(**how, output_dir=tmp_path / "killed")
    kill_in_turn(words, links, tmp_path, processes=2)
    run(jobs.command, "train", words, log=tmp_path / "log", processes=2)
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    assert not same_weights(tmp_path / "killed", noisy_model)


@pytest.mark.parametrize("links", [2, pytest.param(20, marks=pytest.mark.long)])
def test_a_sharded_model_that_is_killed_in_each_run_that_goes_on_ends_with_the_weights_of_one_never_killed(
    words_of: Words, small_shards: Path, tmp_path: Path, links: int
) -> None:
    environment = environment_of("fsdp.yaml")
    how: dict[str, Any] = {"data": small_shards / "*.jsonl", "streaming": True, "window": 10, "test_size": 0.1}
    how |= {"max_steps": 2 * links + 6, "save_steps": 2, "eval_strategy": "no"}
    whole, words = (words_of(**how, output_dir=tmp_path / name) for name in ("whole", "killed"))
    run(jobs.shard_on_a_cpu, whole, environment, log=tmp_path / "w", processes=2)
    kill_in_turn(words, links, tmp_path, processes=2, environment=environment)
    printed = run(jobs.shard_on_a_cpu, words, environment, log=tmp_path / "log", processes=2)
    assert "not known before it begins" in printed, "the model was not to be sharded"
    assert same_weights(tmp_path / "whole", tmp_path / "killed")


def test_a_lora_run_leaves_checkpoints_of_the_adapter_and_a_whole_model(
    words_of: Words, noisy_model: Path, tmp_path: Path
) -> None:
    words, out = words_of(model=noisy_model, lora=LORA, max_steps=6, save_steps=3), tmp_path / "out"
    printed = run(jobs.command, "train", words, log=tmp_path / "log")
    assert re.search(r"LoRA:   [\d,]+ of them are trained", printed)
    assert (out / "checkpoint-6" / "adapter_model.safetensors").is_file()
    assert not (out / "checkpoint-6" / "model.safetensors").exists()
    tensors = load_file(out / "model.safetensors")
    assert tensors.keys() == load_file(noisy_model / "model.safetensors").keys()
    said = record(out)
    assert said["after"]["perplexity"] < said["before"]["perplexity"]
    measured = run(jobs.command, "evaluate", [str(out)], log=tmp_path / "e")
    assert f"Perplexity {said['after']['perplexity']:.2f} on" in measured
    assert '"r": 4' in (out / "README.md").read_text()
    os.truncate(out / "model.safetensors", 100)  # saved again, from the last checkpoint
    assert "Going on from checkpoint-6" in run(jobs.command, "train", words, log=tmp_path / "again")
    again = load_file(out / "model.safetensors")
    assert all((tensors[name] == again[name]).all() for name in tensors)


@pytest.mark.parametrize(
    ("lora", "problem"),
    [
        ('{"rank": 4}', "is not for PEFT's LoraConfig: .*unexpected keyword argument 'rank'"),
        ('{"target_modules": ["nowhere"]}', "Target modules .*nowhere.* not found"),
    ],
)
def test_what_peft_does_not_take_is_one_sentence(words_of: Words, tmp_path: Path, lora: str, problem: str) -> None:
    assert finish(start(jobs.command, "train", words_of(lora=lora), log=tmp_path / "log")) == [1]
    said = log_of(tmp_path / "log", 0).read_text()
    assert re.search(f"train: .*{problem}", said)
    assert "Traceback" not in said
