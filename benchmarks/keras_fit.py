"""What does Keras ``fit`` cost as the guide writes it, and in each other way that the course can train?

Run it from the repository's root, in the main environment; the guide's TensorFlow classes run on the Keras kernel:

    .venv/bin/python -m benchmarks.keras_fit

For the bundled tiny GPT-2, and for a model of DistilGPT2's shape with random weights, it prints a table with a line for
each contender: seconds from loading the model to the end of the first step (which builds, traces and compiles), tokens
per second after the warm-up, the peak memory of the process, the last steps' loss, and ratios to the guide's ``fit``.
Every contender trains on the same blocks of 128 tokens, in batches of 16, in a process of its own; the contenders take
turns, and the medians of the turns are printed. The file of results holds every turn.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.common import QUIET, RESULTS, facts, format_table, gpu_name, write_json
from benchmarks.keras_fit_contender import Contender, Job, command

BATCH_SIZE = 16  # the guide's, in its Keras part
BLOCK_SIZE = 128


class Model(NamedTuple):
    """What is trained, and the defaults that keep the whole run in a quarter of an hour on two CPU cores."""

    title: str
    learning_rate: float
    warmup: int
    steps: int
    repeats: int


MODELS = {
    "tiny": Model("The bundled tiny GPT-2", 5e-4, warmup=5, steps=30, repeats=3),
    "distilgpt2": Model("DistilGPT2's shape, random weights, random tokens", 2e-5, warmup=1, steps=2, repeats=1),
}
CONTENDERS = [
    Contender("guide (tf.keras)", "guide"),
    Contender("tf.keras, fixed shapes", "tf_keras"),
    Contender("tf.keras, XLA", "tf_keras", xla=True),
    Contender("KerasHub on torch", "keras_hub", backend="torch"),
    Contender("KerasHub on TensorFlow", "keras_hub"),
    Contender("KerasHub on TensorFlow, XLA", "keras_hub", xla=True),
    Contender("PyTorch Trainer", "trainer"),
]
BF16_CONTENDERS = [
    Contender("tf.keras, bf16", "tf_keras", bf16=True),
    Contender("tf.keras, XLA, bf16", "tf_keras", xla=True, bf16=True),
    Contender("KerasHub on torch, bf16", "keras_hub", backend="torch", bf16=True),
    Contender("KerasHub on TensorFlow, XLA, bf16", "keras_hub", xla=True, bf16=True),
    Contender("PyTorch Trainer, bf16", "trainer", bf16=True),
]


def keras_python() -> str:
    """The Python of the Keras kernel: the registered one's, else that of ``.venv-keras``."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        return KernelSpecManager().get_kernel_spec("clmkit-keras").argv[0]
    except NoSuchKernel:
        python = Path(".venv-keras/bin/python").absolute()
        if not python.is_file():
            sys.exit("The Keras kernel is not there: make setup")
        return str(python)


def prepare(model: str, folder: Path, blocks: int) -> tuple[str, str]:
    """Make the model's folder, if it is the random one, and save the blocks; return both folders."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, set_seed

    from clmkit.chunking import prepare_blocks
    from clmkit.tracks import choose_track

    saved = folder / f"{model}-blocks"
    if model == "tiny":
        track = choose_track("quick")
        rows = prepare_blocks(track, AutoTokenizer.from_pretrained(track.model), BLOCK_SIZE)["train"]
        rows.select([number % len(rows) for number in range(blocks)]).save_to_disk(saved)
        return track.model, str(saved)
    set_seed(0)
    config = GPT2Config(n_layer=6)  # all else as GPT-2 has it: 768 wide, 12 heads, 50,257 tokens, context 1,024
    GPT2LMHeadModel(config).save_pretrained(folder / model)
    ids = torch.randint(config.vocab_size, (blocks, BLOCK_SIZE)).tolist()
    Dataset.from_dict({"input_ids": ids, "labels": ids}).save_to_disk(saved)
    return str(folder / model), str(saved)


def measure(python: str, contender: Contender, job: Job) -> dict[str, Any]:
    """Run one contender once."""
    keras = {"TF_USE_LEGACY_KERAS": "1"} if contender.kernel == "keras" else {"KERAS_BACKEND": contender.backend}
    environment = os.environ | QUIET | keras
    run = subprocess.run(command(python, contender, job), capture_output=True, text=True, env=environment)
    if run.returncode:
        sys.exit(f"{contender.name} failed:\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def compare(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The medians of every contender, and their ratios to the guide's."""
    keys = ("first_step_s", "tokens_per_s", "peak_mb", "loss")
    medians = {name: {key: median(run[key] for run in repeats) for key in keys} for name, repeats in runs.items()}
    guide = medians[CONTENDERS[0].name]
    ratios = {name: {key: values[key] / guide[key] for key in keys} for name, values in medians.items()}
    return {"runs": runs, "medians": medians, "ratios": ratios}


def table(model: dict[str, Any]) -> str:
    """The medians of one model, in brackets their ratios to the guide's call."""
    rows = []
    for name, values in model["medians"].items():
        ratio = model["ratios"][name]
        cells = [
            f"{values[key]:,.{digits}f} ({ratio[key]:.2f})"
            for key, digits in (("first_step_s", 1), ("tokens_per_s", 0), ("peak_mb", 0))
        ]
        rows.append([name, *cells, f"{values['loss']:.3f}", "GPU" if model["runs"][name][0]["gpu"] else "CPU"])
    return format_table(["", "first step done, s", "tokens/s", "peak memory, MB", "loss", "on"], rows)


def tables(result: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    found = [
        f"**{model['title']}**, {model['steps']} steps, median of {model['repeats']}\n\n{table(model)}"
        for model in result["models"].values()
    ]
    return "\n\n".join(found) + (
        "" if result["machine"]["gpu"] else "\n\nNo GPU was to be had, so no row tells of one."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="tiny,distilgpt2", help="which, with commas between (default: %(default)s)")
    parser.add_argument("--repeats", type=int, help="runs of each contender (default: 3 of tiny, 1 of distilgpt2)")
    parser.add_argument("--steps", type=int, help="steps to measure (default: 30 of tiny, 2 of distilgpt2)")
    parser.add_argument("--bf16", action="store_true", help="measure bf16 without a GPU, too")
    parser.add_argument("--output", type=Path, default=RESULTS / "keras_fit.json")
    arguments = parser.parse_args()
    models = arguments.models.split(",")
    if unknown := set(models) - set(MODELS):
        parser.error(f"unknown model {', '.join(sorted(unknown))}: choose from {', '.join(MODELS)}")

    pythons = {"main": sys.executable, "keras": keras_python()}
    contenders = CONTENDERS + (BF16_CONTENDERS if gpu_name() or arguments.bf16 else [])
    result = facts(pythons) | {"models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            model = MODELS[name]
            steps, repeats = arguments.steps or model.steps, arguments.repeats or model.repeats
            model_folder, blocks = prepare(name, Path(folder), (model.warmup + steps) * BATCH_SIZE)
            job = Job(model_folder, blocks, BATCH_SIZE, model.learning_rate, model.warmup)
            runs: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
            for _ in range(repeats):
                for contender in contenders:
                    runs[contender.name].append(measure(pythons[contender.kernel], contender, job))
            result["models"][name] = {**model._asdict(), "steps": steps, "repeats": repeats, **compare(runs)}
            write_json(arguments.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
