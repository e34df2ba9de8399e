"""The course's steps on 5,000 real questions with the real GPT-2 vocabulary, against the guide's own functions."""

import json
import os
import shutil
from itertools import chain
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from clmkit.chunking import chunk
from clmkit.eli5 import ELI5_FEATURES, to_hub_schema
from clmkit.files import load_local
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import count_tokens, tokenize
from tests.guide import group_texts, preprocess_function

BLOCK = 128
MISSING = [name for name in ("CLMKIT_ELI5_JSON", "CLMKIT_GPT2_VOCAB") if not os.environ.get(name)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"real data: {' and '.join(MISSING)} not set")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("gpt2")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(Path(os.environ["CLMKIT_GPT2_VOCAB"]) / name, folder)
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
    config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def split() -> DatasetDict:
    return split_rows(to_hub_schema(load_local(os.environ["CLMKIT_ELI5_JSON"], 5000)))


@pytest.fixture(scope="module")
def tokens(split: DatasetDict, gpt2: PreTrainedTokenizerBase) -> DatasetDict:
    return tokenize(join_answers(split), gpt2)


@pytest.fixture(scope="module")
def guides_tokens(split: DatasetDict, gpt2: PreTrainedTokenizerBase) -> DatasetDict:
    flat = split.flatten()
    return flat.map(preprocess_function(gpt2), batched=True, remove_columns=flat["train"].column_names)


def flat(rows: Dataset) -> list[int]:
    return list(chain.from_iterable(rows["input_ids"]))


def test_the_vocabulary_is_gpt2s(gpt2: PreTrainedTokenizerBase) -> None:
    assert len(gpt2) == 50_257
    assert gpt2.eos_token_id == 50_256


def test_5000_rows_load_with_the_hubs_types_and_split_as_the_guide_splits(split: DatasetDict) -> None:
    assert {side: len(rows) for side, rows in split.items()} == {"train": 4000, "test": 1000}
    assert split["train"].features == ELI5_FEATURES


@pytest.mark.parametrize("side", ["train", "test"])
def test_tokens_equal_the_guides(tokens: DatasetDict, guides_tokens: DatasetDict, side: str) -> None:
    assert tokens[side]["input_ids"][:] == guides_tokens[side]["input_ids"][:]


@pytest.mark.parametrize("side", ["train", "test"])
def test_blocks_equal_the_guides_on_one_batch_of_everything(tokens: DatasetDict, side: str) -> None:
    guides = group_texts({"input_ids": tokens[side]["input_ids"][:]}, BLOCK)
    blocks = chunk(tokens[side], BLOCK)
    assert blocks["input_ids"][:] == guides["input_ids"]
    assert blocks["input_ids"][:] == guides["labels"]


@pytest.mark.parametrize("side", ["train", "test"])
def test_fewer_tokens_than_a_block_are_lost(tokens: DatasetDict, side: str) -> None:
    whole, kept = flat(tokens[side]), flat(chunk(tokens[side], BLOCK))
    assert kept == whole[: len(kept)]
    assert len(whole) - len(kept) == len(whole) % BLOCK < BLOCK


def test_the_guides_batches_lose_what_theory_says_and_nothing_of_the_rest_is_missing_in_ours(
    tokens: DatasetDict, guides_tokens: DatasetDict
) -> None:
    guides_blocks = guides_tokens["train"].map(group_texts, batched=True)  # batches of 1,000 rows, blocks of 128
    guides, ours = flat(guides_blocks), flat(chunk(tokens["train"], BLOCK))
    lengths = [len(ids) for ids in tokens["train"]["input_ids"]]
    batches = [sum(lengths[start : start + 1000]) for start in range(0, 4000, 1000)]
    dropped = count_tokens(tokens["train"]) - len(guides)
    assert dropped == sum(batch % BLOCK for batch in batches)
    start = place = 0
    for number, batch in enumerate(batches):
        kept = guides[place : place + batch - batch % BLOCK]
        # Our one tail, at the very end, may reach a little into what the guide keeps of its last batch.
        tail = max(start + len(kept) - len(ours), 0)
        assert tail < BLOCK if number == len(batches) - 1 else tail == 0
        assert ours[start : start + len(kept)] == kept[: len(kept) - tail]
        start, place = start + batch, place + len(kept)
    assert len(ours) >= len(guides)
