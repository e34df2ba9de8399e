"""What the bundled model is to learn English from: plain, whole, and nothing of the sample."""

import json
import re
from collections import Counter

import pytest

from clmkit.tracks import SAMPLE
from tools.tiny_gpt2 import PROSE, read_prose

SHARED = 8  # words in a row; fewer meet by chance


@pytest.fixture(scope="module")
def prose() -> list[str]:
    return read_prose()


def runs(text: str) -> set[tuple[str, ...]]:
    """Every run of words of a text."""
    words = re.findall(r"[a-z']+", text.lower())
    return {tuple(words[place : place + SHARED]) for place in range(len(words) - SHARED + 1)}


def test_each_text_is_one_line_of_plain_english(prose: list[str]) -> None:
    assert len(prose) >= 10_000
    for text in prose:
        assert text == " ".join(text.split())
        assert text.isascii()
        assert 60 <= len(text.split()) <= 150, text
        assert text[0].isupper() or text[0] in "\"'", text
        assert text[-1] in '.!?"', text


def test_its_page_says_how_much_it_is(prose: list[str]) -> None:
    page = PROSE.with_name("README.md").read_text(encoding="utf-8")
    assert f"{len(prose):,} texts of {sum(len(text.split()) for text in prose):,} words" in page


def test_no_text_is_another_one_again(prose: list[str]) -> None:
    assert len(set(prose)) == len(prose)
    beginnings = Counter(" ".join(text.split()[:12]) for text in prose)
    assert beginnings.most_common(1)[0][1] == 1


def test_nothing_of_the_sample_is_in_it(prose: list[str]) -> None:
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    sample = {run for row in rows for text in (row["title"], *row["answers"]["text"]) for run in runs(text)}
    assert len(sample) > 50_000
    assert [text for text in prose if runs(text) & sample] == []


def test_no_text_speaks_of_models_or_assistants(prose: list[str]) -> None:
    told = re.compile(r"\b(as an ai|language model|an assistant named|chatbot|openai|huggingface)\b", re.IGNORECASE)
    assert [text for text in prose if told.search(text)] == []
