"""What does a GPU make of the course's job? One command for whoever has one, some eight minutes on a card of 8 GB.

    python -m benchmarks.gpu_report

It needs torch, transformers and accelerate; KerasHub is measured where it is installed. A model of DistilGPT2's shape
with random weights trains by the guide's call and by the course's in each precision, in batches of several sizes, and
generates. What a machine can't do becomes a row that says so. Without a GPU a tiny model goes the same way in seconds,
which tells only that the script works; then nothing is written.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from benchmarks.common import RESULTS, facts, fill_section, format_table, write_json

PAGE = Path(__file__).parent / "README.md"
BLOCK_SIZE = 128
DTYPES = {"float32": {}, "float16": {"fp16": True}, "bfloat16": {"bf16": True}}
CUDA = torch.cuda.is_available()
Numbers = dict[str, float]

# The full track: rows, tokens in one, the share to train on, epochs; and DistilGPT2's parameters.
FULL_TRACK_TOKENS = 5_000 * 334 * 0.8 * 3
PARAMETERS = 82_000_000
# Operations a second at the peak of the matrix units in half precision, as NVIDIA's data sheets have them.
PEAKS = {"T4": 65e12, "A100": 312e12, "H100": 989e12}
SHARE_OF_PEAK = 0.2


class Job(NamedTuple):
    """What is measured: the model's shape, steps of training, sizes of batches, and tokens to generate."""

    config: GPT2Config
    steps: int
    batch_sizes: tuple[int, ...]
    new_tokens: int


ON_GPU = Job(GPT2Config(n_layer=6), 120, (8, 16, 32, 64, 128), 100)
ON_CPU = Job(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=300, bos_token_id=0, eos_token_id=0), 6, (2, 4), 5)


