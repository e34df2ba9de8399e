"""The playground: streamed text, its buttons, its bars, and what it shows where nobody is there."""

import html
import re
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from ipywidgets import Button, VBox, Widget
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)

from clmkit.generation import generate_text, sampling_steps
from clmkit.messages import _
from clmkit.tracks import BUNDLED
from clmkit.widgets import playground, plots
from clmkit.widgets.playground import bars, open_playground, stream_text

PROMPT = "The sky is blue because"
BUTTONS = "Generate", "Stop"


class Opened:
    """An open playground, found by what a reader sees: descriptions, classes and texts."""

    def __init__(self, box: VBox) -> None:
        self.widgets: list[Widget] = []
        self.collect(box)

    def collect(self, widget: Widget) -> None:
        self.widgets.append(widget)
        for child in getattr(widget, "children", ()):
            self.collect(child)

    def __getitem__(self, description: str) -> Any:
        (found,) = [one for one in self.widgets if getattr(one, "description", None) == description]
        return found

    def panels(self) -> list[Any]:
        return [one for one in self.widgets if "clmkit-text" in getattr(one, "_dom_classes", ())]

    def texts(self) -> list[str]:
        return [html.unescape(re.search(r"pre-wrap[^>]*>(.*)</div>", one.value, re.DOTALL)[1]) for one in self.panels()]

    def tables(self) -> list[str]:
        return [one.value for one in self.widgets if "left</th>" in str(getattr(one, "value", ""))]

    def status(self) -> str:
        (found,) = [one for one in self.widgets if 'role="status"' in str(getattr(one, "value", ""))]
        return html.unescape(re.sub(r"<.*?>", "", found.value))

    def values(self, **others: Any) -> dict[str, Any]:
        names = "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "seed"
        return {name: self[name].value for name in names} | others


def wait() -> None:
    """Until every playground's thread has ended, also those that start meanwhile."""
    while running := [thread for thread in threading.enumerate() if thread.name == "clmkit-playground"]:
        running[0].join(60)
        assert not running[0].is_alive()


@pytest.fixture(scope="module")
def tuned() -> GPT2LMHeadModel:
    """The bundled model, which stands for a tuned one."""
    return AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is displayed."""
    found: list[Any] = []
    for module in (playground, plots):
        monkeypatch.setattr(module, "display", lambda what, **how: found.append(what))
    return found


@pytest.fixture
def opened(
    model: GPT2LMHeadModel,
    tuned: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerBase,
    shown: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Opened:
    monkeypatch.delenv("CLMKIT_WIDGETS", raising=False)
    open_playground({"base": model, "tuned": tuned}, tokenizer, PROMPT)
    (box,) = shown
    assert "clmkit-playground" in box._dom_classes
    return Opened(box)


@pytest.mark.parametrize("prompt", [PROMPT, "Line one: لماذا السماء زرقاء 🙂 天空\nThe sky is blue because"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_streamed_text_grows_to_the_text_that_generate_text_gives(
    tuned: GPT2LMHeadModel, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, prompt: str, seed: int
) -> None:
    # The random model draws broken characters and line ends as well, of which a streamer has to hold some back.
    for one in (tuned, model):
        how: dict[str, Any] = {"max_new_tokens": 40, "seed": seed, "top_k": 0, "repetition_penalty": 1.1}
        growing: list[str] = []
        text = stream_text(one, tokenizer, prompt, growing.append, **how)
        assert text == growing[-1] == generate_text(one, tokenizer, prompt, **how)
        assert len(set(growing)) > 5
        assert all(later.startswith(earlier) for earlier, later in pairwise(growing))


def test_a_stopped_text_is_the_beginning_of_the_whole(
    tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    stop = threading.Event()

    def on_text(text: str) -> None:
        if len(text) > len(PROMPT) + 20:
            stop.set()

    text = stream_text(tuned, tokenizer, PROMPT, on_text, stop, max_new_tokens=200)
    whole = generate_text(tuned, tokenizer, PROMPT, max_new_tokens=200)
    assert whole.startswith(text)
    assert len(PROMPT) + 20 < len(text) < len(whole)


def test_every_control_has_its_name_and_room_for_it(opened: Opened) -> None:
    for name in ("Prompt", *opened.values()):
        assert float(opened[name].style.description_width.removesuffix("em")) >= len(name) / 2
    assert opened["Prompt"].value == PROMPT
    assert [one.description for one in opened.widgets if isinstance(one, Button)] == list(BUTTONS)
    assert all('dir="auto"' in panel.value for panel in opened.panels())


def test_in_arabic_what_is_no_name_of_an_argument_is_arabic(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    opened: Opened = request.getfixturevalue("opened")
    assert opened["temperature"].value == 0.8
    assert [one.description for one in opened.widgets if isinstance(one, Button)] == list(map(_, BUTTONS))
    assert "توليد" in _(BUTTONS[0])
    opened[_("Prompt")].value = " "
    opened[_(BUTTONS[0])].click()
    wait()
    assert "the prompt is empty" in opened.status()  # errors are English
    assert not any('dir="rtl"' in str(getattr(one, "value", "")) for one in opened.widgets)
    opened[_("Prompt")].value = "The sky"
    opened["max_new_tokens"].value = 2
    opened[_(BUTTONS[0])].click()
    wait()
    assert opened.status() == _("Done") != "Done"


def test_generate_writes_with_each_model_what_generate_text_gives(
    opened: Opened, model: GPT2LMHeadModel, tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    opened["max_new_tokens"].value, opened["seed"].value, opened["temperature"].value = 25, 7, 1.1
    opened["Prompt"].value = "It <b>is</b> warm"
    opened["Generate"].click()
    wait()
    expected = [generate_text(one, tokenizer, "It <b>is</b> warm", **opened.values()) for one in (model, tuned)]
    assert opened.texts() == expected
    assert opened.status() == "Done"
    assert all('aria-busy="false"' in panel.value for panel in opened.panels())


def at(opened: Opened, panel: int, action: Callable[[], None], words: int = 3) -> None:
    """Do something once, as soon as a panel's text has grown a few times."""
    grown: list[str] = []

    def grow(change: Any) -> None:
        grown.append(change.new)
        if len(grown) == words:
            action()

    opened.panels()[panel].observe(grow, "value")


