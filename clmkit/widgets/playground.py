"""A playground: write a prompt, turn the sampling arguments, and watch models write side by side."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

import torch
from IPython.display import display
from ipywidgets import HTML, BoundedFloatText, BoundedIntText, Box, Button, HBox, Layout, Textarea, VBox, Widget
from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from clmkit.generation import SamplingStep, generate_text, sampling_steps
from clmkit.messages import _, drawn, ngettext
from clmkit.widgets.explorers import own_direction, somebody_is_there
from clmkit.widgets.plots import BLUE, plot_next_tokens

# Text and background always come as a pair from JupyterLab's theme; elsewhere they are black on white.
THEME = "color:var(--jp-content-font-color1,#000);background:var(--jp-layout-color1,#fff)"
PANEL = f"{THEME};border:1px solid var(--jp-border-color1,#767676);padding:6px 8px;min-height:6em;white-space:pre-wrap"
PANEL += ";line-height:1.5"
OF_A_TOKEN = ("prompt", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")  # controls that the bars show


class TextStream(BaseStreamer):
    """Calls a function with the text so far, up to its last complete word, and in the end with the whole text.

    All tokens are decoded each time: the pieces of some tokenizers read otherwise alone (Transformers' ``TextStreamer``
    loses line ends of SentencePiece's).
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None], *, skip_prompt: bool = False
    ) -> None:
        """Begin with no text; the prompt comes first, and is part of it unless it is to be skipped.

        What comes without its prompt is an answer, and has no space around it, as in ``answer_questions``.
        """
        self.tokenizer, self.on_text, self.skip = tokenizer, on_text, skip_prompt
        self.answers = skip_prompt
        self.ids: list[int] = []

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, or one more token."""
        if self.skip:
            self.skip = False
            return
        self.ids += value.flatten().tolist()
        *words, _unfinished = re.split(r"(?<=\s)", self._text())
        self.on_text("".join(words).rstrip())

    def end(self) -> None:
        """Hand over the whole text."""
        self.on_text(self._text())

    def _text(self) -> str:
        text = str(self.tokenizer.decode(self.ids, skip_special_tokens=True))
        return text.strip() if self.answers else text


class _StopWhen(StoppingCriteria):
    """Ends a text as soon as an event is set."""

    def __init__(self, event: Event) -> None:
        self.event = event

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), dtype=torch.bool, device=input_ids.device)


def stream_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    on_text: Callable[[str], None],
    stop: Event | None = None,
    **arguments: Any,
) -> str:
    """Continue a prompt as ``generate_text`` does, and show the text as it grows.

    Args:
        model: As for ``generate_text``, like all that is not named here.
        tokenizer: Its tokenizer.
        prompt: The text to continue.
        on_text: Called with the text so far, prompt included, whenever a word is complete and at the end.
        stop: Once another thread sets it, the text ends after the token that is being generated.
        **arguments: As for ``generate_texts``.
    """
    criteria = StoppingCriteriaList([_StopWhen(stop)] if stop else [])
    streamer = TextStream(tokenizer, on_text)
    return generate_text(model, tokenizer, prompt, streamer=streamer, stopping_criteria=criteria, **arguments)


def _controls(prompt: str) -> dict[str, Widget]:
    """The controls by the names of the arguments; number fields, since ipywidgets' sliders have no accessible name."""
    one: dict[str, Any] = {"style": {"description_width": "9em"}, "layout": Layout(width="17em")}
    one["continuous_update"] = True  # else a value sent by the very click on Generate may come after the click
    layout = Layout(width="98%", height="5em")
    return {
        "prompt": Textarea(prompt, description=_("Prompt"), style={"description_width": "9em"}, layout=layout),
        "temperature": BoundedFloatText(0.8, min=0.1, max=3, step=0.1, description="temperature", **one),
        "top_k": BoundedIntText(10, min=0, max=1000, description="top_k", **one),
        "top_p": BoundedFloatText(0.9, min=0.05, max=1, step=0.05, description="top_p", **one),
        "min_p": BoundedFloatText(0, min=0, max=1, step=0.05, description="min_p", **one),
        "repetition_penalty": BoundedFloatText(1.2, min=0.5, max=3, step=0.1, description="repetition_penalty", **one),
        "max_new_tokens": BoundedIntText(60, min=1, max=1000, description="max_new_tokens", **one),
        "seed": BoundedIntText(42, min=0, max=2**32 - 1, description="seed", **one),
    }


