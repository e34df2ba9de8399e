"""The loss without the logits of a batch: the same as the model's own, and with less memory."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    set_seed,
)

from clmkit import plain_head as module
from clmkit.evaluation import batch_loss, evaluation_mode, score
from clmkit.plain_head import before_head, plain_head
from clmkit.training.lora import add_adapter

VOCABULARY = 8192  # the bundled tokenizer's
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
OLDER = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "rotary_dim": 16}
PLAIN: dict[str, Mapping[str, Any]] = {
    "gpt2": {**OLDER, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    "llama": {**SMALL, "tie_word_embeddings": True},
    "mistral": {**SMALL, "tie_word_embeddings": False},
    "phi": SMALL,  # its head has a bias
    "gptj": {**OLDER, "bos_token_id": 0, "eos_token_id": 0},  # the same
}
NOT_PLAIN: dict[str, Mapping[str, Any]] = {
    "gemma2": {**SMALL, "head_dim": 16, "final_logit_softcapping": 30.0},
    "cohere": {**SMALL, "logit_scale": 0.0625},
    "granite": {**SMALL, "logits_scaling": 8.0},
}


def make(kind: str, settings: Mapping[str, Any]) -> PreTrainedModel:
    """A random model of one layer, whose head is far from 0."""
    set_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        torch.nn.init.normal_(head.bias)
    return model.eval()


def rows(count: int = 3, length: int = 20, masked: int = 4) -> dict[str, list[list[int]]]:
    """Blocks with some labels that don't count."""
    ids = torch.randint(VOCABULARY, (count, length), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[0, :masked] = labels[-1, 7] = -100
    return {"input_ids": ids.tolist(), "labels": labels.tolist()}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts so small that a batch has several, and the last is short."""
    monkeypatch.setattr(module, "ROWS", 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", PLAIN)
def test_the_loss_of_a_plain_head_is_that_of_the_models_logits(kind: str, dtype: torch.dtype) -> None:
    model = make(kind, PLAIN[kind]).to(dtype)
    with evaluation_mode(model):
        head = plain_head(model)
        assert head is model.get_output_embeddings()
        (loss, tokens), (expected, counted) = batch_loss(model, rows(), head), batch_loss(model, rows())
    assert tokens == counted == 3 * 19 - 3 - 1
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_logits_that_are_capped_or_scaled_are_the_models_own(kind: str) -> None:
    model = make(kind, NOT_PLAIN[kind])
    batch = rows(masked=0)
    with evaluation_mode(model):
        assert plain_head(model) is None
        logits = model(input_ids=torch.tensor(batch["input_ids"])).logits
    expected = cross_entropy(logits[:, :-1].flatten(0, 1), torch.tensor(batch["labels"])[:, 1:].flatten())
    assert score(model, Dataset.from_dict(batch)).mean_loss == pytest.approx(expected.item(), rel=1e-5)


def test_a_head_that_is_more_than_a_linear_layer_is_not_plain() -> None:
    model = make("llama", PLAIN["llama"])
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"])
    with evaluation_mode(model):
        assert plain_head(add_adapter(model, config)) is None
    sharded = make("mistral", PLAIN["mistral"])
    head = sharded.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    head.weight = torch.nn.Parameter(head.weight[: VOCABULARY // 2])
    assert plain_head(sharded) is None


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_compiled_model_is_left_alone(wrapped: bool) -> None:
    model: Any = make("gpt2", PLAIN["gpt2"])
    blocks = Dataset.from_dict(rows())
    expected = score(model, blocks)
    if wrapped:  # the names are private, and what plain_head asks for
        model = torch.compile(model, backend="eager")
        assert "_orig_mod" in dict(model.named_modules())
    else:
        assert model._compiled_call_impl is None
        model.compile(backend="eager")
        assert model._compiled_call_impl is not None
    with evaluation_mode(model):
        assert plain_head(model) is None
    assert score(model, blocks).summed_loss == pytest.approx(expected.summed_loss, rel=1e-5)


def test_what_is_not_finite_is_not_plain(broken_model: GPT2LMHeadModel) -> None:
    with torch.no_grad():
        broken_model.lm_head.weight.fill_(torch.nan)
    with evaluation_mode(broken_model):
        assert plain_head(broken_model) is None


def test_the_head_is_as_it_was_after_an_error() -> None:
    model = make("gpt2", PLAIN["gpt2"])
    head, ids = model.get_output_embeddings(), torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        with pytest.raises(IndexError), before_head(head):
            model(input_ids=torch.tensor([[VOCABULARY]]))
        with before_head(head) as hidden:
            last = model(input_ids=ids).logits
        assert torch.equal(model(input_ids=ids).logits, expected)
        assert torch.allclose(head(hidden.pop()), expected, atol=1e-5)
    assert torch.allclose(last, expected[:, -1:], atol=1e-5)
    assert not hidden


def test_looking_for_the_head_draws_no_number_and_leaves_no_gradient() -> None:
    model = make("gpt2", {**OLDER, "resid_pdrop": 0.5}).train()
    state = torch.get_rng_state()
    with evaluation_mode(model):
        plain_head(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def tensors_made(action: Callable[[], Any], folder: Path) -> int:
    """The most bytes of tensors that an action had allocated at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        action()
    run.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    return max(event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]")


@pytest.fixture
def wide() -> GPT2LMHeadModel:
    """A model whose logits are by far the largest thing in a batch."""
    set_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=20_000, n_positions=64, n_embd=8, n_layer=1, n_head=2))


def test_scoring_never_holds_the_logits_of_a_batch(wide: GPT2LMHeadModel, tmp_path: Path) -> None:
    blocks = Dataset.from_dict({"input_ids": [[1, 2, 3, 4] * 16] * 8})
    logits = 4 * 8 * 64 * 20_000
    assert tensors_made(lambda: score(wide, blocks), tmp_path) < logits / 4
    batch = blocks[:]
    with evaluation_mode(wide):
        assert tensors_made(lambda: batch_loss(wide, batch), tmp_path) > 2 * logits
