"""Short runs whose every loss is known: a dependency that changes what is learned is seen the day it moves.

    python -m tests.frameworks.drift record        run all, and write tests/frameworks/losses.json
    python -m tests.frameworks.drift JOB           run one, and print its losses as JSON

One thread, float32, fixed seeds, and no instruction that not every CPU with AVX2 has.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LOSSES = Path(__file__).with_name("losses.json")
STEPS, BLOCKS_A_STEP, BLOCK_SIZE = 12, 4, 64
PINNED = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TQDM_DISABLE": "1",
    "CLMKIT_WIDGETS": "0",
}
# What computes, and what decides what is computed.
PACKAGES = {
    "pytorch": ("torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy"),
    "stream": ("torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy"),
    "lora": ("torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy", "peft"),
    "keras_hub": ("torch", "keras", "keras-hub", "tensorflow", "tokenizers", "datasets", "numpy"),
    "tf_keras": ("tensorflow", "tf-keras", "transformers", "tokenizers", "datasets", "numpy"),
}
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,
    "per_device_train_batch_size": BLOCKS_A_STEP,
    "logging_steps": 1,
    "eval_strategy": "no",
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
}


def versions(job: str) -> dict[str, str]:
    """The versions here of the packages that a job's losses may depend on; "none" for one that is not here."""

    def installed(package: str) -> str:
        try:
            return version(package).split("+")[0]  # torch names its build
        except PackageNotFoundError:
            return "none"

    return {package: installed(package) for package in PACKAGES[job]}


def same_arithmetic() -> bool:
    """Whether this is a Linux machine whose x86 CPU has AVX2, so that the same instructions can be used."""
    cpu = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and cpu.exists() and " avx2 " in cpu.read_text(encoding="utf-8")


def material() -> tuple[Any, Any, Any, str]:
    """The track, the blocks, the tokenizer and the folder of the model that all jobs but the stream work on."""
    from transformers import AutoTokenizer

    from clmkit.chunking import prepare_blocks
    from clmkit.hub.download import download_model
    from clmkit.tracks import choose_track

    track = choose_track("quick", rows=40)
    base = download_model(track.model)
    tokenizer = AutoTokenizer.from_pretrained(base)
    return track, prepare_blocks(track, tokenizer, block_size=BLOCK_SIZE), tokenizer, base


def run_trainer(change: Callable[[Any], Any] = lambda model: model) -> list[float]:
    from transformers import AutoModelForCausalLM, set_seed

    from clmkit.training.pytorch import build_trainer

    track, blocks, tokenizer, base = material()
    set_seed(42)
    model = change(AutoModelForCausalLM.from_pretrained(base, dtype="float32"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(track, model, blocks, tokenizer, output_dir=folder, **SETTINGS)
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def pytorch() -> list[float]:
    """As notebook 6a."""
    return run_trainer()


def lora() -> list[float]:
    """As notebook 9, on the bundled model."""
    from peft import LoraConfig

    from clmkit.training.lora import add_adapter

    how = {"r": 8, "lora_alpha": 16, "target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}
    return run_trainer(lambda model: add_adapter(model, LoraConfig(task_type="CAUSAL_LM", **how)))


def stream() -> list[float]:
    """As ``python -m clmkit train --streaming``."""
    from clmkit.scale.command import run_command
    from clmkit.tracks import SAMPLE, TINY_MODEL

    with tempfile.TemporaryDirectory() as folder:
        options = {"data": SAMPLE, "model": TINY_MODEL, "output_dir": folder, "block_size": BLOCK_SIZE, **SETTINGS}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        status = run_command("train", [*words, "--streaming", "--window", "50", "--learning_rate", "1e-3"])
        if status:
            raise RuntimeError(f"the stream's run ended with status {status}")
        record = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    return [loss for _, loss in record["losses"]["train"]]


def fit(model: Any, batches: Any, losses: Any) -> list[float]:
    """The loss of each step of ``fit``."""
    model.fit(batches.take(STEPS), epochs=1, callbacks=[losses], shuffle=False, verbose=0)
    return [loss for _, loss in losses.history.train]


def keras_hub() -> list[float]:
    """As notebook 6c."""
    import keras
    from keras_hub.models import CausalLM

    from clmkit.training.keras_hub import LossCallback, build_optimizer, prepare_dataset

    track, blocks, _, base = material()
    keras.utils.set_random_seed(42)
    model = CausalLM.from_preset(base)
    model.preprocessor = None
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=build_optimizer(track, STEPS), loss=loss)
    return fit(model, prepare_dataset(blocks["train"], batch_size=BLOCKS_A_STEP, shuffle=False), LossCallback())


def tf_keras() -> list[float]:
    """As notebook 6b."""
    import tensorflow as tf
    from transformers import TFAutoModelForCausalLM

    from clmkit.training.tf_keras import LossCallback, build_optimizer, collate_blocks

    track, blocks, _, base = material()
    tf.keras.utils.set_random_seed(42)
    model = TFAutoModelForCausalLM.from_pretrained(base)
    how = {"shuffle": False, "batch_size": BLOCKS_A_STEP, "collate_fn": collate_blocks}
    model.compile(optimizer=build_optimizer(track, STEPS))
    return fit(model, model.prepare_tf_dataset(blocks["train"], **how), LossCallback())


def main(job: str) -> None:
    from clmkit.kernels import use_kernel

    use_kernel("keras" if job == "tf_keras" else "main")
    losses = globals()[job]()
    print("\n" + json.dumps({"versions": versions(job), "losses": losses}))


def start(job: str) -> dict[str, Any]:
    """Run a job in a process of its own, and return what it printed last."""
    from tests.kernels import keras_python, run

    python = keras_python() if job == "tf_keras" else sys.executable
    ended = run(python, "-m", "tests.frameworks.drift", job, **PINNED)
    if ended.returncode:
        raise RuntimeError(f"{job} failed: {ended.stdout}{ended.stderr}")
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        recorded = {job: start(job) for job in PACKAGES}
        LOSSES.write_text(json.dumps(recorded, indent=1) + os.linesep, encoding="utf-8")
    else:
        main(sys.argv[1])