def test_stop_ends_the_text_and_those_after_it(
    opened: Opened, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    opened["max_new_tokens"].value = 400
    at(opened, 0, opened["Stop"].click)
    opened["Generate"].click()
    wait()
    base, tuned = opened.texts()
    whole = generate_text(model, tokenizer, PROMPT, **opened.values())
    assert whole.startswith(base)
    assert len(base) < len(whole)
    assert tuned == ""
    assert opened.status() == "Stopped"


def test_generate_while_a_text_is_written_begins_anew_with_the_present_values(
    opened: Opened, model: GPT2LMHeadModel, tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    def again() -> None:
        opened["max_new_tokens"].value = 10
        opened["Generate"].click()
        opened["Generate"].click()

    opened["max_new_tokens"].value = 400
    at(opened, 0, again)
    opened["Generate"].click()
    wait()
    assert opened.texts() == [generate_text(one, tokenizer, PROMPT, **opened.values()) for one in (model, tuned)]
    assert opened.status() == "Done"


def test_after_stop_generate_writes_the_whole_text(
    opened: Opened, tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    opened["Stop"].click()  # nothing to stop
    opened["max_new_tokens"].value = 20
    opened["Generate"].click()
    opened["Stop"].click()
    opened["Generate"].click()
    wait()
    assert opened.texts()[1] == generate_text(tuned, tokenizer, PROMPT, **opened.values())
    assert opened.status() == "Done"


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [(" ", "the prompt is empty: give the model at least a word"), ("sky " * 500, "the model's context holds 512")],
)
def test_a_prompt_that_cannot_be_continued_is_told_in_a_sentence(opened: Opened, prompt: str, sentence: str) -> None:
    opened["max_new_tokens"].value = 400
    opened["Prompt"].value = prompt
    opened["Generate"].click()
    wait()
    assert sentence in opened.status()
    opened["Prompt"].value = "The sky"
    opened["max_new_tokens"].value = 5
    opened["Generate"].click()
    wait()
    assert opened.status() == "Done"
    assert len(opened.tables()) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_of_the_model_is_told_and_its_traceback_kept(
    opened: Opened, model: GPT2LMHeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", kept.append)
    monkeypatch.setattr("clmkit.widgets.playground.stream_text", lambda *_, **__: torch.zeros(2) @ torch.zeros(3))
    opened["Generate"].click()
    wait()
    assert opened.status().startswith("RuntimeError: ")
    assert [one.exc_type for one in kept] == [RuntimeError]


def test_the_bars_follow_the_controls(
    opened: Opened, tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert all("temperature<br>0.8<br>" in table for table in opened.tables())
    opened["top_k"].value = 3
    opened["Prompt"].value = "Water <boils>"
    values = opened.values()
    del values["max_new_tokens"], values["seed"]
    assert opened.tables()[1] == bars("tuned", sampling_steps(tuned, tokenizer, "Water <boils>", **values))
    assert "top_<wbr>k<br>3<br>3 left" in opened.tables()[1]
    opened["Prompt"].value = ""
    assert opened.tables() == []
    assert sum("the prompt is empty" in str(getattr(one, "value", "")) for one in opened.widgets) == 2


def test_a_bar_is_as_long_as_its_share_of_the_largest_and_a_cut_off_token_is_crossed(
    tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    steps = sampling_steps(tuned, tokenizer, PROMPT, top_k=4, repetition_penalty=1.2)
    table = bars("<tuned>", steps)
    assert "<tuned>" not in table
    assert table.count("✕</td>") == 2 * 6  # top_k left four of ten, and top_p cuts nothing more
    largest = max(probability for step in steps for name, probability in step.best)
    for step in steps:
        for _token, probability in step.best[:4]:
            assert f"0/{4 * probability / largest:.2f}em 100%" in table
            assert f">{probability:.1%}</td>" in table


def test_where_nobody_is_there_texts_are_printed_and_bars_plotted_once(
    model: GPT2LMHeadModel,
    tuned: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerBase,
    shown: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLMKIT_WIDGETS", "0")
    open_playground({"base": model, "tuned": tuned}, tokenizer, PROMPT)
    values = {name: one.value for name, one in playground._controls(PROMPT).items()}
    base, text = (generate_text(one, tokenizer, **values) for one in (model, tuned))
    assert capsys.readouterr().out == f"base: {base!r}\ntuned: {text!r}\n"
    assert [picture.alt.split(":")[0] for picture in shown] == ["base", "tuned"]
    assert "top_k 10 10 left: " in shown[1].alt


def test_models_come_out_of_training_mode_and_stay_so(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLMKIT_WIDGETS", raising=False)
    open_playground({"tuned": model.train()}, tokenizer, PROMPT)
    assert not model.training


def test_the_text_that_grows_is_the_one_that_is_returned_with_pieces_that_read_otherwise_alone() -> None:
    """Of a tokenizer like Llama 2's: spaces before words are part of the pieces, and a line end is a byte."""
    letters = ["<unk>", "</s>", "\u2581", *"abcdefgh", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Tokenizer(BPE({letter: n for n, letter in enumerate(letters)}, [], unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(parts)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    set_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(letters), n_embd=8, n_layer=1, n_head=1, n_positions=64)).eval()
    line_end, unknown = letters.index("<0x0A>"), [letters.index("<unk>"), letters.index("</s>")]
    model.generation_config.suppress_tokens = [
        *unknown,
        *(n for n, letter in enumerate(letters) if letter.startswith("<0x") and n != line_end),
    ]
    seen: list[str] = []
    text = stream_text(model, tokenizer, "abc", seen.append, max_new_tokens=60, top_k=0)
    assert "\n" in text
    assert seen[-1] == text == generate_text(model, tokenizer, "abc", max_new_tokens=60, top_k=0)
    assert all(text.startswith(part) for part in seen)
    assert len(set(seen)) > 5


@pytest.mark.parametrize("clicks", [20, pytest.param(100, marks=pytest.mark.long)])
def test_clicked_many_times_while_it_writes_it_ends_with_the_last_text(
    opened: Opened,
    tuned: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    clicks: int,
) -> None:
    errors: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    for click in range(clicks):
        opened["seed"].value = click
        opened["temperature"].value = 0.5 + click % 10 / 10
        opened["Stop" if click % 5 == 3 else "Generate"].click()
    wait()
    assert errors == []
    assert opened.status() == "Done"
    assert opened.texts()[1] == generate_text(tuned, tokenizer, PROMPT, **opened.values())


def test_a_stop_string_ends_the_shown_text_as_it_ends_the_text(
    tuned: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    before = tuned.generation_config
    tuned.generation_config = GenerationConfig(**before.to_dict() | {"stop_strings": ["."]})
    seen: list[str] = []
    text = stream_text(tuned, tokenizer, PROMPT, seen.append, max_new_tokens=60)
    tuned.generation_config = before
    assert seen[-1] == text
    assert text.count(".") == 1
    assert text.endswith(".")
