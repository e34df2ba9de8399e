"""The course's own Arabic prose: whole sentences, Arabic alone, and good to learn pieces of words from."""

import re

import pytest
from transformers import PreTrainedTokenizerBase

from clmkit.eli5 import load_eli5
from clmkit.texts import join_answers
from clmkit.tracks import BUNDLED, choose_track
from tools.arabic_prose import SHORTEST, TARGET, whole_sentences


@pytest.fixture(scope="module")
def prose() -> list[str]:
    return TARGET.read_text(encoding="utf-8").splitlines()


def test_each_line_is_arabic_alone(prose: list[str]) -> None:
    assert TARGET.parent == BUNDLED
    assert len(set(prose)) == len(prose)
    for line in prose:
        assert line == " ".join(line.split())
        assert len(line.split()) >= SHORTEST
        assert line.endswith((".", "؟", "!")), line
        assert re.search("[\u0620-\u064a]", line)
        assert not re.search(r"[A-Za-z`$|{}<>*#\[\]]", line), line


def test_its_card_says_how_much_it_is(prose: list[str]) -> None:
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    assert f"{len(prose):,} paragraphs of {sum(len(line.split()) for line in prose):,} words" in card
    assert TARGET.stat().st_size < 400_000


def test_of_a_cell_what_is_arabic_alone_is_kept() -> None:
    cell = (
        "## عنوان في أول الخلية\n\nهذا المجزّئ (tokenizer) **يقطّع** النص [كما نعلم](05.ipynb). وهذه `x = 1` شيفرة."
        " قصيرة جدًا.\n\n- جملة أولى في قائمة هنا.\n- ننتقل بعد التمارين إلى 5.\n\n```python\nprint(1)\n```"
    )
    assert list(whole_sentences(cell)) == ["هذا المجزّئ يقطّع النص كما نعلم.", "جملة أولى في قائمة هنا."]


def test_a_vocabulary_of_it_spells_an_arabic_word_in_a_quarter_of_the_tokens(
    prose: list[str], tokenizer: PreTrainedTokenizerBase
) -> None:
    own = tokenizer.train_new_from_iterator(prose, vocab_size=8192, show_progress=False)
    texts = join_answers(load_eli5(choose_track("quick", language="ar")))["text"][:]
    given, new = (sum(map(len, one(texts, verbose=False)["input_ids"])) for one in (tokenizer, own))
    assert given == sum(len(text.encode()) for text in texts)  # a token for each byte
    assert new < given / 4
