"""The look inside a model: its own numbers, and nothing of it changed."""

import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.widgets import inside

PROMPT = "Because the sky"


def test_the_text_of_the_picture_names_what_the_model_computes(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(inside, "show", lambda figure, alt: told.append(alt))
    usual = model.config._attn_implementation
    model.train()
    inside.plot_inside(model, tokenizer, PROMPT)
    assert model.training
    assert model.config._attn_implementation == usual
    model.eval()
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    with torch.no_grad():
        best = model(ids).logits[0, -1].topk(8).indices
    names = ", ".join(repr(tokenizer.decode([token])) for token in best.tolist())
    assert f"The highest of {len(tokenizer):,} scores: {names}." in told[0]
    assert f"each of its {ids.shape[1]} tokens, {model.config.n_embd} numbers" in told[0]


def test_no_token_looks_to_its_right(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    output = inside._run(model, tokenizer(PROMPT, return_tensors="pt"))
    weights = output.attentions[0][0].mean(dim=0)
    assert torch.equal(weights, weights.tril())
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
