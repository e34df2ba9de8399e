"""Judge the English of a small model by what others made: a word list, and a model that writes English.

    python -m tools.tiny_gpt2 judge FOLDER [--words WORD_LIST]

Beside the model's texts it judges as many pieces of the bundled sample: what is to be reached. The word list is
Debian's ``wamerican``; the judge is the model of ``make real-model``.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from clmkit.chunking import prepare_blocks
from clmkit.eli5 import load_eli5
from clmkit.evaluation import score
from clmkit.generation import generate_texts
from clmkit.hub.download import download_model
from clmkit.hub.real_model import REAL_MODEL
from clmkit.texts import split_rows
from clmkit.tracks import QUICK

PROMPTS: tuple[str, ...] = (
    "The sky is blue because",
    "A cow can live on grass because",
    "Your brain",
    "Money is worth less when",
)
PROMPTS += ("The moon", "When you boil water,", "A computer", "The reason is that")
TEXTS_OF_EACH = 4
PIECE = 45  # words
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


class Verdict(NamedTuple):
    """What is found of some texts: the share of their words that no list has, and the judge's perplexity on them."""

    unknown_words: float
    perplexity: float


def read_words(path: Path) -> set[str]:
    """The words of a list, one a line, in lower case.

    Raises:
        FileNotFoundError: If it is not there; the message says where it is to be had.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no word list {path}: apt-get install wamerican, or name another by --words")
    return {line.strip().lower() for line in path.read_text(encoding="utf-8").splitlines()}


def unknown_words(texts: Sequence[str], known: set[str]) -> float:
    """The share of words that are in no list, and of which what stands before an apostrophe is in none either."""
    words = [word for text in texts for word in WORD.findall(text.lower())]
    return sum(not {word, word.partition("'")[0]} & known for word in words) / len(words)


def judge_perplexity(
    judge: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> float:
    """The judge's perplexity on continuations alone, given their prompts; an empty prompt counts all but one token."""
    rows = []
    for prompt, continuation in pairs:
        encoded = tokenizer(prompt + continuation, return_offsets_mapping=True)
        starts = [start for start, _ in encoded["offset_mapping"]]
        labels = [
            token if start >= len(prompt) else -100 for token, start in zip(encoded["input_ids"], starts, strict=True)
        ]
        rows.append({"input_ids": encoded["input_ids"], "labels": labels})
    return score(judge, Dataset.from_list(rows), batch_size=1).perplexity


def write_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str]]:
    """32 texts of the model, as pairs of prompt and continuation, the same each time on the same machine."""
    prompts = list(PROMPTS) * TEXTS_OF_EACH
    texts = generate_texts(model, tokenizer, prompts, temperature=0.8, top_k=50, top_p=0.95, seed=0, max_new_tokens=60)
    return [(prompt, text.removeprefix(prompt)) for prompt, text in zip(prompts, texts, strict=True)]


def sample_pieces() -> list[tuple[str, str]]:
    """As many pieces of the sample's held-out answers, each the first words of one."""
    answers = [text for row in split_rows(load_eli5(QUICK))["test"] for text in row["answers"]["text"]]
    pieces = [" ".join(answer.split()[:PIECE]) for answer in answers if len(answer.split()) >= PIECE]
    return [("", piece) for piece in pieces[: len(PROMPTS) * TEXTS_OF_EACH]]


def judge_model(folder: Path, word_list: Path) -> None:
    """Print what is found of a model's texts and of the sample's, and the model's bits per byte on the sample."""
    words = read_words(word_list)
    real = download_model(REAL_MODEL)
    judge, judge_reads = (
        AutoModelForCausalLM.from_pretrained(real, dtype="float32"),
        AutoTokenizer.from_pretrained(real),
    )
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for name, pairs in {"its texts": write_texts(model, tokenizer), "the sample's": sample_pieces()}.items():
        found = Verdict(
            unknown_words([continuation for _, continuation in pairs], words),
            judge_perplexity(judge, judge_reads, pairs),
        )
        print(f"{name:13} {found.unknown_words:5.1%} unknown words, judge's perplexity {found.perplexity:5.0f}")
    result = score(model, prepare_blocks(QUICK, tokenizer)["test"], tokenizer=tokenizer)
    print(f"{result.bits_per_byte:.2f} bits per byte on the sample's held-out rows")
