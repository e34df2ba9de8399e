"""Train a LoRA adapter in place of all weights, and leave a model that is whole."""

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, Trainer, set_seed
from transformers.pytorch_utils import Conv1D

# What PEFT leaves open: an adapter for every matrix inside the layers, as in notebook 9.
LORA: dict[str, Any] = {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def read_lora(word: str) -> dict[str, Any] | None:
    """Read the value of ``--lora``: fields of PEFT's ``LoraConfig`` as JSON; ``true`` takes PEFT's own, ``false`` none.

    Raises:
        ArgumentTypeError: If it is something else; argparse names the option.
    """
    try:
        value = json.loads(word.lower() if word.lower() in ("true", "false") else word)
    except json.JSONDecodeError:
        value = word
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{word!r} is no JSON object, such as " + '{"r": 16}')
    return value


def adapt(model: PreTrainedModel, options: Mapping[str, Any], trained: Path | None, seed: int) -> Any:
    """Freeze a model, and add an adapter that is to be trained.

    Args:
        model: The model; it is changed in place.
        options: Fields of PEFT's ``LoraConfig``; the others are PEFT's own, and all linear layers get a part.
        trained: A checkpoint with the adapter, if it is trained.
        seed: Of the adapter's first weights.

    Returns:
        PEFT's model.

    Raises:
        ImportError: If PEFT is not installed.
        ValueError: If the options do not fit PEFT or the model.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError(
            f"--lora needs PEFT, which can't be imported ({error}): pip install 'clmkit[lora]'"
        ) from error
    from clmkit.training.lora import add_adapter, load_adapter

    if trained:
        return load_adapter(model, trained, trainable=True)
    transposed = any(isinstance(module, Conv1D) for module in model.modules())  # GPT-2's layers; PEFT warns if not told
    try:
        config = LoraConfig(**{**LORA, "fan_in_fan_out": transposed, **options})
        set_seed(seed)
        return add_adapter(model, config)
    except TypeError as error:
        raise ValueError(f"--lora {json.dumps(dict(options))} is not for PEFT's LoraConfig: {error}") from error


def merge_adapter(trainer: Trainer) -> None:
    """Add a trained adapter to the weights, so that what is saved and scored is a whole model."""
    model: Any = trainer.model
    trainer.model = model.merge_and_unload()
