import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from datasets import Dataset
from transformers import PushToHubCallback, TFAutoModelForCausalLM, TFGPT2LMHeadModel

from clmkit.tracks import Track
from clmkit.training import tf_keras
from tests.keras_cases import *  # noqa: F403, the cases themselves
from tests.keras_cases import Side


def fitter(track: Track) -> Callable[..., Any]:
    def fit(
        model: TFGPT2LMHeadModel,
        train: Dataset,
        test: Dataset,
        *,
        batch_size: int,
        learning_rate: float,
        **options: Any,
    ) -> Any:
        train_set, test_set = (
            model.prepare_tf_dataset(rows, batch_size=batch_size, shuffle=False, collate_fn=tf_keras.collate_blocks)
            for rows in (train, test)
        )
        steps = len(train_set) * options["epochs"]
        model.compile(optimizer=tf_keras.build_optimizer(replace(track, learning_rate=learning_rate), steps))
        return model.fit(train_set, validation_data=test_set, verbose=0, **options)

    return fit


def restorer(track: Track) -> Callable[..., int]:
    def restore(model: TFGPT2LMHeadModel, folder: Path, epoch: int) -> int:
        model.compile(optimizer=tf_keras.build_optimizer(track, 1))
        saved_epoch = tf.Variable(-1)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epoch=saved_epoch)
        status = checkpoint.read(str(folder / "state"))
        model.optimizer._create_all_weights(model.trainable_variables)  # as the first step of a fit does
        status.assert_consumed()
        return int(saved_epoch)

    return restore


def optimizer_state(model: TFGPT2LMHeadModel) -> list[np.ndarray]:
    optimizer = model.optimizer
    slots = [optimizer.get_slot(weight, name) for weight in model.trainable_variables for name in ("m", "v")]
    return [value.numpy() for value in (optimizer.iterations, *slots)]


@pytest.fixture
def side(model: TFGPT2LMHeadModel, quick: Track) -> Side:
    return Side(
        module=tf_keras,
        model=model,
        fit=fitter(quick),
        load=TFAutoModelForCausalLM.from_pretrained,
        restore=restorer(quick),
        optimizer_state=optimizer_state,
        set_policy=tf.keras.mixed_precision.set_global_policy,
    )


def test_the_callback_takes_the_arguments_of_push_to_hub_callback_and_privacy_for_those_of_the_card() -> None:
    theirs, ours = (
        [(p.name, p.kind, p.default) for p in inspect.signature(callback).parameters.values()]
        for callback in (PushToHubCallback, tf_keras.HubCallback)
    )
    assert theirs[-1] == ("model_card_args", inspect.Parameter.VAR_KEYWORD, inspect.Parameter.empty)
    assert ours == [*theirs[:-1], ("hub_private_repo", inspect.Parameter.POSITIONAL_OR_KEYWORD, None)]