class Clock(TrainerCallback):
    """Takes the time of the second half of the steps, when all that was asked of the GPU is done."""

    times: list[float]

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Begin anew."""
        self.times = [now()]

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Note when half of the steps, and all, were done."""
        if state.global_step in (state.max_steps // 2, state.max_steps):
            self.times.append(now())


def now() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def make_rows(count: int, vocabulary: int) -> list[dict[str, list[int]]]:
    """Blocks in which the next token follows from the one before, so that there is something to learn."""
    generator, rows = torch.Generator().manual_seed(0), []
    for start in torch.randint(200, (count,), generator=generator).tolist():
        ids = [start]
        while len(ids) < BLOCK_SIZE:
            ids.append((31 * ids[-1] + 7) % min(200, vocabulary))
        rows.append({"input_ids": ids, "labels": ids})
    return rows


def train(job: Job, batch_size: int, steps: int, **arguments: Any) -> Numbers:
    """Train by the Trainer: tokens a second in the second half, the mean loss, and the peak of memory in GB."""
    if arguments.get("fp16") and not CUDA:
        raise ValueError("without a GPU the Trainer computes in float32 whatever fp16 says")
    set_seed(0)
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    clock, model = Clock(), GPT2LMHeadModel(job.config)
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"max_steps": steps, "logging_strategy": "no", "save_strategy": "no", "report_to": "none"}
        args = TrainingArguments(
            folder, per_device_train_batch_size=batch_size, disable_tqdm=True, learning_rate=1e-4, **chosen | arguments
        )
        rows = make_rows(batch_size * steps, job.config.vocab_size)
        trainer = Trainer(model, args, default_data_collator, rows, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        loss = trainer.train().training_loss
    _, half, end = clock.times
    peak = {"peak, GB": torch.cuda.max_memory_allocated() / 1e9} if CUDA else {}
    speed = batch_size * BLOCK_SIZE * (steps - steps // 2) / (end - half)
    return {"tokens per second": speed, "loss": loss} | peak


def generate(job: Job, dtype: str, prompts: int) -> Numbers:
    """Continue random prompts greedily."""
    set_seed(0)
    model = GPT2LMHeadModel(job.config).to("cuda" if CUDA else "cpu", getattr(torch, dtype)).eval()
    ids = torch.randint(job.config.vocab_size, (prompts, 16), device=model.device)
    how = {"max_new_tokens": job.new_tokens, "min_new_tokens": job.new_tokens, "do_sample": False}
    how["pad_token_id"] = job.config.eos_token_id
    model.generate(ids, attention_mask=torch.ones_like(ids), **how)
    start = now()
    model.generate(ids, attention_mask=torch.ones_like(ids), **how)
    return {"tokens per second": prompts * job.new_tokens / (now() - start)}


def fit_keras(job: Job, policy: str) -> Numbers:
    """Train by Keras' ``fit`` with KerasHub on torch."""
    os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported
    if not find_spec("keras_hub"):
        raise ModuleNotFoundError("keras_hub is not installed")
    import keras
    import keras_hub

    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    shape, config = {"intermediate_dim": 4 * job.config.n_embd, "dropout": 0.1}, job.config
    backbone = keras_hub.models.GPT2Backbone(
        config.vocab_size, config.n_layer, config.n_head, config.n_embd, max_sequence_length=1024, **shape
    )
    model = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
    model.compile(optimizer="adamw", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = torch.tensor([row["input_ids"] for row in make_rows(8 * job.steps, config.vocab_size)])
    inputs = {"token_ids": ids[:, :-1].numpy(), "padding_mask": torch.ones_like(ids[:, :-1]).bool().numpy()}
    labels = ids[:, 1:].numpy()
    model.fit(inputs, labels, batch_size=8, epochs=1, verbose=0)
    start = now()
    run = model.fit(inputs, labels, batch_size=8, epochs=1, verbose=0)
    return {"tokens per second": ids.numel() / (now() - start), "loss": run.history["loss"][-1]}


def attempt(measure: Callable[..., Numbers], *arguments: Any, **named: Any) -> Numbers | str:
    """What was measured, or in one line why it was not: no such package, no such precision, no memory left."""
    try:
        return measure(*arguments, **named)
    except (ImportError, MemoryError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    finally:
        if CUDA:
            torch.cuda.empty_cache()


def measure(job: Job) -> dict[str, dict[str, Numbers | str]]:
    """All of it, one after the other, by section and row."""
    training = {"the guide's call": attempt(train, job, 8, job.steps)}
    batches: dict[str, Numbers | str] = {}
    generation: dict[str, Numbers | str] = {}
    for name, precision in DTYPES.items():
        arguments = precision | {"use_cpu": not CUDA}
        training[f"the course's, {name}"] = attempt(train, job, 8, job.steps, **arguments)
        for size in job.batch_sizes:
            batches[f"{size} blocks, {name}"] = attempt(train, job, size, 6, **arguments)
        for prompts in (1, 32):
            generation[f"{prompts} at once, {name}"] = attempt(generate, job, name, prompts)
    policies = ("float32", "mixed_float16", "mixed_bfloat16")
    keras = {f"KerasHub, {policy}": attempt(fit_keras, job, policy) for policy in policies}
    return {"training": training | keras, "batches of several sizes": batches, "generation": generation}


def disagreeing(found: dict[str, dict[str, Numbers | str]]) -> list[str]:
    """The ways of training whose loss is more than 1 % from the guide's."""
    losses = {name: row["loss"] for name, row in found["training"].items() if not isinstance(row, str)}
    expected = losses.get("the guide's call", float("nan"))
    ours = {name: loss for name, loss in losses.items() if name.startswith("the course's")}
    return [name for name, loss in ours.items() if not abs(loss / expected - 1) <= 0.01]


def shown(number: float) -> str:
    return f"{number:,.3f}" if number < 100 else f"{number:,.0f}"


def tables(result: dict[str, Any]) -> str:
    """One table for each part, in Markdown."""
    parts = []
    for title, rows in result["found"].items():
        keys = list(dict.fromkeys(key for row in rows.values() if not isinstance(row, str) for key in row))
        lines = [
            [name, row, *[""] * (len(keys) - 1)]
            if isinstance(row, str)
            else [name, *(shown(row[key]) if key in row else "" for key in keys)]
            for name, row in rows.items()
        ]
        parts.append(format_table([title, *(keys or ["not measured"])], lines))
    far = ", ".join(disagreeing(result["found"])) or "none"
    return "\n\n".join([*parts, f"Losses of the course's call more than 1 % from the guide's: {far}."])


def computed_minutes() -> dict[str, float]:
    """Minutes of training the full track: 6 operations for each parameter and token, at a share of the GPU's peak."""
    operations = 6 * PARAMETERS * FULL_TRACK_TOKENS
    return {name: operations / (peak * SHARE_OF_PEAK) / 60 for name, peak in PEAKS.items()}


def section() -> str:
    """The page's section: what was computed, and every GPU that was measured."""
    rows = [[name, f"{PEAKS[name] / 1e12:.0f}", f"{minutes:.1f}"] for name, minutes in computed_minutes().items()]
    parts = [format_table(["computed, not measured", "peak, TFLOP/s", "minutes for the full track"], rows)]
    files = sorted(RESULTS.glob("gpu-*.json"))
    for result in (json.loads(path.read_text(encoding="utf-8")) for path in files):
        where = f"Measured on {result['date'][:10]} at commit {result['commit'][:10]}: {result['machine']['gpu']}."
        parts += [tables(result), where]
    return "\n\n".join([*parts, *([] if files else ["No GPU was at hand to measure on."])])


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    result = facts({"main": sys.executable}) | {"found": measure(ON_GPU if CUDA else ON_CPU)}
    print(tables(result))
    if not CUDA:
        print("\nThere is no GPU: a tiny model was measured on the CPU, and nothing was written")
        return
    name = re.sub(r"\W+", "-", torch.cuda.get_device_name()).strip("-")
    write_json(RESULTS / f"gpu-{name}.json", result)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(fill_section(page, "gpu", section()), encoding="utf-8")


if __name__ == "__main__":
    main()
