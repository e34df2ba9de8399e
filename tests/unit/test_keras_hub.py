"""KerasHub on the torch backend; ``tests/frameworks`` runs it on TensorFlow too, and holds it against the others."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import torch
from datasets import Dataset, DatasetDict
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.eli5 import load_eli5
from clmkit.texts import join_answers
from clmkit.tracks import BUNDLED, Track
from clmkit.training import keras_hub as module
from clmkit.training.keras_hub import (
    build_optimizer,
    export_model,
    prepare_dataset,
    score,
    shift_labels,
    transformers_weights,
)
from tests.keras_cases import *  # noqa: F403, the cases themselves
from tests.keras_cases import Side

# Keras hands its variables to NumPy in an older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def load(folder: Path) -> Any:
    return keras_hub.models.GPT2CausalLM.from_preset(str(folder), preprocessor=None)


@pytest.fixture
def folder(model: GPT2LMHeadModel, tmp_path: Path) -> Path:
    """A random model of one layer without dropout, saved by PyTorch."""
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        setattr(model.config, name, 0.0)
    model.save_pretrained(tmp_path / "random")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(BUNDLED / "tiny_gpt2" / name, tmp_path / "random")
    return tmp_path / "random"


@pytest.fixture
def hub_model(folder: Path) -> Any:
    return load(folder)


def compiled(model: Any, track: Track, steps: int) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=build_optimizer(track, steps), loss=loss)
    return model


@pytest.fixture
def side(hub_model: Any, quick: Track) -> Side:
    def fit(model: Any, train: Dataset, test: Dataset, *, batch_size: int, learning_rate: float, **options: Any) -> Any:
        train_set, test_set = (prepare_dataset(rows, batch_size=batch_size, shuffle=False) for rows in (train, test))
        compiled(model, replace(quick, learning_rate=learning_rate), len(train_set) * options["epochs"])
        return model.fit(train_set, validation_data=test_set, verbose=0, shuffle=False, **options)

    def restore(model: Any, folder: Path, epoch: int) -> None:
        compiled(model, quick, 1).optimizer.build(model.trainable_variables)  # or load_weights leaves its state out
        model.load_weights(folder / f"epoch-{epoch}.weights.h5")

    return Side(
        module=module,
        model=hub_model,
        fit=fit,
        load=load,
        restore=restore,
        optimizer_state=lambda model: list(map(keras.ops.convert_to_numpy, model.optimizer.variables)),
        set_policy=keras.config.set_dtype_policy,
    )


def test_the_labels_of_five_tokens_are_shifted_as_by_hand() -> None:
    batch = {"input_ids": tf.constant([[11, 12, 13, 14, 15]]), "labels": tf.constant([[11, 12, -100, 14, 15]])}
    inputs, labels, weights = shift_labels(batch)
    assert set(inputs) == {"token_ids", "padding_mask"}
    assert inputs["token_ids"].numpy().tolist() == [[11, 12, 13, 14]]
    assert inputs["padding_mask"].numpy().tolist() == [[True] * 4]
    assert labels.numpy().tolist() == [[12, 0, 14, 15]]
    assert weights.numpy().tolist() == [[1.0, 0.0, 1.0, 1.0]]


def test_the_labels_are_those_of_kerashubs_own_preprocessor() -> None:
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor.from_preset(str(BUNDLED / "tiny_gpt2"))
    inputs, *rest = preprocessor(["Why is the sky blue?"], sequence_length=32)
    theirs = [keras.ops.convert_to_numpy(values)[0] for values in (inputs["token_ids"], *rest)]
    length = int(keras.ops.convert_to_numpy(inputs["padding_mask"]).sum())
    # The preprocessor puts <|endoftext|> before and after the text, and pads; blocks need no padding.
    block = tf.constant([theirs[0][:length]])
    inputs, *rest = shift_labels({"input_ids": block, "labels": block})
    for values, expected in zip((inputs["token_ids"], *rest), theirs, strict=True):
        assert values.numpy()[0].tolist() == expected[: length - 1].tolist()


def batches(dataset: tf.data.Dataset) -> list[list[list[int]]]:
    return [inputs["token_ids"].tolist() for inputs, _, _ in dataset.as_numpy_iterator()]


def rows_of(epoch: list[list[list[int]]]) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row) for batch in epoch for row in batch)


def test_a_batch_of_no_block_is_refused(blocks: DatasetDict) -> None:
    with pytest.raises(ValueError, match="batch_size must be a whole number of 1 or more, not 0"):
        prepare_dataset(blocks["train"], batch_size=0, shuffle=False)


def test_batches_hold_every_block_in_order_or_shuffled_anew_each_epoch_by_the_seed(blocks: DatasetDict) -> None:
    rows = blocks["train"]
    full, rest = divmod(len(rows), 8)
    assert rest
    ordered = batches(prepare_dataset(rows, batch_size=8, shuffle=False))
    assert [len(batch) for batch in ordered] == [8] * full + [rest]
    assert [row for batch in ordered for row in batch] == [ids[:-1] for ids in rows["input_ids"]]

    epochs = {}
    for run, seed in enumerate((1, 1, 2)):
        keras.utils.set_random_seed(seed)
        dataset = prepare_dataset(rows, batch_size=8, shuffle=True)
        assert len(dataset) == full + 1
        epochs[run] = [batches(dataset) for _ in range(2)]
        for epoch in epochs[run]:
            assert rows_of(epoch) == rows_of(ordered)
            assert epoch != ordered
        assert epochs[run][0] != epochs[run][1]
    assert epochs[0] == epochs[1]
    assert epochs[0][0] != epochs[2][0]


def loss_by_hand(model: Any, rows: Dataset) -> tuple[float, int]:
    ids, labels = np.array(rows["input_ids"]), np.array(rows["labels"])
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids, dtype=bool)}
    logits = keras.ops.convert_to_numpy(model(inputs)).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    places = [(row, i) for row, i in np.ndindex(*labels.shape) if i and labels[row, i] != -100]
    return -sum(log_probabilities[row, i - 1, labels[row, i]] for row, i in places), len(places)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_score_equals_a_loss_by_hand_whatever_the_batch_size(
    hub_model: Any, blocks: DatasetDict, batch_size: int
) -> None:
    rows = blocks["test"].select(range(7))
    labels = np.array(rows["input_ids"])
    labels[2, 5:] = -100
    labels[6, 1] = -100
    rows = Dataset.from_dict({"input_ids": rows["input_ids"], "labels": labels.tolist()})
    total, count = loss_by_hand(hub_model, rows)
    result = score(hub_model, rows, batch_size)
    assert result.tokens == count == 7 * 31 - 27 - 1
    assert result.summed_loss == pytest.approx(total, rel=1e-5)


def test_score_keeps_nothing_for_gradients(hub_model: Any, blocks: DatasetDict) -> None:
    enabled: list[bool] = []

    def model(inputs: Any, training: bool) -> Any:
        enabled.append(torch.is_grad_enabled())
        return hub_model(inputs, training=training)

    assert score(model, blocks["test"], 6) == score(hub_model, blocks["test"], 6)
    assert enabled == [False, False]
    assert torch.is_grad_enabled()


def test_score_switches_dropout_off(folder: Path, blocks: DatasetDict) -> None:
    config = json.loads((folder / "config.json").read_text())
    expected = score(load(folder), blocks["test"])
    (folder / "config.json").write_text(json.dumps(config | {"resid_pdrop": 0.5}))
    model = load(folder)
    assert model.backbone.dropout == 0.5
    assert score(model, blocks["test"])[:2] == pytest.approx(expected[:2], rel=1e-6)


def test_the_learning_rate_falls_to_0_in_a_straight_line(quick: Track, hub_model: Any) -> None:
    optimizer = build_optimizer(replace(quick, learning_rate=0.5), 5)
    assert [float(optimizer._learning_rate(step)) for step in range(7)] == pytest.approx(
        [0.5, 0.4, 0.3, 0.2, 0.1, 0, 0]
    )
    optimizer.build(hub_model.trainable_variables)
    for _ in range(5):
        optimizer.apply([keras.ops.zeros_like(variable) for variable in hub_model.trainable_variables])
    assert float(optimizer.learning_rate) == pytest.approx(0)


def test_gradients_are_clipped_to_a_norm_of_1(quick: Track, hub_model: Any) -> None:
    optimizer = build_optimizer(quick, 5)
    variables = hub_model.trainable_variables
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones_like(variable) * 1e3 for variable in variables])
    # The first moment is a tenth of the clipped gradient.
    momentums = [keras.ops.convert_to_numpy(momentum) for momentum in optimizer._momentums]
    assert np.sqrt(sum(np.square(momentum).sum() for momentum in momentums)) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("with_preprocessor", [False, True])
def test_an_exported_model_is_the_pytorch_one_that_it_came_from(
    folder: Path, model: GPT2LMHeadModel, tmp_path: Path, with_preprocessor: bool
) -> None:
    hub_model = keras_hub.models.GPT2CausalLM.from_preset(str(folder)) if with_preprocessor else load(folder)
    assert export_model(hub_model, tmp_path / "a" / "exported") == tmp_path / "a" / "exported"
    exported, info = AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "exported", output_loading_info=True)
    assert not any(info.values()), info
    assert exported.state_dict().keys() == model.state_dict().keys()
    assert all(bool((exported.state_dict()[name] == tensor).all()) for name, tensor in model.state_dict().items())
    shape = ("n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "activation_function", "layer_norm_epsilon")
    assert [getattr(exported.config, name) for name in shape] == [getattr(model.config, name) for name in shape]
    reloaded = load(tmp_path / "a" / "exported")
    assert all(map(np.array_equal, reloaded.get_weights(), hub_model.get_weights()))


def test_a_failed_export_leaves_the_model_that_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_model = keras_hub.models.GPT2CausalLM.from_preset(str(folder))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(before["model.safetensors"][:1000])
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_model(hub_model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_exported_model_has_the_weights_that_kerashubs_own_exporter_gives(folder: Path, tmp_path: Path) -> None:
    hub_model = keras_hub.models.GPT2CausalLM.from_preset(str(folder))
    if not hasattr(hub_model.backbone, "export_to_transformers"):
        pytest.skip(f"keras-hub {keras_hub.__version__} has no exporter of GPT-2")
    try:
        hub_model.export_to_transformers(str(tmp_path))
    except ValueError as error:
        if "not implemented for GPT2Backbone" not in str(error):
            raise
        pytest.skip(f"keras-hub {keras_hub.__version__}: {error}")
    theirs = load_file(tmp_path / "model.safetensors")
    ours = transformers_weights(hub_model)
    assert ours.keys() == {name.removesuffix("lm_head.weight") for name in theirs} - {""}
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_the_exported_tokenizer_gives_the_same_ids(
    folder: Path, tokenizer: PreTrainedTokenizerBase, quick: Track, tmp_path: Path
) -> None:
    model = keras_hub.models.GPT2CausalLM.from_preset(str(folder))
    export_model(model, tmp_path / "exported", tokenizer)
    exported = AutoTokenizer.from_pretrained(tmp_path / "exported")
    texts = join_answers(load_eli5(replace(quick, rows=None)))["text"][:]
    assert len(exported) == len(tokenizer) == 8192
    assert exported(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    assert exported.eos_token_id == tokenizer.eos_token_id
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "exported").config.eos_token_id == tokenizer.eos_token_id


def test_a_model_exported_while_it_trains_keeps_its_end_of_text_token(
    folder: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    export_model(load(folder), tmp_path / "exported", tokenizer)  # without a preprocessor, as fit needs it
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    assert exported.config.eos_token_id == exported.generation_config.eos_token_id == tokenizer.eos_token_id
    assert exported.config.bos_token_id == tokenizer.bos_token_id
