"""What does one other busy process cost, and how should PyTorch's threads wait for each other?

    .venv/bin/python -m benchmarks.busy

The bundled tiny model trains (batches of 8 blocks of 128), is evaluated, and writes 8 texts of 60 tokens: alone, and
beside a process that does nothing but count, at the lowest priority. OpenMP's threads wait for each other by spinning,
which keeps a core busy for nothing where one of them was held up. The contenders differ in environment variables that
have to be set before PyTorch is imported; each runs in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import QUIET, RESULTS, facts, format_table, medians, take_turns, write_json

SETTINGS = {
    "as PyTorch comes": {},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread fewer": {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1))},
}
JOBS = ("training", "evaluation", "generation")
PLACES = ("alone", "beside")


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Keep one core busy at the lowest priority while the block runs."""
    if not busy:
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-c", "import os\nos.nice(19)\nwhile True: pass"], start_new_session=True
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def rate(work: Callable[[], int], seconds: float) -> float:
    """Tokens per second of a job that is repeated for some seconds, after a first time that warms up."""
    work()
    tokens, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        tokens += work()
    return tokens / (time.perf_counter() - start)


def measure(seconds: float) -> dict[str, float]:
    """Tokens per second of each job, alone and beside the other process."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    from clmkit.chunking import collate_blocks
    from clmkit.evaluation import score
    from clmkit.generation import generate_texts
    from clmkit.tracks import BUNDLED
    from clmkit.training.pytorch import keep_freed_memory

    keep_freed_memory()
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    model = AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    blocks = [{"input_ids": ids} for ids in torch.randint(model.config.vocab_size, (16, 128)).tolist()]

    def train() -> int:
        model.train()
        batch = collate_blocks(blocks[:8])
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return batch["input_ids"].numel()

    def evaluate() -> int:
        return score(model, Dataset.from_list(blocks)).tokens

    def generate() -> int:
        generate_texts(model, tokenizer, ["The moon"] * 8, max_new_tokens=60)
        return 8 * 60

    found = {}
    for name, work in zip(JOBS, (train, evaluate, generate), strict=True):
        for place in PLACES:
            with neighbour(place == "beside"):
                found[f"{name}, {place}"] = rate(work, seconds)
    return found


def tables(result: dict[str, Any]) -> str:
    """The table, in Markdown."""
    keys = [f"{job}, {place}" for job in JOBS for place in PLACES]
    rows = [[name, *(f"{found[key]:,.0f}" for key in keys)] for name, found in result["medians"].items()]
    return format_table(["tokens per second", *keys], rows)


def command(seconds: float) -> Callable[[str], list[str]]:
    return lambda name: [sys.executable, "-m", "benchmarks.busy", "--one", name, "--seconds", str(seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6, help="how long each job is repeated")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=SETTINGS, help="measure this one in this process")
    parser.add_argument("--output", type=Path, default=RESULTS / "busy.json")
    chosen = parser.parse_args()
    if chosen.one:
        # Some of these are read when PyTorch is imported, so the process starts anew with them.
        wanted = SETTINGS[chosen.one]
        if any(os.environ.get(name) != value for name, value in wanted.items()):
            os.execve(sys.executable, [sys.executable, "-m", "benchmarks.busy", *sys.argv[1:]], os.environ | wanted)
        print(json.dumps(measure(chosen.seconds)))
        return
    turns = take_turns(SETTINGS, command(chosen.seconds), chosen.repeats, QUIET)
    result = facts({"main": sys.executable}) | {"turns": turns, "medians": medians(turns)}
    write_json(chosen.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
