"""The things to try: what they show at once, and what they show when a control is moved."""

from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st
from ipywidgets import Checkbox, Label, VBox
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clmkit.tokenization import tokenize
from clmkit.tracks import BUNDLED
from clmkit.widgets import explorers, plots
from clmkit.widgets.explorers import explore, explore_blocks, inspect_tokens, show_tokens, split_tokens


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is displayed."""
    found: list[Any] = []
    for module in (explorers, plots):
        monkeypatch.setattr(module, "display", lambda what, **how: found.append(what))
    return found


@pytest.fixture
def _nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMKIT_WIDGETS", "0")


@pytest.fixture
def _somebody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLMKIT_WIDGETS", raising=False)


@given(text=st.text())
def test_the_tokens_hold_every_byte_of_the_text_and_the_tokenizers_own_ids(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    tokens = split_tokens(tokenizer, text)
    assert b"".join(token.bytes for token in tokens) == text.encode()
    assert [token.id for token in tokens] == tokenizer(text)["input_ids"]


def test_a_part_of_a_character_is_shown_as_bytes_and_a_special_token_as_one(tokenizer: PreTrainedTokenizerBase) -> None:
    emoji = split_tokens(tokenizer, "🙂")
    assert " ".join(token.text for token in emoji) == "f0 9f 99 82"
    (end,) = split_tokens(tokenizer, tokenizer.eos_token)
    assert (end.text, end.id, end.special) == ("<|endoftext|>", tokenizer.eos_token_id, True)


@pytest.mark.parametrize("added", ["naïve", "new word", "سماء"])
def test_a_token_that_was_added_is_written_as_it_is(added: str) -> None:
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    own.add_tokens([added])
    text = f"a {added}, seen"
    tokens = split_tokens(own, text)
    assert b"".join(token.bytes for token in tokens) == text.encode()
    assert [token.special for token in tokens if token.text == added] == [False]


@pytest.mark.parametrize(
    ("text", "direction"),
    [("The sky, السماء", "ltr"), ("1. السماء is the sky", "rtl"), ("שמיים", "rtl"), ("🙂 12", "ltr"), ("", "ltr")],
)
def test_tokens_run_as_the_text_does(
    tokenizer: PreTrainedTokenizerBase, shown: list[Any], text: str, direction: str
) -> None:
    show_tokens(tokenizer, text)
    assert shown[0]["text/html"].startswith(f'<div dir="{direction}">')


@pytest.fixture
def words() -> PreTrainedTokenizerBase:
    """A tokenizer whose tokens are words."""
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "سماء": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def test_a_tokenizer_that_is_not_made_of_bytes_is_refused(words: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match="token 'سماء' is not written in bytes"):
        split_tokens(words, "سماء")


def test_tokens_are_shown_as_html_and_as_text(tokenizer: PreTrainedTokenizerBase, shown: list[Any]) -> None:
    show_tokens(tokenizer, "the <b>")
    page, plain = shown[0]["text/html"], shown[0]["text/plain"]
    assert "&lt;" in page
    assert "<b>" not in page
    tokens = split_tokens(tokenizer, "the <b>")
    assert plain == " ".join(f"{t.text!r}:{t.id}" for t in tokens) + f"\n7 characters, 7 bytes, {len(tokens)} tokens"
    show_tokens(tokenizer, "<|endoftext|>")
    assert "dashed" in shown[1]["text/html"]
    assert f":{tokenizer.eos_token_id}*" in shown[1]["text/plain"]


def test_in_arabic_the_summary_runs_from_right_to_left(
    tokenizer: PreTrainedTokenizerBase, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    show_tokens(tokenizer, "the sky")
    page = shown[0]["text/html"]
    assert '<div dir="rtl">' in page
    assert "الحروف: " in page
    assert "characters" not in page


@pytest.fixture(scope="module")
def own(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer of the same kind that knows one Arabic word."""
    trained: PreTrainedTokenizerBase = tokenizer.train_new_from_iterator(["السماء"] * 9, 300, show_progress=False)
    return trained


