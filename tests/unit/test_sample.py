"""Both samples, the English one and the small Arabic one: whole, as large as their card says, and of real prose."""

import re
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from datasets import Dataset

from clmkit.eli5 import ELI5_FEATURES, to_hub_schema
from clmkit.files import load_local
from clmkit.texts import join_answers, split_rows
from clmkit.tracks import ARABIC_SAMPLE, BUNDLED, SAMPLE

# Those of ELI5-Category.
CATEGORIES = {
    "Biology",
    "Chemistry",
    "Culture",
    "Earth Science",
    "Economics",
    "Engineering",
    "Mathematics",
    "Other",
    "Physics",
    "Psychology",
    "Technology",
}


class Size(NamedTuple):
    """What a sample has at least, and how long its answers are."""

    path: Path
    questions: int
    answers: int
    words: int
    shortest: int
    longest: int


@pytest.fixture(
    scope="module",
    params=[Size(SAMPLE, 300, 800, 45_000, 30, 200), Size(ARABIC_SAMPLE, 40, 100, 7_000, 60, 140)],
    ids=["english", "arabic"],
)
def size(request: pytest.FixtureRequest) -> Size:
    found: Size = request.param
    return found


@pytest.fixture(scope="module")
def sample(size: Size) -> Dataset:
    return to_hub_schema(load_local(size.path))


@pytest.fixture(scope="module")
def answers(sample: Dataset) -> list[str]:
    return list(chain.from_iterable(row["text"] for row in sample["answers"]))


def test_the_sample_has_the_hubs_columns_and_types(sample: Dataset) -> None:
    assert sample.features == ELI5_FEATURES
    assert sample.column_names == list(ELI5_FEATURES)


def test_the_sample_has_as_many_questions_answers_and_words(sample: Dataset, answers: list[str], size: Size) -> None:
    assert len(sample) >= size.questions
    assert len(answers) >= size.answers
    assert sum(len(answer.split()) for answer in answers) >= size.words


def test_the_card_states_these_figures(sample: Dataset, answers: list[str]) -> None:
    words = sum(len(answer.split()) for answer in answers)
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    assert f"{len(sample):,} questions with {len(answers):,} answers ({words:,} words)" in card


def test_every_answer_is_neither_short_nor_long(answers: list[str], size: Size) -> None:
    lengths = [len(answer.split()) for answer in answers]
    assert min(lengths) >= size.shortest
    assert max(lengths) <= size.longest


def test_the_sample_has_all_eleven_categories(sample: Dataset) -> None:
    assert set(sample["category"]) == CATEGORIES


def test_hardly_any_eight_words_in_a_row_come_twice(answers: list[str]) -> None:
    # Text of templates would give a perplexity of next to nothing, and teach nothing about language.
    counts: Counter[tuple[str, ...]] = Counter()
    for answer in answers:
        words = re.findall(r"[\w']+", answer.lower())
        counts.update(zip(*(words[shift:] for shift in range(8)), strict=False))
    repeated = sum(count for count in counts.values() if count > 1)
    assert repeated < 0.01 * counts.total()


def test_no_sentence_comes_twice(answers: list[str]) -> None:
    sentences = Counter(
        sentence.strip().lower() for answer in answers for sentence in re.split(r"(?<=[.!?؟])\s+", answer)
    )
    assert [sentence for sentence, count in sentences.items() if count > 1] == []


def test_no_title_or_answer_comes_twice(sample: Dataset, answers: list[str]) -> None:
    assert len(set(sample["title"])) == len(sample)
    assert len(set(answers)) == len(answers)


def test_ids_are_unique(sample: Dataset) -> None:
    questions = sample["q_id"][:]
    ids = list(chain.from_iterable(row["a_id"] for row in sample["answers"]))
    assert len(set(questions)) == len(questions)
    assert len(set(ids)) == len(ids)


def test_every_row_is_whole_and_its_scores_descend(sample: Dataset) -> None:
    for row in sample:
        fields = row["answers"]
        assert len(fields["text"]) >= 1
        assert len({len(values) for values in fields.values()}) == 1
        assert fields["score"] == sorted(fields["score"], reverse=True)
        assert row["title"].strip()
        assert row["subreddit"] == "explainlikeimfive"


def test_the_sample_goes_through_split_and_join(sample: Dataset, answers: list[str]) -> None:
    texts = join_answers(split_rows(sample))
    words = sum(len(text.split()) for side in texts.values() for text in side["text"])
    assert words == sum(len(answer.split()) for answer in answers)


def test_the_arabic_sample_is_arabic_alone_with_its_own_punctuation() -> None:
    rows = load_local(ARABIC_SAMPLE)
    for text in (*rows["title"], *chain.from_iterable(row["text"] for row in rows["answers"])):
        assert not re.search(r"[A-Za-z,;?\u0640\u0660-\u0669\u200e\u200f]|\s\s", text), text
        assert re.search(r"[.؟]$", text), text
