"""How much memory does training DistilGPT2 take, and scoring it, and which batch fits a GPU of 16 GB?

    .venv/bin/python -m benchmarks.memory

A model of DistilGPT2's shape with random weights is trained on random tokens in blocks of 128: two steps of one batch
each, then one step of two batches whose gradients are added up (``gradient_accumulation_steps=2``). Every number of
blocks runs in a process of its own, in float32, under bfloat16 autocast, and in float32 with PyTorch's
``linear_cross_entropy``, which never holds all logits. Then batches are scored, with all of their logits and as
``score`` does it. On a CPU every allocation of a tensor is followed by torch's profiler, to the byte; on a GPU its
allocator is asked. Batches of 16 blocks take 6 GB of memory.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from benchmarks.common import QUIET, RESULTS, facts, format_table, medians, take_turns, write_json
from clmkit.evaluation import batch_loss, evaluation_mode
from clmkit.plain_head import ROWS, before_head, plain_head

BLOCK_SIZE = 128
BATCH_SIZES = (4, 8, 16)
LINEAR = "float32, linear_cross_entropy"
WAYS = ("float32", "bfloat16", LINEAR)
SCORED = ("all logits", "as score")
STEPS = {"first": 1, "one batch": 1, "two batches": 2}  # the first step makes AdamW's state
CARD_MB = 14_000  # what tensors may take of a card of 16 GB: CUDA itself and gaps between tensors want the rest
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def mean_loss(model: GPT2LMHeadModel, ids: torch.Tensor, way: str) -> torch.Tensor:
    """The loss of a batch, from all of its logits or never holding many."""
    if way != LINEAR:
        return model(input_ids=ids, labels=ids).loss
    with before_head(model.lm_head) as hidden:
        model(input_ids=ids)
    rows, tokens = hidden.pop()[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=ROWS)
    return torch.nn.functional.linear_cross_entropy(rows, model.lm_head.weight, tokens, options=options)


def train(batches: int, batch_size: int, way: str, model: GPT2LMHeadModel, optimizer: torch.optim.Optimizer) -> None:
    """One step: forward and backward for each batch, then the optimizer."""
    for _ in range(batches):
        ids = torch.randint(model.config.vocab_size, (batch_size, BLOCK_SIZE), device=DEVICE)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=way == "bfloat16"):
            loss = mean_loss(model, ids, way)
        (loss / batches).backward()
    optimizer.step()
    optimizer.zero_grad()


def take_steps(batch_size: int, way: str, config: GPT2Config) -> dict[str, int]:
    """All of STEPS, each named in the profiler's trace; on a GPU, the bytes of its peak and of what is left."""
    set_seed(0)
    model = GPT2LMHeadModel(config).to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    found = {}
    for name, batches in STEPS.items():
        with record_function(name):
            train(batches, batch_size, way, model, optimizer)
        if DEVICE == "cuda":
            found[name], found[f"{name}, left"] = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
    return found


def score_batch(batch_size: int, way: str, config: GPT2Config) -> dict[str, int]:
    """One batch, named in the profiler's trace; on a GPU, the bytes of its peak and of what is left."""
    set_seed(0)
    model = GPT2LMHeadModel(config).to(DEVICE)
    batch = {"input_ids": torch.randint(config.vocab_size, (batch_size, BLOCK_SIZE)).tolist()}
    with evaluation_mode(model):
        head = None if way == "all logits" else plain_head(model)
        with record_function("one batch"):
            batch_loss(model, batch, head)
    if DEVICE != "cuda":
        return {}
    return {"one batch": torch.cuda.max_memory_allocated(), "one batch, left": torch.cuda.memory_allocated()}


def measure(batch_size: int, way: str, config: GPT2Config) -> dict[str, float]:
    """Megabytes: what weights and AdamW's state take, and the peaks of the two kinds of step; of scoring, one peak."""
    names = {"kept_mb": "first, left", "peak_mb": "one batch", "accumulated_mb": "two batches"}
    if way in SCORED:
        names = {"kept_mb": "one batch, left", "peak_mb": "one batch"}
    work = score_batch if way in SCORED else take_steps
    if DEVICE == "cuda":
        found = work(batch_size, way, config)
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
            work(batch_size, way, config)
        found = peaks(run)
    return {key: found[name] / 1e6 for key, name in names.items()}


def peaks(run: profile) -> dict[str, int]:
    """The most bytes of tensors that each of STEPS had allocated, and what was left at its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        run.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    totals = sorted((event["ts"], event["args"]["Total Allocated"]) for event in events if event["name"] == "[memory]")
    found = {}
    for event in events:
        if (name := event["name"]) in STEPS:
            within = [total for at, total in totals if event["ts"] <= at <= event["ts"] + event["dur"]]
            found[name], found[f"{name}, left"] = max(within), within[-1]
    return found


def blocks_that_fit(found: dict[str, dict[str, float]], way: str) -> int:
    """How many blocks at once fit ``CARD_MB``, by the straight line through the two largest batches.

    Small ones are no guide: where few logits are held, what they take most of is the gradients of the embedding.
    """
    sizes = sorted(int(name.split()[0]) for name in found if name.endswith(f" blocks, {way}"))[-2:]
    small, large = (found[f"{size} blocks, {way}"]["accumulated_mb"] for size in sizes)
    a_block = (large - small) / (sizes[1] - sizes[0])
    return math.floor(sizes[0] + (CARD_MB - small) / a_block)


def tables(result: dict[str, Any]) -> str:
    """The tables, in Markdown, and what fits."""
    found, scored = result["medians"], result["scoring"]
    rows = [
        [name, *(f"{one[key] / 1e3:.2f}" for key in ("kept_mb", "peak_mb", "accumulated_mb"))]
        for name, one in found.items()
    ]
    table = format_table(["", "weights and AdamW, GB", "peak, GB", "peak with accumulation, GB"], rows)
    *most, last = (f"{blocks_that_fit(found, way)} blocks in {way.replace(', ', ' with ')}" for way in WAYS)
    fits = f"{', '.join(most)} and {last}"
    scoring = format_table(
        ["scored", "weights, GB", "peak, GB"],
        [[name, f"{one['kept_mb'] / 1e3:.2f}", f"{one['peak_mb'] / 1e3:.2f}"] for name, one in scored.items()],
    )
    return (
        f"{table}\n\nBy a straight line through the larger of these, {CARD_MB / 1e3:.0f} GB hold {fits}, with "
        f"accumulation.\n\n{scoring}"
    )


def command(contender: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.memory", "--one", contender]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", nargs="*", type=int, default=list(BATCH_SIZES))
    parser.add_argument("--one", help="measure this one in this process: '8 blocks, float32'")
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.json")
    chosen = parser.parse_args()
    if chosen.one:
        size, way = chosen.one.split(" blocks, ", 1)
        print(json.dumps(measure(int(size), way, GPT2Config(n_layer=6))))
        return
    turns, scored = (
        take_turns([f"{size} blocks, {way}" for way in ways for size in chosen.batch_sizes], command, 1, QUIET)
        for ways in (WAYS, SCORED)
    )
    result = facts({"main": sys.executable}) | {"turns": turns, "medians": medians(turns), "scoring": medians(scored)}
    write_json(chosen.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
