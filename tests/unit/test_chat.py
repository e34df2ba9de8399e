"""The chat: its button, what it shows while a model answers, and its pictures where nobody is there."""

import html
import re
import threading
from typing import Any

import pytest
import torch
from ipywidgets import VBox, Widget
from peft import LoraConfig, PeftModel
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.conversations import TokenLoss, answer_questions
from clmkit.tracks import BUNDLED
from clmkit.training.lora import add_adapter
from clmkit.widgets import chat, plots
from clmkit.widgets.chat import open_chat, plot_token_losses, without_adapter
from clmkit.widgets.playground import TextStream

QUESTION = "Why is the sky blue?"


@pytest.fixture
def chatty() -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} So{% endfor %}"
    return tokenizer


@pytest.fixture
def adapted(model: GPT2LMHeadModel) -> PeftModel:
    """A model whose adapter changes what it says."""
    found = add_adapter(
        model, LoraConfig(r=8, lora_alpha=400, target_modules=["c_fc"], init_lora_weights=False, fan_in_fan_out=True)
    )
    return found.eval()


def collect(widget: Widget) -> list[Any]:
    return [widget, *(one for child in getattr(widget, "children", ()) for one in collect(child))]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, adapted: PeftModel, chatty: PreTrainedTokenizerBase) -> list[Any]:
    shown: list[VBox] = []
    monkeypatch.setenv("CLMKIT_WIDGETS", "1")
    monkeypatch.setattr(chat, "display", shown.append)
    open_chat(adapted, chatty, QUESTION, max_new_tokens=8)
    return collect(shown[0])


def press(widgets: list[Any], question: str) -> None:
    """Type a question and press the button."""
    (area,) = [one for one in widgets if getattr(one, "description", "") == "Question"]
    (button,) = [one for one in widgets if getattr(one, "description", "") == "Ask"]
    area.value = question
    button.click()


def ask(widgets: list[Any], question: str) -> tuple[list[str], str]:
    """Ask a question; the texts of the two panels, and the status, when it is done."""
    press(widgets, question)
    for thread in threading.enumerate():
        if thread.name == "clmkit-chat":
            thread.join(60)
    values = [str(getattr(one, "value", "")) for one in widgets]
    panels = [re.search(r"pre-wrap[^>]*>(.*)</div>", value, re.DOTALL) for value in values]
    (status,) = [re.sub("<[^>]+>", "", value) for value in values if 'role="status"' in value]
    return [html.unescape(found[1]) for found in panels if found], status


def test_both_answer_and_the_adapter_is_what_makes_the_difference(
    opened: list[Any], adapted: PeftModel, chatty: PreTrainedTokenizerBase
) -> None:
    texts, status = ask(opened, "Why do magnets pull?")
    (after,) = answer_questions(adapted, chatty, ["Why do magnets pull?"], max_new_tokens=8)
    with without_adapter(adapted):
        (before,) = answer_questions(adapted, chatty, ["Why do magnets pull?"], max_new_tokens=8)
    assert texts == [before, after]
    assert before != after
    assert status == "Done"


@pytest.mark.parametrize("clicks", [20, pytest.param(100, marks=pytest.mark.long)])
def test_clicked_many_times_while_it_answers_it_ends_with_the_last_answer(
    opened: list[Any],
    adapted: PeftModel,
    chatty: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    clicks: int,
) -> None:
    errors, answered = [], []
    answer = chat.answer_questions
    monkeypatch.setattr(threading, "excepthook", errors.append)
    monkeypatch.setattr(chat, "answer_questions", lambda *given, **how: answered.append(1) or answer(*given, **how))
    for click in range(clicks - 1):
        press(opened, f"Why {click}?")
    texts, status = ask(opened, "Why do magnets pull?")
    (after,) = answer(adapted, chatty, ["Why do magnets pull?"], max_new_tokens=8)
    assert errors == []
    assert (texts[1], status) == (after, "Done")
    assert len(answered) < clicks, "a question that nobody waits for any more was answered"


def test_an_empty_question_is_answered_by_what_to_do(opened: list[Any]) -> None:
    assert "ask at least a word" in ask(opened, "  ")[1]


def test_where_nobody_is_there_the_answers_are_drawn(
    monkeypatch: pytest.MonkeyPatch, adapted: PeftModel, chatty: PreTrainedTokenizerBase
) -> None:
    pictures: list[Any] = []
    monkeypatch.setattr(plots, "display", pictures.append)
    open_chat(adapted, chatty, QUESTION, max_new_tokens=8)
    (picture,) = pictures
    assert picture.png.startswith(b"\x89PNG")
    assert picture.alt.startswith(f"Answers to the question {QUESTION!r}. before: ")


def test_a_model_without_an_adapter_is_left_as_it_is(model: GPT2LMHeadModel) -> None:
    with without_adapter(model):
        assert model(input_ids=torch.tensor([[1]])).logits.isfinite().all()


def test_the_picture_of_losses_says_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[Any] = []
    monkeypatch.setattr(plots, "display", pictures.append)
    plot_token_losses([TokenLoss("Why $x?\n", None), TokenLoss("So", 2.0), TokenLoss("!", 9.0)], "Before")
    assert "3 tokens, 2 of them counted" in pictures[0].alt
    assert "the mean is 5.50 nats, the largest 9.00 at '!'" in pictures[0].alt


def test_an_answer_grows_into_the_answer(adapted: PeftModel, chatty: PreTrainedTokenizerBase) -> None:
    for seed in range(4):
        seen: list[str] = []
        how = {"max_new_tokens": 20, "do_sample": True, "top_k": 0, "temperature": 1.5, "seed": seed}
        streamer = TextStream(chatty, seen.append, skip_prompt=True)
        (answer,) = answer_questions(adapted, chatty, [QUESTION], streamer=streamer, **how)
        assert seen[-1] == answer
        assert all(answer.startswith(part) for part in seen)


@pytest.mark.parametrize("more", [{"num_return_sequences": 2, "do_sample": True}, {"return_dict_in_generate": True}])
def test_more_than_an_answer_to_a_question_is_refused(
    model: GPT2LMHeadModel, chatty: PreTrainedTokenizerBase, more: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"one answer to a question, and {next(iter(more))} asks for more"):
        answer_questions(model, chatty, [QUESTION], **more)
