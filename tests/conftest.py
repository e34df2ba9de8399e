"""Keep every test off the network and out of the person's own caches; small models and data that tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

# datasets and huggingface_hub read these when they are imported, so they are set before any import of them.
CACHE = Path(tempfile.mkdtemp(prefix="clmkit-tests-"))
os.environ |= {
    "HF_HOME": str(CACHE),
    "HF_ENDPOINT": "http://127.0.0.1:9",  # the discard port: nothing can leave this machine
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
CACHE_VARIABLES = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_EVALUATE_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE")
CACHE_VARIABLES += ("HF_DATASETS_OFFLINE", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN", "CLMKIT_TRACK")
for variable in CACHE_VARIABLES:
    os.environ.pop(variable, None)

import pytest  # noqa: E402
import torch  # noqa: E402
from datasets import Dataset, DatasetDict  # noqa: E402
from hypothesis import settings  # noqa: E402
from transformers import (  # noqa: E402
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from clmkit.chunking import chunk  # noqa: E402
from clmkit.tokenization import tokenize  # noqa: E402
from clmkit.tracks import BUNDLED, Track, choose_track  # noqa: E402

# Where other work keeps the cores busy, two threads wait for each other, and a step takes ten times as long as by one.
torch.set_num_threads(1)

# No deadline: the first example of a property pays for imports, and the machine may be busy.
settings.register_profile("clmkit", deadline=None, max_examples=60)
settings.load_profile("clmkit")

SENTENCES = (
    "The sky is blue because air scatters blue light more than red light.",
    "Bread rises because yeast eats sugar and gives off gas, which the dough holds.",
    "A magnet pulls on iron because the iron becomes a small magnet itself.",
    "Ice floats, since water grows as it freezes and so becomes lighter for its size.",
)


@pytest.fixture(scope="session", autouse=True)
def _temporary_cache() -> Iterator[None]:
    yield
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLMKIT_TRACK", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The bundled tokenizer. A test that changes it loads its own."""
    return AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerBase) -> GPT2LMHeadModel:
    """A random GPT-2 of one layer, the same each time, with GPT-2's usual dropout."""
    set_seed(0)
    eos = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=32, n_layer=1, n_head=2, bos_token_id=eos, eos_token_id=eos
    )
    return GPT2LMHeadModel(config).eval()


@pytest.fixture
def broken_model(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """A model whose every loss is NaN."""
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(torch.nan)
    return model


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
