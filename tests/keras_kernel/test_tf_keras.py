import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from datasets import Dataset, DatasetDict
from safetensors.numpy import load_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase, TFAutoModelForCausalLM, TFGPT2LMHeadModel, set_seed

from clmkit.tracks import BUNDLED, Track
from clmkit.training import tf_keras
from clmkit.training.tf_keras import build_optimizer, check_gpt2, export_model, find_or_train, score, train
from clmkit.training.tuned_models import model_folder


def loss_by_hand(model: TFGPT2LMHeadModel, rows: Dataset) -> tuple[float, int]:
    ids, labels = np.array(rows["input_ids"]), np.array(rows["labels"])
    logits = model(input_ids=tf.constant(ids)).logits.numpy().astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    places = [(row, i) for row, i in np.ndindex(*labels.shape) if i and labels[row, i] != -100]
    return -sum(log_probabilities[row, i - 1, labels[row, i]] for row, i in places), len(places)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_score_equals_a_loss_by_hand_whatever_the_batch_size(
    model: TFGPT2LMHeadModel, blocks: DatasetDict, batch_size: int
) -> None:
    rows = blocks["test"].select(range(7))
    labels = np.array(rows["input_ids"])
    labels[2, 5:] = -100
    labels[6, 1] = -100
    rows = Dataset.from_dict({"input_ids": rows["input_ids"], "labels": labels.tolist()})
    total, count = loss_by_hand(model, rows)
    result = score(model, rows, batch_size)
    assert result.tokens == count == 7 * 31 - 27 - 1
    assert result.mean_loss == pytest.approx(total / count, abs=1e-5)


def test_score_switches_dropout_off(model: TFGPT2LMHeadModel, blocks: DatasetDict, tmp_path: Path) -> None:
    export_model(model, tmp_path)
    with_dropout = TFAutoModelForCausalLM.from_pretrained(tmp_path, resid_pdrop=0.5, embd_pdrop=0.5)
    assert with_dropout.config.resid_pdrop == 0.5
    assert score(with_dropout, blocks["test"])[:2] == pytest.approx(score(model, blocks["test"])[:2], rel=1e-6)


def test_the_learning_rate_falls_to_0_in_a_straight_line(quick: Track, model: TFGPT2LMHeadModel) -> None:
    optimizer = build_optimizer(replace(quick, learning_rate=0.5), 5)
    rates = [float(optimizer.learning_rate(step)) for step in range(7)]
    assert rates == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0, 0])


def test_gradients_are_clipped_to_a_norm_of_1(quick: Track, model: TFGPT2LMHeadModel) -> None:
    optimizer, weights = build_optimizer(quick, 5), model.trainable_variables
    optimizer.apply_gradients([(1e3 * tf.ones_like(weight), weight) for weight in weights])
    # The first moment is a tenth of the clipped gradient.
    moments = [optimizer.get_slot(weight, "m").numpy() for weight in weights]
    assert np.sqrt(sum(np.square(moment).sum() for moment in moments)) == pytest.approx(0.1, rel=1e-3)


def test_what_is_not_decayed_are_biases_and_layer_norms(quick: Track, model: TFGPT2LMHeadModel) -> None:
    optimizer, weights = build_optimizer(quick, 5), model.trainable_variables
    before = model.get_weights()
    optimizer.apply_gradients([(tf.zeros_like(weight), weight) for weight in weights])
    kept = {w.name for w, old in zip(weights, before, strict=True) if np.array_equal(w.numpy(), old)}
    assert kept == {w.name for w in weights if "/ln_" in w.name or w.name.endswith("bias:0")}
    assert len(kept) == 2 * 3 + 4 < len(weights)


