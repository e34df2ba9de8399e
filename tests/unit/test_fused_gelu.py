"""GPT-2's GELU in one operation: the numbers stay, and so does what is saved."""

import copy
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.activations import NewGELUActivation

from clmkit.tracks import TINY_MODEL
from clmkit.training.base_models import fuse_gelu


def test_logits_and_gradients_stay_to_the_last_digits() -> None:
    composed = AutoModelForCausalLM.from_pretrained(TINY_MODEL, dtype="float32").train()
    fused = copy.deepcopy(composed)
    assert fuse_gelu(fused) == composed.config.n_layer
    ids = torch.arange(4 * 64).reshape(4, 64)
    one, other = (model(input_ids=ids, labels=ids) for model in (composed, fused))
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-5, atol=1e-4)
    one.loss.backward()
    other.loss.backward()
    for mine, theirs in zip(fused.parameters(), composed.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_what_is_saved_stays_and_loads_as_ever(model: GPT2LMHeadModel, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fuse_gelu(model)
    assert fuse_gelu(model) == 0, "a second call finds nothing left to fuse"
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).activation_function == "gelu_new"
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(loaded.transformer.h[0].mlp.act, NewGELUActivation)
    assert all(torch.equal(before[name], tensor) for name, tensor in loaded.state_dict().items())


def test_a_model_with_another_activation_is_left_as_it_is() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes))
    before = [type(module) for module in llama.modules()]
    assert fuse_gelu(llama) == 0
    assert [type(module) for module in llama.modules()] == before
