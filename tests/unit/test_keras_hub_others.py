"""Models of KerasHub that are no GPT-2: converted, trained, saved and read by Transformers again."""

import json
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import torch
from datasets import DatasetDict
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    set_seed,
)

from clmkit.hub.real_model import REAL_MODEL, real_model_folder, stands_in_for
from clmkit.training.keras_hub import export_model, prepare_dataset

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "rms_norm_eps": 1e-6}  # KerasHub 0.32 reads no other epsilon of a Llama
KINDS = [(LlamaForCausalLM, LlamaConfig), (Qwen2ForCausalLM, Qwen2Config)]


def random_model(
    kind: type[PreTrainedModel], config: type, folder: Path, tokenizer: PreTrainedTokenizerBase, **options: bool
) -> PreTrainedModel:
    """A small random model in a folder, with the bundled tokenizer."""
    set_seed(0)
    eos = tokenizer.eos_token_id
    model = kind(config(vocab_size=len(tokenizer), bos_token_id=eos, eos_token_id=eos, **SIZES, **options))
    model.save_pretrained(folder)
    # As the models of Transformers 4 have it, which are most of the Hub's; KerasHub 0.26 reads nothing else.
    written = json.loads((folder / "config.json").read_text()) | {"rope_theta": 10_000.0}
    (folder / "config.json").write_text(json.dumps(written))
    tokenizer.save_pretrained(folder)
    return model.eval()


def logits_in_keras(model: keras_hub.models.CausalLM, ids: torch.Tensor) -> np.ndarray:
    inputs = {"token_ids": ids.numpy(), "padding_mask": np.ones(ids.shape, dtype=bool)}
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def logits_in_pytorch(model: PreTrainedModel, ids: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=ids).logits.numpy()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("kind", "config"), KINDS)
def test_llama_and_qwen_train_and_come_back(
    kind: type[PreTrainedModel],
    config: type,
    tied: bool,
    tokenizer: PreTrainedTokenizerBase,
    blocks: DatasetDict,
    tmp_path: Path,
) -> None:
    original = random_model(kind, config, tmp_path / "base", tokenizer, tie_word_embeddings=tied)
    model = keras_hub.models.CausalLM.from_preset(str(tmp_path / "base"), preprocessor=None)
    ids = torch.tensor(blocks["test"][:2]["input_ids"])
    np.testing.assert_allclose(logits_in_keras(model, ids), logits_in_pytorch(original, ids), atol=1e-5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(1e-3), loss=loss)
    model.fit(prepare_dataset(blocks["test"].select(range(8)), batch_size=4, shuffle=False), shuffle=False, verbose=0)
    try:
        export_model(model, tmp_path / "tuned", tokenizer)
    except ValueError as error:
        if "not implemented for Llama3Backbone" not in str(error):
            raise
        pytest.skip(str(error))
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned", dtype="float32").eval()
    np.testing.assert_allclose(logits_in_pytorch(tuned, ids), logits_in_keras(model, ids), atol=1e-5)
    assert not np.allclose(logits_in_pytorch(tuned, ids), logits_in_pytorch(original, ids), atol=1e-3)


def test_what_kerashub_can_not_save_is_one_sentence_and_leaves_the_folder(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    random_model(Qwen3ForCausalLM, Qwen3Config, tmp_path / "base", tokenizer, tie_word_embeddings=True)
    model = keras_hub.models.CausalLM.from_preset(str(tmp_path / "base"), preprocessor=None)
    with pytest.raises(ValueError, match=r"can't save a Qwen3CausalLM for Transformers .*notebook 6a trains it"):
        export_model(model, tmp_path / "tuned", tokenizer)
    assert not [path for path in (tmp_path / "tuned").rglob("*") if path.is_file()]


@pytest.mark.long
def test_a_real_llama_comes_back_as_it_was(tmp_path: Path) -> None:
    if stands_in_for(REAL_MODEL) is None:
        pytest.skip("no real model: make real-model")
    folder = str(real_model_folder())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = keras_hub.models.CausalLM.from_preset(folder, dtype="float32")
    original = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    ids = torch.tensor([tokenizer("The sky is blue because of the way that light")["input_ids"]])
    # KerasHub adds 1e-6 to a variance where this model's configuration says 1e-5.
    np.testing.assert_allclose(logits_in_keras(model, ids), logits_in_pytorch(original, ids), atol=0.05)
    saved = export_model(model, tmp_path, tokenizer)
    again = AutoModelForCausalLM.from_pretrained(saved, dtype="float32")
    np.testing.assert_allclose(logits_in_pytorch(again, ids), logits_in_keras(model, ids), atol=1e-3)
