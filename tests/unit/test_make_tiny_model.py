"""The command that makes the bundled model, at a size that takes seconds."""

import argparse
from itertools import chain
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from clmkit.chunking import chunk
from clmkit.evaluation import score
from clmkit.tokenization import count_tokens, tokenize
from tools import tiny_gpt2


def test_muon_steps_in_float32_as_in_bfloat16_by_the_private_function_that_is_replaced() -> None:
    gradient = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    moved = []
    for context in (tiny_gpt2.float32_muon(), None):
        weight = torch.nn.Parameter(torch.zeros(24, 40))
        weight.grad = gradient.clone()
        optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0)
        if context is None:
            optimizer.step()
        else:
            with context as replaced:
                assert replaced is tiny_gpt2.orthogonalize
                optimizer.step()
        moved.append(weight.detach())
    exact, rounded = moved
    assert not torch.equal(exact, rounded)  # torch really called ours
    torch.testing.assert_close(exact, rounded, atol=0.02 * float(exact.abs().max()), rtol=0.05)


def test_blocks_begin_anywhere_and_keep_the_order_of_tokens() -> None:
    torch.manual_seed(0)
    blocks = tiny_gpt2.draw(torch.arange(1000), 128, 512)
    assert blocks.shape == (4, 128)
    assert torch.equal(blocks - blocks[:, :1], torch.arange(128).expand(4, -1))
    assert len(set(blocks[:, 0].tolist())) == 4


def test_a_small_model_is_made_and_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tiny_gpt2.read_prose()[:300]
    monkeypatch.setattr(tiny_gpt2, "read_prose", lambda: list(texts))
    tiny_gpt2.make(
        argparse.Namespace(
            output=tmp_path / "made", vocab_size=400, width=32, layers=2, heads=2, steps=150, tokens=1024,
            muon_lr=0.02, adam_lr=6e-3, muon_decay=0.1, adam_decay=0.1,
        )
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert model.config.n_positions == 512
    assert model.config.vocab_size == len(tokenizer) == 400
    assert tokenizer.eos_token_id == model.config.eos_token_id == 399
    documents = tokenize(Dataset.from_dict({"text": texts[:50]}), tokenizer)
    share = torch.bincount(torch.tensor(list(chain.from_iterable(documents["input_ids"])))) / count_tokens(documents)
    knowing_only_how_often_each_token_occurs = torch.special.entr(share).sum().exp().item()
    assert score(model, chunk(documents, 128)).perplexity < 0.7 * knowing_only_how_often_each_token_occurs
    assert "step 150: loss" in capsys.readouterr().out
