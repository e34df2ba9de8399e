"""Small data that the tests of both kernels share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer, GPT2Config, PreTrainedTokenizerBase

from clmkit.chunking import chunk
from clmkit.eli5 import ELI5_FEATURES
from clmkit.tokenization import tokenize
from clmkit.tracks import BUNDLED, Track, choose_track

Row = dict[str, Any]
SENTENCES = (
    "The sky is blue because air scatters blue light more than red light.",
    "Bread rises because yeast eats sugar and gives off gas, which the dough holds.",
    "A magnet pulls on iron because the iron becomes a small magnet itself.",
    "Ice floats, since water grows as it freezes and so becomes lighter for its size.",
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The bundled tokenizer. A test that changes it loads its own."""
    return AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")


@pytest.fixture
def small_config(tokenizer: PreTrainedTokenizerBase) -> GPT2Config:
    """A GPT-2 of one layer, with GPT-2's usual dropout."""
    eos = tokenizer.eos_token_id
    return GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=32, n_layer=1, n_head=2, bos_token_id=eos, eos_token_id=eos
    )


@pytest.fixture
def quick(tmp_path: Path) -> Track:
    """The quick track, but twelve rows, one epoch, and an output folder that is thrown away."""
    return replace(choose_track("quick", rows=12, epochs=1), output_dir=str(tmp_path / "tuned"))


@pytest.fixture(scope="session")
def texts() -> DatasetDict:
    """Two dozen made-up documents to train on and eight to test on."""
    documents = [f"{number}. {SENTENCES[number % 4]} {SENTENCES[(number + 1) % 4]}" for number in range(32)]
    return DatasetDict(
        train=Dataset.from_dict({"text": documents[:24]}), test=Dataset.from_dict({"text": documents[24:]})
    )


@pytest.fixture(scope="session")
def blocks(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> DatasetDict:
    """The documents of ``texts`` as blocks of 32 tokens."""
    return chunk(tokenize(texts, tokenizer), 32)


def hub_row(number: int) -> Row:
    """A made-up row in the shape that the Hub serves."""
    return {
        "q_id": f"q{number}",
        "title": f"Why {number}?",
        "selftext": "",
        "category": "Physics",
        "subreddit": "explainlikeimfive",
        "answers": {
            "a_id": [f"a{number}", f"b{number}"],
            "text": [f"Because {number}.", "For another reason."],
            "score": [number, 1],
            "text_urls": [[], ["http://example.org/b"]],
        },
        "title_urls": [],
        "selftext_urls": ["http://example.org/q"],
    }


HUB_ROWS = [hub_row(number) for number in range(5)]


def hub_dataset(rows: list[Row] = HUB_ROWS) -> Dataset:
    return Dataset.from_list(rows, features=ELI5_FEATURES)
