from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, set_seed

from tests.data import SENTENCES


def make_model(folder: Path, tokenizer: PreTrainedTokenizerBase, dropout: float) -> Path:
    set_seed(0)
    eos = tokenizer.eos_token_id
    how = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=eos,
        eos_token_id=eos,
        **how,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def steady_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A model of one layer without dropout: each process would draw its own."""
    return make_model(tmp_path_factory.mktemp("models") / "steady", tokenizer, 0.0)


@pytest.fixture(scope="session")
def noisy_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The same with GPT-2's dropout."""
    return make_model(tmp_path_factory.mktemp("models") / "noisy", tokenizer, 0.1)


def write_documents(path: Path, numbers: range) -> Path:
    rows = [f'{{"text": "{n}. {SENTENCES[n % 4]} {SENTENCES[n * 7 % 4]} So much for {n * n}."}}' for n in numbers]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 60 made-up texts."""
    return write_documents(tmp_path_factory.mktemp("data") / "documents.jsonl", range(60))


def write_shards(folder: Path, files: int, texts: int) -> Path:
    for number in range(files):
        write_documents(folder / f"{number}.jsonl", range(texts * number, texts * (number + 1)))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four files of 50 texts each."""
    return write_shards(tmp_path_factory.mktemp("shards"), files=4, texts=50)


@pytest.fixture(scope="session")
def small_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two files of 12 texts each: an epoch is a few steps."""
    return write_shards(tmp_path_factory.mktemp("small_shards"), files=2, texts=12)


def words(**options: Any) -> list[str]:
    """Options as words of the command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def words_of(documents: Path, steady_model: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Makes the words of a short run: 24 steps of 4 blocks of 16 tokens."""

    def make(**options: Any) -> list[str]:
        chosen = {"data": documents, "model": steady_model, "block_size": 16, "max_steps": 24, "learning_rate": 1e-2}
        chosen |= {"per_device_train_batch_size": 4, "output_dir": tmp_path / "out", "use_cpu": True}
        chosen |= {"save_strategy": "steps", "save_steps": 6, "eval_strategy": "steps", "eval_steps": 12}
        return words(**{**chosen, "logging_steps": 1, **options})

    return make
