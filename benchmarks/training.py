"""What does training with PyTorch cost: the guide's ``Trainer`` call, the course's, and a bare loop?

    .venv/bin/python -m benchmarks.training

For the bundled tiny GPT-2, and for a random model of DistilGPT2's shape on random tokens: tokens per second after a
warm-up, and the loss on the same test blocks after the same number of tokens. Every contender runs in a process of its
own; the contenders take turns, and medians are printed.
"""

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import QUIET, facts, medians, print_table, take_turns, write_json
from benchmarks.keras_fit import prepare
from benchmarks.training_contender import BATCH_SIZE, CONTENDERS

# learning rate, warm-up steps, steps in all, repeats
MODELS: dict[str, tuple[float, int, int, int]] = {"tiny": (3e-3, 10, 60, 3), "distilgpt2": (2e-5, 1, 4, 1)}


def contender_command(contender: str, job: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.training_contender", contender, json.dumps(job)]


def make_job(model: str, folder: Path) -> tuple[dict[str, Any], int]:
    """What the contenders of one model are told, and how many turns each has."""
    from datasets import DatasetDict, load_from_disk

    learning_rate, warmup, steps, repeats = MODELS[model]
    weights, saved = prepare(model, folder, steps * BATCH_SIZE + 16)
    rows = load_from_disk(saved).select_columns("input_ids")
    blocks = DatasetDict(
        train=rows.select(range(steps * BATCH_SIZE)), test=rows.select(range(len(rows) - 16, len(rows)))
    )
    blocks.save_to_disk(folder / f"{model}-sides")
    job = {"model": weights, "blocks": str(folder / f"{model}-sides"), "folder": str(folder / f"{model}-tuned")}
    numbers = {"learning_rate": learning_rate, "warmup": warmup, "steps": steps, "test_blocks": 16}
    return job | numbers, repeats


def show(title: str, found: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n")
    guide = found["guide"]["tokens_per_s"]
    rows = [
        [
            name,
            f"{one['tokens_per_s']:,.0f} ({one['tokens_per_s'] / guide:.2f})",
            f"{one['eval_loss']:.4f}",
            f"{one['memory_mb']:,.0f}",
        ]
        for name, one in found.items()
    ]
    print_table(["", "tokens/s (to the guide's)", "loss afterwards", "peak memory, MB"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks/training.json"))
    chosen = parser.parse_args()
    result: dict[str, Any] = facts({"main": sys.executable}) | {"turns": {}, "medians": {}}
    with tempfile.TemporaryDirectory() as folder:
        for model in chosen.models:
            job, repeats = make_job(model, Path(folder))
            turns = take_turns(CONTENDERS, partial(contender_command, job=job), repeats, QUIET)
            result["turns"][model], result["medians"][model] = turns, medians(turns)
            show(model, result["medians"][model])
            write_json(chosen.output, result)


if __name__ == "__main__":
    main()
