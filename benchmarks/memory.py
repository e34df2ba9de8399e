"""How much memory does training DistilGPT2 take, and which batch fits a GPU of 16 GB?

    .venv/bin/python -m benchmarks.memory

A model of DistilGPT2's shape with random weights is trained on random tokens in blocks of 128: two steps of one batch
each, then one step of two batches whose gradients are added up (``gradient_accumulation_steps=2``). Every number of
blocks runs in a process of its own, in float32 and under bfloat16 autocast. On a CPU every allocation of a tensor is
followed by torch's profiler, to the byte; on a GPU its allocator is asked. Batches of 16 blocks take 6 GB of memory.
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

BLOCK_SIZE = 128
BATCH_SIZES = (4, 8, 16)
DTYPES = ("float32", "bfloat16")
STEPS = {"first": 1, "one batch": 1, "two batches": 2}  # the first step makes AdamW's state
CARD_MB = 14_000  # what tensors may take of a card of 16 GB: CUDA itself and gaps between tensors want the rest
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def train(batches: int, batch_size: int, dtype: str, model: GPT2LMHeadModel, optimizer: torch.optim.Optimizer) -> None:
    """One step: forward and backward for each batch, then the optimizer."""
    for _ in range(batches):
        ids = torch.randint(model.config.vocab_size, (batch_size, BLOCK_SIZE), device=DEVICE)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(input_ids=ids, labels=ids).loss
        (loss / batches).backward()
    optimizer.step()
    optimizer.zero_grad()


def take_steps(batch_size: int, dtype: str, config: GPT2Config) -> dict[str, int]:
    """All of STEPS, each named in the profiler's trace; on a GPU, the bytes of its peak and of what is left."""
    set_seed(0)
    model = GPT2LMHeadModel(config).to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    found = {}
    for name, batches in STEPS.items():
        with record_function(name):
            train(batches, batch_size, dtype, model, optimizer)
        if DEVICE == "cuda":
            found[name], found[f"{name}, left"] = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
    return found


def measure(batch_size: int, dtype: str, config: GPT2Config) -> dict[str, float]:
    """Megabytes: what weights and AdamW's state take, and the peaks of the two kinds of step."""
    if DEVICE == "cuda":
        found = take_steps(batch_size, dtype, config)
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
            take_steps(batch_size, dtype, config)
        found = peaks(run)
    names = {"kept_mb": "first, left", "peak_mb": "one batch", "accumulated_mb": "two batches"}
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


def blocks_that_fit(found: dict[str, dict[str, float]], dtype: str) -> int:
    """How many blocks at once fit ``CARD_MB``, by the straight line through the smallest and largest batch."""
    sizes = [int(name.split()[0]) for name in found if dtype in name]
    small, large = (found[f"{size} blocks, {dtype}"]["accumulated_mb"] for size in (min(sizes), max(sizes)))
    a_block = (large - small) / (max(sizes) - min(sizes))
    return math.floor(min(sizes) + (CARD_MB - small) / a_block)


def tables(result: dict[str, Any]) -> str:
    """The table, in Markdown, and what fits."""
    found = result["medians"]
    rows = [
        [name, *(f"{one[key] / 1e3:.2f}" for key in ("kept_mb", "peak_mb", "accumulated_mb"))]
        for name, one in found.items()
    ]
    table = format_table(["", "weights and AdamW, GB", "peak, GB", "peak with accumulation, GB"], rows)
    fits = " and ".join(f"{blocks_that_fit(found, dtype)} blocks in {dtype}" for dtype in DTYPES)
    return f"{table}\n\nBy a straight line through these, {CARD_MB / 1e3:.0f} GB hold {fits}, with accumulation."


def command(contender: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.memory", "--one", contender]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", nargs="*", type=int, default=list(BATCH_SIZES))
    parser.add_argument("--one", help="measure this one in this process: '8 blocks, float32'")
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.json")
    chosen = parser.parse_args()
    if chosen.one:
        size, dtype = chosen.one.split(" blocks, ")
        print(json.dumps(measure(int(size), dtype, GPT2Config(n_layer=6))))
        return
    contenders = [f"{size} blocks, {dtype}" for dtype in DTYPES for size in chosen.batch_sizes]
    turns = take_turns(contenders, command, 1, QUIET)
    result = facts({"main": sys.executable}) | {"turns": turns, "medians": medians(turns)}
    write_json(chosen.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