def _values(controls: Mapping[str, Widget], names: Sequence[str] = ()) -> dict[str, Any]:
    return {name: controls[name].value for name in names or controls}


def _cell(probability: float, largest: float) -> str:
    """One bar, with its number; the number is readable on the bar and beside it, in a light and in a dark theme."""
    if probability == 0:
        return '<td style="padding:1px 4px">✕</td>'
    # In em and not in %, so that bars of two columns compare, however wide the headings.
    bar = f"linear-gradient({BLUE}73,{BLUE}73) 0/{4 * probability / largest:.2f}em 100% no-repeat"
    return f'<td style="background:{bar};min-width:4em;padding:1px 4px">{probability:.1%}</td>'


def bars(name: str, steps: Sequence[SamplingStep]) -> str:
    """A model's ``sampling_steps`` as HTML: a row for each token, crossed where cut off, a column for each step."""
    names = [_("as it is"), *(step.name for step in steps[1:])]
    titles = [re.sub(" (?=[0-9])", "<br>", name).replace("_", "_<wbr>") for name in names]
    counts = [ngettext("{count:,} left", "{count:,} left", step.left) for step in steps]
    heads = "".join(
        f'<th scope="col" style="padding:1px 4px;text-align:left">{title}<br>{left}</th>'
        for title, left in zip(titles, counts, strict=True)
    )
    token = _("token")
    largest = max(probability for step in steps for __, probability in step.best)
    rows = "".join(
        f'<tr><th scope="row" style="text-align:right;padding:1px 4px"><bdi>{html.escape(repr(text))}</bdi></th>'
        + "".join(_cell(step.best[number][1], largest) for step in steps)
        + "</tr>"
        for number, (text, __) in enumerate(steps[0].best)
    )
    caption = html.escape(_("{model}: the next token after the prompt (✕: cut off)", model=name))
    return (
        f'<table style="{THEME};border-collapse:collapse;font-size:85%;line-height:1.5">'
        f'<caption style="{THEME};text-align:left">{caption}</caption>'
        f'<thead><tr><th scope="col">{token}</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


class Panels:
    """A panel of text for each name, and a line that says what goes on.

    Texts are written in a thread of their own, so that a click is heard meanwhile.
    """

    kind: str  # names the thread, and the box for CSS

    def __init__(self, names: Iterable[str]) -> None:
        """Make the panels, which are empty yet."""
        self.texts = {name: HTML() for name in names}
        self.status, self.turn = HTML(), Lock()
        self.stop = Event()  # of the newest texts
        for name, text in self.texts.items():
            text.add_class("clmkit-text")
            self.write(name, "")

    def box(self, *parts: Widget) -> VBox:
        """Everything, one below the other."""
        box = VBox([own_direction(), *parts])
        box.add_class(f"clmkit-{self.kind}")
        return box

    def tell(self, sentence: str) -> None:
        """Say what goes on; a screen reader reads it when it changes."""
        self.status.value = f'<span role="status" style="{THEME}">{html.escape(sentence)}</span>'

    def write(self, name: str, text: str, busy: bool = False) -> None:
        """Put a text into its panel; a screen reader waits while it is busy, and does not read each word anew."""
        live = f'aria-live="polite" aria-busy="{str(busy).lower()}"'
        self.texts[name].value = (
            f'<div style="{THEME};font-weight:bold">{html.escape(name)}</div>'
            f'<div dir="auto" {live} style="{PANEL}">{html.escape(text)}</div>'
        )

    def begin(self, asked: Any) -> None:
        """Write anew, by ``write_all``; of several calls that wait for the texts before, only the last does."""
        self.stop.set()
        self.stop = Event()
        Thread(target=self._run, args=(self.stop, asked), name=f"clmkit-{self.kind}", daemon=True).start()

    def _run(self, stop: Event, asked: Any) -> None:
        with self.turn:  # the run before this one ends first
            if stop is not self.stop:
                return
            try:
                self.write_all(stop, asked)
            except ValueError as error:
                self.tell(str(error))
            except Exception as error:
                self.tell(f"{type(error).__name__}: {error}")
                raise  # the traceback goes where the kernel writes a thread's errors

    def write_all(self, stop: Event, asked: Any) -> None:
        """Write the texts that are asked for; ``stop`` is set once nobody waits for them any more."""
        raise NotImplementedError


class _Playground(Panels):
    """Controls, and for each model its text and its bars."""

    kind = "playground"

    def __init__(self, models: Mapping[str, PreTrainedModel], tokenizer: PreTrainedTokenizerBase, prompt: str) -> None:
        super().__init__(models)
        self.models, self.tokenizer = models, tokenizer
        self.controls, self.drawing = _controls(prompt), Lock()
        self.bars = {name: HTML() for name in models}
        for name in OF_A_TOKEN:
            self.controls[name].observe(self.draw_bars, "value")
        self.draw_bars()

    def container(self) -> VBox:
        generate = Button(description=_("Generate"), button_style="primary")
        stop = Button(description=_("Stop"))
        generate.on_click(lambda _button: self.begin(_values(self.controls)))
        stop.on_click(lambda _button: self.stop.set())
        prompt, *numbers = self.controls.values()
        wrap, column = Layout(flex_flow="row wrap"), Layout(flex="1 1 26em", min_width="0", margin="0 1em 0 0")
        columns = [VBox([self.texts[name], self.bars[name]], layout=column) for name in self.models]
        buttons = HBox([generate, stop, self.status])
        return self.box(prompt, Box(numbers, layout=wrap), buttons, Box(columns, layout=wrap))

    def draw_bars(self, _change: Any = None) -> None:
        with self.drawing:  # JupyterLab may deliver two changes in two threads
            for name, model in self.models.items():
                try:
                    steps = sampling_steps(model, self.tokenizer, **_values(self.controls, OF_A_TOKEN))
                    self.bars[name].value = bars(name, steps)
                except ValueError as error:  # a prompt that is not finished yet, or too long
                    self.bars[name].value = f'<p style="{THEME}">{html.escape(str(error))}</p>'

    def write_all(self, stop: Event, asked: Any) -> None:
        self.tell(_("Generating"))
        for name in self.models:
            self.write(name, "")
        for name, model in self.models.items():
            if not stop.is_set():
                show = partial(self.write, name, busy=True)
                self.write(name, stream_text(model, self.tokenizer, on_text=show, stop=stop, **asked))
        self.tell(_("Stopped") if stop.is_set() else _("Done"))


def open_playground(models: Mapping[str, PreTrainedModel], tokenizer: PreTrainedTokenizerBase, prompt: str) -> None:
    """Let models continue a prompt side by side, and see what each sampling argument leaves of the next token.

    **Generate** writes with one model after the other, from the same seed; **Stop** ends both texts. The bars follow
    every change at once. Where nobody is there to touch the controls (``CLMKIT_WIDGETS=0``), the texts are printed and
    the bars plotted once, for the values that the controls begin with.

    Args:
        models: Causal language models by the names to show. They are put into evaluation mode, and stay in it.
        tokenizer: The tokenizer of all of them.
        prompt: The text to begin with.

    Raises:
        ValueError: As ``generate_texts``, where nobody is there; else the playground shows what is wrong.
    """
    for model in models.values():
        model.eval()  # texts and bars run at the same time: neither may switch the mode under the other
    if somebody_is_there():
        display(_Playground(models, tokenizer, prompt).container())
        return
    controls = _controls(prompt)
    for name, model in models.items():
        print(f"{name}: {generate_text(model, tokenizer, **_values(controls))!r}")
    for name, model in models.items():
        steps = sampling_steps(model, tokenizer, **_values(controls, OF_A_TOKEN))
        names = [drawn("as it is"), *(step.name for step in steps[1:])]
        titles = [
            drawn("{name}\n{count:,} left", name=one, count=step.left) for one, step in zip(names, steps, strict=True)
        ]
        title = drawn("{model}: the choice of the next token (x: cut off)", model=name)
        plot_next_tokens({one: step.best for one, step in zip(titles, steps, strict=True)}, title=title)
