"""Ask a model in a notebook, before and after tuning, side by side; and see what each token of an answer costs it."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from IPython.display import display
from ipywidgets import Button, HBox, Layout, Textarea, VBox
from matplotlib import colormaps
from matplotlib.figure import Figure

from clmkit.conversations import TokenLoss, answer_questions
from clmkit.messages import _, drawn, label
from clmkit.prompts import DRAWING
from clmkit.widgets.explorers import somebody_is_there
from clmkit.widgets.playground import Panels, TextStream
from clmkit.widgets.plots import show

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WIDTH = 112  # characters in a line of a picture
Answer = Callable[[str, Callable[[str], None]], str]


@contextmanager
def without_adapter(model: "PreTrainedModel") -> Iterator[None]:
    """Let a model compute as before an adapter was added to it (PEFT); nothing changes where there is none.

    It does so for the whole process: texts that other threads begin meanwhile wait until the block ends.
    """
    disable = getattr(model, "disable_adapter", nullcontext)
    with DRAWING, disable():
        yield


def plot_token_losses(losses: Sequence[TokenLoss], title: str) -> None:
    """Write a conversation token by token, each on a colour for its loss; white is what is not counted."""
    colours, largest = colormaps["YlOrRd"], 8.0
    places, line, column = [], 0, 0
    for token in losses:
        for number, part in enumerate(token.text.split("\n")):
            if number or column + len(part) > WIDTH:
                line, column = line + 1, 0
            if part:
                places.append((line, column, part, token.loss))
                column += len(part)
    figure = Figure(figsize=(9, 0.24 * (line + 1) + 1.1))
    axes = figure.add_axes((0.02, 0.05, 0.96, 0.9 - 0.35 / figure.get_figheight()))
    axes.set(xlim=(0, WIDTH), ylim=(line + 1, 0))
    axes.axis("off")
    for row, start, part, loss in places:
        shade = "white" if loss is None else colours(min(loss / largest, 1) * 0.6)  # black text is readable on all
        axes.barh(row + 0.5, len(part), left=start, height=0.9, color=shade, edgecolor="none")
        axes.text(start, row + 0.5, part, family="monospace", fontsize=8.4, va="center", parse_math=False)
    key = drawn("(white: not counted; yellow to red: loss 0 to {largest:g} nats and more)", largest=largest)
    axes.set_title(f"{title}\n{key}", fontsize=10)
    show(figure, _losses_in_words(losses, title))


def _losses_in_words(losses: Sequence[TokenLoss], title: str) -> str:
    counted = [token for token in losses if token.loss is not None]
    hardest = max(counted, key=lambda token: token.loss or 0)
    return label(
        "{title}: a conversation of {count} tokens, {counted} of them counted and coloured by their loss; "
        "the mean is {mean:.2f} nats, the largest {largest:.2f} at {token!r}.",
        title=title,
        count=len(losses),
        counted=len(counted),
        mean=sum(token.loss or 0 for token in counted) / len(counted),
        largest=hardest.loss,
        token=hardest.text,
    )


def plot_answers(question: str, answers: Mapping[str, str]) -> None:
    """Draw answers to one question side by side, as a chat would show them."""
    width = WIDTH // len(answers)
    texts = {name: textwrap.wrap(answer or drawn("(nothing)"), width - 2) for name, answer in answers.items()}
    lines = max(map(len, texts.values()))
    figure = Figure(figsize=(9, 0.2 * lines + 1.1), layout="constrained")
    figure.suptitle(question, fontsize=11, parse_math=False)
    panels = figure.subplots(1, len(answers), squeeze=False)[0]
    for axes, (name, text) in zip(panels, texts.items(), strict=True):
        axes.set_title(name, fontsize=10, parse_math=False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_facecolor("#eef5fa")
        axes.set_ylim(lines + 0.5, -0.5)
        for row, line in enumerate(text):
            axes.text(0.02, row + 0.5, line, fontsize=8.5, va="center", parse_math=False)
    parts = label("; ").join(f"{name}: {answer}" for name, answer in answers.items())
    show(figure, label("Answers to the question {question!r}. {answers}", question=question, answers=parts))


class _Chat(Panels):
    """A question, and a panel for each answer."""

    kind = "chat"

    def __init__(self, answers: Mapping[str, Answer], question: str) -> None:
        super().__init__(answers)
        self.answers = answers
        layout = Layout(width="98%", height="4em")
        self.question = Textarea(question, description=_("Question"), layout=layout)

    def container(self) -> VBox:
        ask = Button(description=_("Ask"), button_style="primary")
        ask.on_click(lambda _button: self.begin(self.question.value))
        column = Layout(flex="1 1 24em", min_width="0", margin="0 1em 0 0")
        for panel in self.texts.values():
            panel.layout = column
        row = HBox(list(self.texts.values()), layout=Layout(flex_flow="row wrap"))
        return self.box(self.question, HBox([ask, self.status]), row)

    def write_all(self, stop: Event, asked: Any) -> None:
        self.tell(_("Answering"))
        for name, answer in self.answers.items():
            self.write(name, answer(asked, partial(self.write, name, busy=True)))
        self.tell(_("Done"))


def open_chat(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", question: str, max_new_tokens: int = 80
) -> None:
    """Ask a tuned model, and the one that it was before its adapter, side by side.

    Each answer appears word by word and stops by itself, where the model writes its end-of-turn token, or after
    ``max_new_tokens``. Where nobody is there to type (``CLMKIT_WIDGETS=0``), the answers to the one question are drawn.

    Args:
        model: A model of PEFT; it is put into evaluation mode, and stays in it.
        tokenizer: Its tokenizer, with a chat template.
        question: The question to begin with.
        max_new_tokens: Where to cut an answer that does not end.

    Raises:
        ValueError: As ``answer_questions``, where nobody is there; else the chat shows what is wrong.
    """
    model.eval()

    def after(asked: str, on_text: Callable[[str], None]) -> str:
        streamer = TextStream(tokenizer, on_text, skip_prompt=True)
        (answer,) = answer_questions(model, tokenizer, [asked], max_new_tokens=max_new_tokens, streamer=streamer)
        return answer

    def before(asked: str, on_text: Callable[[str], None]) -> str:
        with without_adapter(model):
            return after(asked, on_text)

    if somebody_is_there():
        display(_Chat({_("before"): before, _("after"): after}, question).container())
    else:
        answers = {drawn("before"): before, drawn("after"): after}
        plot_answers(question, {name: answer(question, lambda text: None) for name, answer in answers.items()})
