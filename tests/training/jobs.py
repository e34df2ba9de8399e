"""What the tests of training run in processes of their own; a function that a process runs has to be in a module."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from datasets import Dataset, load_dataset
from transformers import AutoModelForCausalLM

from clmkit import evaluation
from clmkit.scale import guard, run
from clmkit.scale.command import run_command
from clmkit.scale.processes import join_processes, one_voice
from clmkit.scale.streams import BlockStream

resource = pytest.importorskip("resource", reason="Windows does not limit a process")


def command(name: str, words: list[str]) -> int:
    return run_command(name, words)


def note_blocks(words: list[str], notes: Path) -> int:
    """Train, and note the blocks of every step: whose labels count."""
    rank = os.environ.get("RANK", "0")
    original = run.SharedTrainer.training_step

    def noting(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        counted = [
            ids.tolist()
            for ids, labels in zip(inputs["input_ids"], inputs["labels"], strict=True)
            if (labels != -100).any()
        ]
        with notes.with_name(f"{notes.name}-{rank}").open("a") as file:
            file.write(json.dumps([self.state.global_step, counted]) + "\n")
        return original(self, model, inputs, *rest, **options)

    run.SharedTrainer.training_step = noting
    return run_command("train", words)


def note_and_die(
    words: list[str], notes: Path, steps: int, where: str, environment: dict[str, str] | None = None
) -> int:
    """Train and note the blocks of every step, and be killed after so many of them, in a step or while saving.

    In an environment that accelerate made, the model is sharded.
    """
    if environment:
        see_gpus(environment)
    done = 0

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    trained, mark = run.SharedTrainer.training_step, guard.mark_whole

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal done
        done += 1
        if done > steps and where == "step":
            kill()
        return trained(*arguments, **options)

    def dying_unmarked(checkpoint: Path) -> None:
        if done >= steps and where == "save":
            kill()
        mark(checkpoint)

    run.SharedTrainer.training_step, guard.mark_whole = dying, dying_unmarked
    return note_blocks(words, notes)


def count_maps(words: list[str], notes: Path) -> int:
    """Train, and count the rows that this process itself joined or tokenized."""
    original = Dataset._map_single
    counted = 0

    def counting(shard: Dataset, *rest: Any, **options: Any) -> Any:
        nonlocal counted
        counted += len(shard)
        return original(shard, *rest, **options)

    Dataset._map_single = staticmethod(counting)
    status = run_command("train", words)
    notes.with_name(f"{notes.name}-{os.environ['RANK']}").write_text(str(counted))
    return status


def score(model: str, blocks: list[list[int]], batch_size: int, notes: Path) -> None:
    """Score blocks together, and note the result of each process."""
    join_processes()
    with one_voice():
        result = evaluation.score(
            AutoModelForCausalLM.from_pretrained(model), Dataset.from_dict({"input_ids": blocks}), batch_size
        )
    notes.with_name(f"{notes.name}-{os.environ.get('RANK', '0')}").write_text(json.dumps(result))


PHASES = ["start", "train", "save", "evaluate"]


def tell_phases(words: list[str], phase: Any, times: Any) -> int:
    """Train, and tell in shared memory what goes on just now, and how many times each phase was begun."""

    def telling(method: Any, name: str) -> Any:
        number = PHASES.index(name)

        def told(*arguments: Any, **options: Any) -> Any:
            phase.value = number
            times[number] += 1
            try:
                return method(*arguments, **options)
            finally:
                phase.value = PHASES.index("train")

        return told

    run.SharedTrainer._save_checkpoint = telling(run.SharedTrainer._save_checkpoint, "save")
    run.SharedTrainer.evaluate = telling(run.SharedTrainer.evaluate, "evaluate")
    run.SharedTrainer.training_step = telling(run.SharedTrainer.training_step, "train")
    return run_command("train", words)


def slow_steps(words: list[str], seconds: float) -> int:
    """Train, but take so long for every step that a signal meets the run in the middle."""
    original = run.SharedTrainer.training_step

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return original(*arguments, **options)

    run.SharedTrainer.training_step = slow
    return run_command("train", words)


def read_through(files: str, notes: Path) -> None:
    """Take every block of one pass through a stream; note how many there are, and the peak of memory in MiB, early on
    and in the end."""
    stream = BlockStream(
        load_dataset("parquet", data_files=files, split="train", streaming=True), 256, window=500, seed=1
    )
    blocks, early = 0, 0.0
    for _ in stream:
        if stream.state_dict()["epoch"]:
            break
        blocks += 1
        if blocks == 4000:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    notes.write_text(json.dumps([blocks, early, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def at_step(words: list[str], step: int, what: str) -> int:
    """Train, and let something go wrong in a step: the folder is removed, weights become NaN, memory is used up."""
    original = run.SharedTrainer.training_step

    def spoilt(self: Any, model: Any, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == step:
            if what == "remove":
                shutil.rmtree(self.args.output_dir)
            elif what == "nan":
                with torch.no_grad():
                    model.transformer.ln_f.weight.fill_(torch.nan)
            else:
                torch.ones(2**44)  # what torch itself says where there are no 64 TiB
        return original(self, model, *arguments, **options)

    run.SharedTrainer.training_step = spoilt
    return run_command("train", words)


def break_evaluation(words: list[str], step: int) -> int:
    """Train, and let the evaluation after a step fail, which comes before what that step saves."""
    batch_loss, trained = evaluation.batch_loss, run.SharedTrainer.training_step

    def training(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == step:
            evaluation.batch_loss = broken
        return trained(self, *arguments, **options)

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("a fault of our own")

    run.SharedTrainer.training_step = training
    try:
        return run_command("train", words)
    finally:
        evaluation.batch_loss = batch_loss


def fill_the_disk(words: list[str], step: int) -> int:
    """Train, and from a step on let no file grow large: writing fails in the middle, as on a full disk."""
    original = run.SharedTrainer.training_step

    def filling(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.state.global_step == step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        return original(self, *arguments, **options)

    run.SharedTrainer.training_step = filling
    return run_command("train", words)


def command_in(words: list[str], environment: dict[str, str]) -> int:
    """Train in an environment that accelerate made."""
    os.environ |= environment
    return run_command("train", words)


def see_gpus(environment: dict[str, str]) -> None:
    """Take CPUs as if they were GPUs: accelerate 1.15 shards on GPUs only, PyTorch does on CPUs too."""
    original = PartialState.__init__

    def as_if_on_gpus(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = as_if_on_gpus
    os.environ |= environment


def shard_on_a_cpu(words: list[str], environment: dict[str, str]) -> int:
    see_gpus(environment)
    return run_command("train", words)


def slow_evaluation(words: list[str], told: Any) -> int:
    """Train, take long for each batch of an evaluation, and tell when the first one has begun."""
    evaluate, batch_loss = run.SharedTrainer.evaluate, evaluation.batch_loss

    def telling(self: Any, *arguments: Any, **options: Any) -> Any:
        told.value = 1
        return evaluate(self, *arguments, **options)

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2 * told.value)
        return batch_loss(*arguments)

    run.SharedTrainer.evaluate, evaluation.batch_loss = telling, slow
    return run_command("train", words)
