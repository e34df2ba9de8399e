"""The same weights and the same blocks give the same in PyTorch, tf.keras and KerasHub, there and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import DatasetDict, load_from_disk
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.chunking import prepare_blocks
from clmkit.evaluation import Score, score
from clmkit.tracks import Track, choose_track
from clmkit.training.pytorch import build_trainer
from tests.frameworks.conftest import Outcome
from tests.frameworks.job import BLOCKS_WITH_LOGITS, digest

NamedModel = tuple[str, GPT2LMHeadModel]


@pytest.fixture(scope="module")
def eleven(material: Path) -> DatasetDict:
    return load_from_disk(str(material / "blocks"))


def test_the_evaluation_losses_agree(
    pytorch_model: NamedModel, eleven: DatasetDict, tokenizer: PreTrainedTokenizerBase, keras_outcome: Outcome
) -> None:
    name, model = pytorch_model
    expected, found = score(model, eleven, tokenizer=tokenizer), Score(*keras_outcome.report["scores"][name])
    assert found.tokens == expected.tokens == 11 * 31 - 12
    assert found.summed_loss == pytest.approx(expected.summed_loss, rel=1e-4)
    assert found.bits_per_byte == pytest.approx(expected.bits_per_byte, rel=1e-4)


def test_the_logits_agree(pytorch_model: NamedModel, eleven: DatasetDict, keras_outcome: Outcome) -> None:
    name, model = pytorch_model
    with torch.no_grad():
        expected = model.eval()(torch.tensor(eleven["input_ids"][:BLOCKS_WITH_LOGITS])).logits.numpy()
    logits = np.load(keras_outcome.folder / f"{name}.npy")
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() <= 1e-3
    assert np.abs(expected).max() > 1  # or a thousandth would be no demand


def test_every_tensor_comes_back_bit_for_bit(pytorch_model: NamedModel, keras_outcome: Outcome) -> None:
    name, model = pytorch_model
    exported, info = AutoModelForCausalLM.from_pretrained(keras_outcome.folder / name, output_loading_info=True)
    assert not any(info.values()), info
    assert exported.dtype == torch.float32
    expected, tensors = model.state_dict(), exported.state_dict()
    assert tensors.keys() == expected.keys()
    assert [key for key, tensor in expected.items() if not torch.equal(tensors[key], tensor)] == []


def test_the_config_comes_back(pytorch_model: NamedModel, keras_outcome: Outcome) -> None:
    name, model = pytorch_model
    exported = AutoModelForCausalLM.from_pretrained(keras_outcome.folder / name)
    shape = ("n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "activation_function", "layer_norm_epsilon")
    assert [getattr(exported.config, key) for key in shape] == [getattr(model.config, key) for key in shape]


@pytest.mark.parametrize("keras_outcome", ["tf_keras"], indirect=True)
def test_tf_keras_stores_tied_weights_once_and_keeps_the_token_ids(
    pytorch_model: NamedModel, keras_outcome: Outcome
) -> None:
    name, model = pytorch_model
    names = {key for key, _ in model.named_parameters()}
    assert keras_outcome.tensors(name).keys() == names
    assert "lm_head.weight" not in names
    exported = AutoModelForCausalLM.from_pretrained(keras_outcome.folder / name)
    assert exported.config.architectures == ["GPT2LMHeadModel"]
    assert exported.config.eos_token_id == exported.generation_config.eos_token_id == 8191


def test_weight_decay_is_on_the_parameters_that_the_trainer_decays(
    material: Path,
    quick: Track,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    keras_outcome: Outcome,
) -> None:
    model = AutoModelForCausalLM.from_pretrained(material / "bundled")
    wanted = set(build_trainer(quick, model, blocks, tokenizer).get_decay_parameter_names(model))
    before, after = keras_outcome.tensors("bundled"), keras_outcome.tensors("decayed")
    changed = {name for name, tensor in before.items() if not np.array_equal(after[name], tensor)}
    tied = {"lm_head.weight"}  # the same parameter as the token embedding
    assert changed - tied == wanted - tied
    # By as much: the learning rate times 0.01 of itself.
    track = choose_track("quick")
    for name in changed:
        assert np.allclose(after[name], before[name] * (1 - track.learning_rate * 0.01), rtol=1e-6, atol=0)


def test_the_bundled_sample_gives_the_same_blocks(tokenizer: PreTrainedTokenizerBase, keras_outcome: Outcome) -> None:
    sample = prepare_blocks(choose_track("quick"), tokenizer)
    assert keras_outcome.report["digests"] == {part: digest(rows) for part, rows in sample.items()}


def test_nothing_reaches_stderr(keras_outcome: Outcome) -> None:
    # A fit of two steps, with jit_compile too, pipeline, and generate, compiled too, are part of each process.
    assert keras_outcome.stderr == ""