def test_an_exported_model_loads_again_with_equal_weights(
    model: TFGPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "exported"
    assert export_model(model, str(folder), tokenizer) == folder
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "vocab.json", "merges.txt"} <= names
    assert not [name for name in names if name.endswith(".h5") or name.startswith("unfinished")]
    loaded, info = TFAutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
    # And a second time, from a model with another name scope.
    assert [w.name for w in loaded.weights] != [w.name for w in model.weights]
    export_model(loaded, tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_generation_config_that_contradicts_itself_does_not_keep_a_model_from_being_saved(
    model: TFGPT2LMHeadModel, tmp_path: Path
) -> None:
    model.generation_config.update(early_stopping=True, pad_token_id=-1)
    export_model(model, tmp_path)
    assert (tmp_path / "generation_config.json").is_file()


def test_the_name_of_a_chat_template_is_no_path(
    model: TFGPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = {"default": "{{ messages }}", "../../../escaped": "evil"}
    export_model(model, tmp_path / "inner" / "exported", tokenizer)
    assert not list(tmp_path.rglob("*.jinja"))
    loaded = AutoTokenizer.from_pretrained(tmp_path / "inner" / "exported")
    assert loaded.chat_template == tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "inner" / "by itself")
    assert list(tmp_path.rglob("escaped.jinja")), "transformers does what it should not, left to itself"


def test_tied_weights_are_stored_once_and_marked_as_pytorchs(model: TFGPT2LMHeadModel, tmp_path: Path) -> None:
    export_model(model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert len(tensors) == len(model.weights)
    assert sum(tensor.shape == (8192, 32) for tensor in tensors.values()) == 1
    assert sum(tensor.size for tensor in tensors.values()) == model.num_parameters()
    header = (tmp_path / "model.safetensors").read_bytes()[8:].split(b"}")[0]
    assert b'"format":"pt"' in header
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]


def test_a_failed_write_leaves_the_model_that_was_there(
    model: TFGPT2LMHeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_model(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    old = model.get_weights()
    model.set_weights([weight + 1 for weight in old])

    def full_disk(tensors: Any, path: Path, **options: Any) -> None:
        Path(path).write_bytes(before["model.safetensors"][:1000])
        raise OSError("No space left on device")

    monkeypatch.setattr(tf_keras, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_model(model, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert all(map(np.array_equal, TFAutoModelForCausalLM.from_pretrained(tmp_path).get_weights(), old))
    monkeypatch.undo()
    export_model(model, tmp_path)
    assert not np.array_equal(TFAutoModelForCausalLM.from_pretrained(tmp_path).get_weights()[0], old[0])
    assert {path.name for path in tmp_path.iterdir()} == set(before)


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(model: TFGPT2LMHeadModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/out.* can't be written"):
        export_model(model, tmp_path / "file" / "out")


@pytest.fixture
def small(quick: Track, model: TFGPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Track:
    """The quick track with a random model of one layer to start from."""
    export_model(model, tmp_path / "random", tokenizer)
    return replace(quick, model=str(tmp_path / "random"), learning_rate=1e-2)


def test_training_lowers_the_loss_and_gives_the_same_whatever_was_drawn_before(
    small: Track, blocks: DatasetDict
) -> None:
    trained = []
    for seed in (1, 2):
        set_seed(seed)
        trained.append(train(small, blocks))
    before = score(TFAutoModelForCausalLM.from_pretrained(small.model), blocks["test"]).mean_loss
    assert score(trained[0], blocks["test"]).mean_loss < before - 0.5
    # Losses, not weights: TensorFlow adds in an order of its own.
    losses = [score(model, blocks["test"]).mean_loss for model in trained]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_find_or_train_saves_a_model_with_its_tokenizer_beside_the_other_frameworks(
    small: Track, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_or_train(small)
    assert folder == model_folder(small, "tf_keras")
    assert not np.array_equal(
        TFAutoModelForCausalLM.from_pretrained(folder).get_weights()[0],
        TFAutoModelForCausalLM.from_pretrained(small.model).get_weights()[0],
    )
    assert type(tokenizer).from_pretrained(folder).get_vocab() == tokenizer.get_vocab()

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(tf_keras, "train", refuse)
    assert find_or_train(small) == folder


def test_another_model_than_gpt2_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match=r"tf\.keras takes GPT-2 alone here, .* of the kind 'llama': notebook 6a"):
        check_gpt2(str(tmp_path))
    assert check_gpt2(str(BUNDLED / "tiny_gpt2")) == str(BUNDLED / "tiny_gpt2")


def test_a_batch_of_no_block_is_refused_before_a_model_is_loaded(quick: Track) -> None:
    blocks = DatasetDict(train=Dataset.from_dict({"input_ids": [[1, 2]]}), test=Dataset.from_dict({"input_ids": []}))
    with pytest.raises(ValueError, match="batch_size must be a whole number of 1 or more, not 0"):
        train(quick, blocks, batch_size=0)