@pytest.mark.usefixtures("_nobody_there")
def test_two_tokenizers_are_shown_side_by_side(
    tokenizer: PreTrainedTokenizerBase, own: PreTrainedTokenizerBase, shown: list[Any]
) -> None:
    inspect_tokens(tokenizer, "السماء", beside=own)
    show_tokens(tokenizer, "السماء")
    show_tokens(own, "السماء")
    both, *one = shown
    for kind in ("text/html", "text/plain"):
        places = [both[kind].index(single[kind]) for single in one]
        titles = [both[kind].index(f"Vocabulary: {len(which):,}") for which in (tokenizer, own)]
        assert titles[0] < places[0] < titles[1] < places[1]
    assert "12 bytes, 12 tokens" in one[0]["text/plain"]
    assert "12 bytes, 1 token" in one[1]["text/plain"]
    assert "display:flex" in both["text/html"]


@pytest.mark.usefixtures("_somebody_there")
def test_typing_shows_the_tokens_of_both(
    tokenizer: PreTrainedTokenizerBase, own: PreTrainedTokenizerBase, shown: list[Any]
) -> None:
    inspect_tokens(tokenizer, "السماء", beside=own)
    (box,) = [one for one in shown if isinstance(one, VBox)]
    box.children[1].value = "سماء"
    assert shown[-1]["text/plain"].count("4 characters, 8 bytes") == 2


def test_a_second_tokenizer_that_is_not_made_of_bytes_is_refused(
    tokenizer: PreTrainedTokenizerBase, words: PreTrainedTokenizerBase, shown: list[Any]
) -> None:
    with pytest.raises(ValueError, match="token 'سماء' is not written in bytes"):
        show_tokens(tokenizer, "سماء", beside=words)
    assert not shown


@pytest.mark.usefixtures("_nobody_there")
def test_where_nobody_is_there_it_is_shown_once_without_controls(
    tokenizer: PreTrainedTokenizerBase, shown: list[Any]
) -> None:
    inspect_tokens(tokenizer, "the sky")
    assert [sorted(one) for one in shown] == [["text/html", "text/plain"]]


@pytest.mark.usefixtures("_somebody_there")
def test_typing_shows_the_tokens_of_what_was_typed(tokenizer: PreTrainedTokenizerBase, shown: list[Any]) -> None:
    inspect_tokens(tokenizer, "the sky")
    (box,) = [one for one in shown if isinstance(one, VBox)]
    box.children[1].value = "another text"
    assert "12 characters" in shown[-1]["text/plain"]


@pytest.mark.usefixtures("_somebody_there")
def test_moving_the_block_size_draws_the_blocks_anew(
    tokenizer: PreTrainedTokenizerBase, texts: DatasetDict, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    documents = tokenize(texts["train"].select([0, 1, 2]), tokenizer)
    total = sum(map(len, documents["input_ids"]))
    explore_blocks(documents, block_size=64)
    (box,) = [one for one in shown if isinstance(one, VBox)]
    size, end_token = box.children[1:3]
    assert (size.description, end_token.description) == ("block_size", "end each document with eos_token")
    capsys.readouterr()
    size.value = 32
    assert f"{total // 32} blocks of 32, {total % 32} tokens left over" in capsys.readouterr().out
    end_token.value = True
    assert f"{(total + 3) // 32} blocks of 32, {(total + 3) % 32} tokens left over" in capsys.readouterr().out
    assert sum(isinstance(one, plots.Picture) for one in shown) == 3


@pytest.mark.usefixtures("_nobody_there")
def test_blocks_that_cross_a_border_are_counted(capsys: pytest.CaptureFixture[str], shown: list[Any]) -> None:
    explore_blocks(Dataset.from_dict({"input_ids": [[0] * 16, [0] * 8, [0] * 30]}), block_size=16)
    assert "3 blocks of 16, 6 tokens left over; several texts in 1 of them" in capsys.readouterr().out
    assert len(shown) == 1


@pytest.mark.usefixtures("_somebody_there")
def test_an_error_of_what_is_drawn_reaches_the_reader(shown: list[Any]) -> None:
    def fail(end_token: bool) -> None:
        raise ValueError("told")

    with pytest.raises(ValueError, match="told"):
        explore(fail, {"end_token": Checkbox(False)})
    assert not any(isinstance(one, Label) for one in shown)
