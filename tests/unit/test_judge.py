"""The judge of the bundled model's English: which words it knows, what it counts, and what it asks for."""

import math
from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

from tools.judge import PIECE, PROMPTS, judge_perplexity, read_words, sample_pieces, unknown_words, write_texts


def test_a_word_is_known_in_any_case_and_by_what_stands_before_its_apostrophe(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("The\nsky\nit's\ndog\n", encoding="utf-8")
    known = read_words(tmp_path / "words")
    assert unknown_words(["THE sky, it's the dog's. 42!"], known) == 0
    assert unknown_words(["the heould", "sky sky"], known) == 1 / 4
    with pytest.raises(FileNotFoundError, match=r"no word list .*missing: apt-get install wamerican"):
        read_words(tmp_path / "missing")


def test_the_continuation_alone_counts(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    whole, part = "The sky is blue because air scatters light.", " because air scatters light."
    counted = judge_perplexity(model, tokenizer, [(whole.removesuffix(part), part)])
    ids = torch.tensor([tokenizer(whole)["input_ids"]])
    begin = len(tokenizer(whole.removesuffix(part))["input_ids"])
    losses = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")[begin - 1 :]
    assert counted == pytest.approx(math.exp(losses.mean().item()), rel=1e-4)


def test_the_texts_are_four_of_each_prompt_and_the_pieces_as_many(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    texts, pieces = write_texts(model, tokenizer), sample_pieces()
    assert [prompt for prompt, _ in texts] == list(PROMPTS) * 4
    assert len(texts) == len(pieces) == 32
    assert all(len(piece.split()) == PIECE for _, piece in pieces)
    assert texts == write_texts(model, tokenizer)
