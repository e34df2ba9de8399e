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

from benchmarks import keras_fit
from benchmarks.common import QUIET, RESULTS, can_compile, facts, format_table, medians, take_turns, write_json
from benchmarks.training_contender import BATCH_SIZE, CONTENDERS

TEST_BLOCKS = 16
MODELS = {
    "tiny": keras_fit.MODELS["tiny"]._replace(warmup=10, steps=60, repeats=3),
    "distilgpt2": keras_fit.MODELS["distilgpt2"]._replace(warmup=1, steps=4, repeats=2),
}


def contender_command(contender: str, job: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.training_contender", contender, json.dumps(job)]


def make_job(name: str, model: keras_fit.Model, folder: Path) -> dict[str, Any]:
    """What the contenders of one model are told."""
    from datasets import DatasetDict, load_from_disk

    needed = model.steps * BATCH_SIZE
    weights, saved = keras_fit.prepare(name, folder, needed + TEST_BLOCKS)
    rows = load_from_disk(saved).select_columns("input_ids")
    blocks = DatasetDict(train=rows.select(range(needed)), test=rows.select(range(needed, needed + TEST_BLOCKS)))
    blocks.save_to_disk(folder / f"{name}-sides")
    job = {"model": weights, "blocks": str(folder / f"{name}-sides"), "folder": str(folder / f"{name}-tuned")}
    return job | {"learning_rate": model.learning_rate, "warmup": model.warmup, "steps": model.steps}


def table(found: dict[str, dict[str, float]]) -> str:
    """The medians of one model, each with its ratio to the guide's call."""
    guide = found["guide"]["tokens_per_s"]
    rows = [
        [
            name,
            f"{one['tokens_per_s']:,.0f} ({one['tokens_per_s'] / guide:.2f})",
            f"{one['gflops_per_s']:,.0f}",
            f"{one['first_step_s']:.1f}",
            f"{one['eval_loss']:.4f}",
            f"{one['memory_mb']:,.0f}",
        ]
        for name, one in found.items()
    ]
    return format_table(
        ["", "tokens/s (to the guide's)", "GFLOP/s", "first step, s", "loss afterwards", "peak, MB"], rows
    )


def tables(result: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    found = [f"**{MODELS[model].title}**\n\n{table(one)}" for model, one in result["medians"].items()]
    return "\n\n".join([*found, "" if result["machine"]["gpu"] else "No GPU was to be had, so no row tells of one."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--repeats", type=int, help="turns of each contender (default: 3 of tiny, 2 of distilgpt2)")
    parser.add_argument("--steps", type=int, help="steps in all (default: 60 of tiny, 4 of distilgpt2)")
    parser.add_argument("--output", type=Path, default=RESULTS / "training.json")
    chosen = parser.parse_args()
    result: dict[str, Any] = facts({"main": sys.executable}) | {"turns": {}, "medians": {}}
    contenders = [name for name in CONTENDERS if can_compile() or "compiled" not in name]
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.models:
            model = MODELS[name]
            model = model._replace(repeats=chosen.repeats or model.repeats, steps=chosen.steps or model.steps)
            job = make_job(name, model, Path(folder))
            turns = take_turns(contenders, partial(contender_command, job=job), model.repeats, QUIET)
            result["turns"][name], result["medians"][name] = turns, medians(turns)
            write_json(chosen.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
