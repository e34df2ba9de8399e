"""An adapter gives way to another: cells are run again, with another rank."""

from pathlib import Path

import torch
from peft import LoraConfig
from transformers import GPT2LMHeadModel

from clmkit.training.lora import add_adapter, load_adapter

IDS = torch.arange(8)[None]


def config(rank: int) -> LoraConfig:
    how = {"target_modules": ["c_attn", "c_fc"], "task_type": "CAUSAL_LM", "fan_in_fan_out": True}
    return LoraConfig(r=rank, init_lora_weights=False, **how)  # so that it changes what the model says


@torch.no_grad()
def test_a_second_adapter_takes_the_place_of_the_first(model: GPT2LMHeadModel) -> None:
    plain = model.eval()(IDS).logits
    sizes = {}
    for rank in (2, 4, 2):
        model = add_adapter(model, config(rank)).eval()
        sizes.setdefault(rank, model.get_nb_trainable_parameters())
        assert model.get_nb_trainable_parameters() == sizes[rank]
        assert not torch.allclose(model(IDS).logits, plain)
    assert sizes[4][0] == 2 * sizes[2][0]
    with model.disable_adapter():
        assert torch.equal(model(IDS).logits, plain)


@torch.no_grad()
def test_a_loaded_adapter_takes_the_place_of_another(model: GPT2LMHeadModel, tmp_path: Path) -> None:
    first = add_adapter(model, config(2)).eval()
    said = first(IDS).logits
    first.save_pretrained(tmp_path)
    second = load_adapter(add_adapter(first, config(4)), tmp_path).eval()
    assert torch.allclose(second(IDS).logits, said, atol=1e-6)
