from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    PreTrainedTokenizerBase,
)

from clmkit.chunking import prepare_blocks
from clmkit.evaluation import score
from clmkit.tracks import BUNDLED, choose_track
from clmkit.training.pytorch import build_trainer

FOLDER = BUNDLED / "tiny_gpt2"


def test_the_model_is_at_most_15_megabytes_in_all() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 15 * 1000**2, sizes


def test_the_model_is_a_gpt2_of_context_512_or_more() -> None:
    config = AutoConfig.from_pretrained(FOLDER)
    assert config.architectures == ["GPT2LMHeadModel"]
    assert config.max_position_embeddings >= 512


def test_the_tokenizer_has_8192_entries_as_many_as_the_model(tokenizer: PreTrainedTokenizerBase) -> None:
    config = AutoConfig.from_pretrained(FOLDER)
    assert len(tokenizer) == tokenizer.vocab_size == config.vocab_size == 8192
    assert sorted(tokenizer.get_vocab().values()) == list(range(8192))


def test_the_tokenizer_is_one_that_both_kernels_read() -> None:
    # PreTrainedTokenizerFast of transformers 5 is saved as a class that no transformers 4 knows.
    names = {path.name for path in FOLDER.iterdir()}
    assert {"vocab.json", "merges.txt"} <= names or "tokenizer.json" in names
    assert isinstance(AutoTokenizer.from_pretrained(FOLDER), GPT2Tokenizer)
    assert '"tokenizer_class": "GPT2Tokenizer"' in (FOLDER / "tokenizer_config.json").read_text(encoding="utf-8")


def test_eos_is_the_last_entry_for_tokenizer_and_model(tokenizer: PreTrainedTokenizerBase) -> None:
    config = AutoConfig.from_pretrained(FOLDER)
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.eos_token_id == config.eos_token_id == 8191
    assert tokenizer("<|endoftext|>")["input_ids"] == [8191]


@pytest.mark.parametrize(
    "text",
    [
        "Why is the sky blue?",
        "السماء زرقاء لأن الهواء يشتت الضوء الأزرق أكثر من غيره.",
        "🧑‍🔬🌈👍🏽 e\u0301 ﷺ 漢字",
        "for i in range(10):\n\tprint(f'{i:>3}')  # code\r\n",
        "  spaces   and\n\n\nlines  ",
        "\x00\x1f\x7f\u200b\ufffd",
    ],
    ids=["English", "Arabic", "emoji", "code", "spaces", "control"],
)
def test_any_text_survives_encoding_and_decoding(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert tokenizer.eos_token_id not in ids  # nor unk_token, which is the same


def test_every_byte_survives(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "".join(map(chr, range(0x800)))
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_model_loads_in_float32_with_no_weight_missing() -> None:
    model, info = AutoModelForCausalLM.from_pretrained(FOLDER, output_loading_info=True)
    assert isinstance(model, GPT2LMHeadModel)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info


def test_the_model_knows_some_english_before_it_is_tuned(tokenizer: PreTrainedTokenizerBase) -> None:
    model = AutoModelForCausalLM.from_pretrained(FOLDER)
    blocks = prepare_blocks(replace(choose_track("quick"), rows=40), tokenizer)
    # A model that knows nothing takes all 8,192 entries for equally likely.
    assert score(model, blocks["test"]).perplexity < 8192 / 16


# Trains the quick track whole, as notebook 06a does, whose own cell asserts that perplexity falls.
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_tuning_lowers_the_held_out_perplexity_to_0_7_of_what_it_was_and_1_67_bits_for_a_byte(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    track = replace(choose_track("quick"), output_dir=str(tmp_path))
    model = AutoModelForCausalLM.from_pretrained(track.model)
    blocks = prepare_blocks(track, tokenizer)
    before = score(model, blocks["test"]).perplexity
    build_trainer(track, model, blocks, tokenizer, save_strategy="no").train()
    after = score(model, blocks["test"], tokenizer=tokenizer)
    assert after.perplexity <= 0.7 * before, f"{before:.1f} before, {after.perplexity:.1f} after"
    assert after.bits_per_byte <= 1.67
