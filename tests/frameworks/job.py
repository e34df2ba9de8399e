"""What one framework does with the models and blocks of a folder, in a process of its own: ``conftest.py`` starts it.

Run as ``python -m tests.frameworks.job tf_keras FOLDER`` on the Keras kernel, and with ``keras_hub`` on the main one.
Neither torch nor pytest is needed. What it finds goes into a folder beside the models.
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MODELS = ("random", "bundled")
BLOCKS_WITH_LOGITS = 3


class Side(NamedTuple):
    """How a framework does what is the same for all."""

    load: Callable[[Path], Any]
    logits: Callable[[Any, list[list[int]]], np.ndarray]
    apply_zero_gradients: Callable[[Any, Any], None]
    fit_two_steps: Callable[[Any, Any], None]
    generate: Callable[[Path], None]


def tf_keras() -> Side:
    import tensorflow as tf
    from transformers import AutoTokenizer, TFAutoModelForCausalLM, pipeline

    from clmkit.training.tf_keras import collate_blocks

    def apply_zero_gradients(model: Any, optimizer: Any) -> None:
        weights = model.trainable_variables
        optimizer.apply_gradients([(tf.zeros_like(weight), weight) for weight in weights])

    def fit_two_steps(model: Any, blocks: Any) -> None:
        train_set = model.prepare_tf_dataset(blocks, batch_size=4, shuffle=True, collate_fn=collate_blocks)
        for jit_compile in (False, True):
            model.compile(optimizer="adam", jit_compile=jit_compile)
            model.fit(train_set.take(2), validation_data=train_set.take(1), verbose=0)

    def generate(folder: Path) -> None:
        generator = pipeline("text-generation", model=str(folder), framework="tf")
        generator("The sky is", max_new_tokens=3, do_sample=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        tokenizer.pad_token = tokenizer.eos_token
        inputs = tokenizer("The sky is", return_tensors="tf", padding=True, pad_to_multiple_of=8)
        options = {"max_new_tokens": 3, "do_sample": True, "pad_token_id": tokenizer.eos_token_id}
        model = TFAutoModelForCausalLM.from_pretrained(folder)
        model.generate(**inputs, **options)
        tf.function(model.generate, jit_compile=True)(**inputs, **options)

    return Side(
        load=TFAutoModelForCausalLM.from_pretrained,
        logits=lambda model, ids: model(input_ids=tf.constant(ids)).logits.numpy(),
        apply_zero_gradients=apply_zero_gradients,
        fit_two_steps=fit_two_steps,
        generate=generate,
    )


def keras_hub() -> Side:
    import keras
    from keras_hub.models import GPT2CausalLM

    from clmkit.training.keras_hub import prepare_dataset

    def load(folder: Path) -> Any:
        return GPT2CausalLM.from_preset(str(folder))

    def logits(model: Any, ids: list[list[int]]) -> np.ndarray:
        inputs = {"token_ids": np.array(ids), "padding_mask": np.ones_like(ids, dtype=bool)}
        return keras.ops.convert_to_numpy(model(inputs, training=False))

    def apply_zero_gradients(model: Any, optimizer: Any) -> None:
        optimizer.build(model.trainable_variables)
        optimizer.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables])

    def fit_two_steps(model: Any, blocks: Any) -> None:
        train_set = prepare_dataset(blocks, batch_size=4, shuffle=True)
        model.preprocessor = None
        model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(train_set.take(2), validation_data=train_set.take(1), verbose=0, shuffle=False)

    def generate(folder: Path) -> None:
        load(folder).generate("The sky is", max_length=8)

    return Side(load, logits, apply_zero_gradients, fit_two_steps, generate)


def digest(rows: Any) -> str:
    """The same for the same ids in the same order."""
    return hashlib.sha256(json.dumps(rows["input_ids"][:]).encode()).hexdigest()


def main(framework: str, folder: Path) -> None:
    from clmkit.kernels import use_kernel

    use_kernel("keras" if framework == "tf_keras" else "main")
    module = importlib.import_module(f"clmkit.training.{framework}")
    side: Side = globals()[framework]()

    from datasets import load_from_disk
    from transformers import AutoTokenizer

    from clmkit.chunking import prepare_blocks
    from clmkit.tracks import BUNDLED, choose_track

    output = folder / (framework if framework == "tf_keras" else f"{framework}_{backend()}")
    blocks = load_from_disk(str(folder / "blocks"))
    report: dict[str, Any] = {"scores": {}}
    for name in MODELS:
        model = side.load(folder / name)
        tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
        report["scores"][name] = module.score(model, blocks, batch_size=4, tokenizer=tokenizer)
        module.export_model(model, output / name)
        np.save(output / f"{name}.npy", side.logits(model, blocks[:BLOCKS_WITH_LOGITS]["input_ids"]))

    # With gradients of zero a step of AdamW changes what it decays, and nothing else.
    model = side.load(folder / "bundled")
    side.apply_zero_gradients(model, module.build_optimizer(choose_track("quick"), 10))
    module.export_model(model, output / "decayed")

    side.fit_two_steps(side.load(folder / "random"), blocks)
    side.generate(folder / "random")
    sample = prepare_blocks(choose_track("quick"), AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2"))
    report["digests"] = {part: digest(rows) for part, rows in sample.items()}
    (output / "report.json").write_text(json.dumps(report), encoding="utf-8")


def backend() -> str:
    import keras

    return str(keras.config.backend())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
