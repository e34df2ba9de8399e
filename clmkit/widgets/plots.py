"""The course's pictures: each has a title, axis labels and a text that stands in for it."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clmkit.messages import Wording, drawn, label

if TYPE_CHECKING:
    from clmkit.evaluation import LossHistory

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
# For things that touch, in an order in which neighbours differ in lightness too, so that they do in shades of grey.
NEIGHBOURS = (BLUE, PINK, YELLOW, ORANGE, SKY, GREEN)
NUMBER = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.15"}

PNG: dict[str, Any] = {"format": "png", "dpi": 144, "facecolor": "white"}


class Picture:
    """A figure as a PNG with a text for who can't see it.

    It is shown by IPython's protocol for objects that have several forms, and not by ``IPython.display.Image``, whose
    ``alt`` IPython 7, Colab's, does not know.
    """

    def __init__(self, figure: Figure, alt: str) -> None:
        """Draw the figure; its background is white in any theme."""
        buffer = io.BytesIO()
        figure.savefig(buffer, **PNG)
        self.png, self.alt, self.width = buffer.getvalue(), alt, int(figure.get_figwidth() * 96)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt, "width": self.width}}


def show(figure: Figure, alt: str) -> None:
    """Display a figure; see ``Picture``."""
    display(Picture(figure, alt))


def plot_lengths(lengths: Sequence[int], block_size: int) -> None:
    """Histogram of the documents' lengths in tokens, with the block size marked."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(lengths, bins=40, color=SKY, edgecolor="white")
    axes.axvline(block_size, color=ORANGE, linewidth=2)
    axes.annotate(f" block_size = {block_size}", (block_size, axes.get_ylim()[1] * 0.9), color="black")
    axes.set(title=drawn("Documents differ in length, blocks do not"))
    axes.set(xlabel=drawn("tokens in a document"), ylabel=drawn("documents"))
    axes.set_xlim(left=0)
    numbers = {"count": len(lengths), "shortest": min(lengths), "longest": max(lengths), "block_size": block_size}
    alt = label(
        "Histogram of document lengths: {count:,} documents of {shortest} to {longest:,} tokens; "
        "a line marks the block size of {block_size}.",
        **numbers,
    )
    show(figure, alt)


def plot_blocks(lengths: Sequence[int], block_size: int) -> None:
    """Draw how documents of uneven length fall into blocks of equal length: a colour and a number for each document.

    Args:
        lengths: Tokens in each document, in order; a handful is best.
        block_size: Tokens in a block.
    """
    ends = list(accumulate(lengths))
    total = ends[-1]
    blocks, left_over = divmod(total, block_size)
    rows_above, rows_below = len(lengths), blocks + bool(left_over)
    figure = Figure(figsize=(7, 0.22 * (rows_above + rows_below) + 1.8), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[rows_above + 1, rows_below + 1])
    colours = [NEIGHBOURS[number % len(NEIGHBOURS)] for number in range(len(lengths))]
    above.barh(range(1, rows_above + 1), lengths, color=colours, edgecolor="black")
    for start, end in pairwise(sorted({0, total, *ends, *range(0, total, block_size)})):
        document, row = sum(start >= stop for stop in ends), start // block_size
        left, hatch = start - row * block_size, "//" if row == blocks else None
        bar = below.barh(row + 1, end - start, left=left, color=colours[document], edgecolor="black", hatch=hatch)
        if end - start > block_size / 20:  # else it is too narrow for a number
            below.bar_label(bar, [str(document + 1)], label_type="center", bbox=NUMBER, fontsize=8)
    numbers = {"blocks": blocks, "block_size": block_size, "left_over": left_over}
    above.set(title=drawn("Before: documents"), ylabel=drawn("document"), xlabel=drawn("tokens"))
    below.set(title=drawn("After: {blocks} blocks of {block_size}, {left_over} tokens left over (hatched)", **numbers))
    below.set(ylabel=drawn("block"), xlabel=drawn("tokens"))
    for axes, rows in ((above, rows_above), (below, rows_below)):
        axes.set_yticks(range(1, rows + 1))
        axes.invert_yaxis()
    show(figure, _blocks_in_words(lengths, numbers))


def _blocks_in_words(lengths: Sequence[int], numbers: Mapping[str, int]) -> str:
    return label(
        "Two bar charts. Above, {documents} documents of {lengths} tokens. "
        "Below, the same tokens in {blocks} blocks of {block_size}, each piece with its document's number; "
        "a block may cross from one document to the next; {left_over} tokens are left over.",
        documents=len(lengths),
        lengths=label(", ").join(map(str, lengths)),
        **numbers,
    )


def save_losses(history: "LossHistory", path: Path) -> str:
    """Save a picture of the loss curves as a PNG, in English; return what it shows, for who can't see it."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    alt = _fill_with_losses(figure.add_subplot(), history, drawn=str.format, label=str.format)
    # Without the version of the library that wrote it, the same losses are the same file, and no new commit.
    figure.savefig(path, **PNG, metadata={"Software": None})
    return alt


def _fill_with_losses(axes: Axes, history: "LossHistory", drawn: Wording = drawn, label: Wording = label) -> str:
    """Draw the curves; return what they show."""
    dots: dict[str, Any] = {"marker": "o", "markersize": 4}
    axes.plot(*_columns(history.train), "-", color=BLUE, label=drawn("training"), **dots)
    axes.plot(*_columns(history.test), "--", color=ORANGE, label=drawn("evaluation"), **dots)
    axes.set(title=drawn("Loss while training"), xlabel=drawn("step"), ylabel=drawn("mean loss per token (nats)"))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    curves = ((label("training"), history.train), (label("evaluation"), history.test))
    falls = [_fall(name, points, 2, label) for name, points in curves if points]
    return label("Line chart of the loss by step: {curves}.", curves=label(", ").join(falls))


def _fall(name: str, points: Sequence[tuple[int, float]], digits: int, label: Wording = label) -> str:
    first, last = (f"{points[end][1]:.{digits}f}" for end in (0, -1))
    return label("{name} from {first} to {last}", name=name, first=first, last=last)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def draw_run(
    history: "LossHistory", learning_rates: Sequence[tuple[int, float]], status: Callable[[Wording], str]
) -> Picture:
    """Draw a run of training as far as it has come: the losses, and beside them the learning rate.

    Args:
        history: Steps and mean losses per token in nats; there may be no evaluation yet.
        learning_rates: Steps, and the learning rate at each.
        status: Says in a wording the line above the picture: how far the run is, and how fast.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    alt = _fill_with_losses(left, history)
    right.plot(*_columns(learning_rates), color=GREEN, marker="o")
    right.set(title=drawn("Learning rate"), xlabel=drawn("step"), ylabel=drawn("learning rate"))
    right.set_xlim(left=0)
    right.set_ylim(bottom=0)
    right.grid(alpha=0.3)
    figure.suptitle(status(drawn))
    first, last = learning_rates[0][1], learning_rates[-1][1]
    beside = label("Beside it the learning rate, from {first:.1e} to {last:.1e}.", first=first, last=last)
    return Picture(figure, f"{status(label)}. {alt} {beside}")


def _sampling_title(say: Wording) -> str:
    return say("What sampling does to the choice of the next token (x: cut off)")


def plot_next_tokens(choices: Mapping[str, Sequence[tuple[str, float]]], title: str | None = None) -> None:
    """Draw the next token's probabilities as bars, a panel for each way of sampling; one bar is for all other tokens.

    Args:
        choices: For each panel its title, and the pairs of token text and probability that
            ``next_token_probabilities`` gives; the same tokens in every panel.
        title: The picture's title; by default what sampling does.
    """
    tokens = [text for text, _ in next(iter(choices.values()))]
    figure = Figure(figsize=(2 * len(choices) + 1, 0.28 * len(tokens) + 1.5), layout="constrained")
    panels = figure.subplots(1, len(choices), sharey=True, sharex=True, squeeze=False)[0]
    for axes, (panel, pairs) in zip(panels, choices.items(), strict=True):
        values = [probability for _, probability in pairs]
        axes.barh(range(len(values)), values, color=BLUE)
        others = max(0.0, 1 - sum(values))
        axes.bar_label(axes.barh(len(values), others, color=YELLOW, edgecolor="black", lw=0.5), fmt="{:.0%}", padding=2)
        axes.set_title(panel, fontsize="medium")
        axes.set_xlabel(drawn("probability"))
        cut_off = [number for number, value in enumerate(values) if value == 0]
        # A little off the axis, which would hide half of each cross.
        axes.plot([0.05] * len(cut_off), cut_off, "x", color=ORANGE, transform=axes.get_yaxis_transform())
    panels[0].set_yticks(range(len(tokens) + 1), [*(f"{text!r}" for text in tokens), drawn("all others")])
    panels[0].set_xlim(0, 1.3 * panels[0].get_xlim()[1])  # room for the number beside the longest bar
    panels[0].set_ylabel(drawn("next token"))
    panels[0].invert_yaxis()
    figure.suptitle(title or _sampling_title(drawn))
    alt = label(
        "{title}: bar charts of the {count} most probable next tokens. {panels}.",
        title=title or _sampling_title(label),
        count=len(tokens),
        panels=label("; ").join(_choice_in_words(panel, pairs) for panel, pairs in choices.items()),
    )
    show(figure, alt)


def _choice_in_words(panel: str, pairs: Sequence[tuple[str, float]]) -> str:
    return label(
        "{panel}: {token!r} has {probability:.0%}, {left} of {shown} are left, all other tokens have {others:.0%}",
        panel=" ".join(panel.split()),
        token=pairs[0][0],
        probability=pairs[0][1],
        left=sum(probability > 0 for _, probability in pairs),
        shown=len(pairs),
        others=max(0.0, 1 - sum(probability for _, probability in pairs)),
    )


def plot_counts(counts: Mapping[str, float], *, title: str, label: str, rows: str | None = None) -> None:
    """Draw counts, or other amounts, as bars, the largest first.

    Args:
        counts: An amount for each name.
        title: The picture's title.
        label: What was counted, or the unit.
        rows: What the names are names of; by default categories.
    """
    pairs = sorted(counts.items(), key=lambda pair: -pair[1])
    figure = Figure(figsize=(7, 0.3 * len(pairs) + 1), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh([name for name, _ in pairs], [count for _, count in pairs], color=SKY)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set(title=title, xlabel=label, ylabel=rows or drawn("category"))
    axes.invert_yaxis()
    show(figure, _counts_in_words(title, [f"{name} {count:,.0f}" for name, count in pairs], label))


def _counts_in_words(title: str, counts: Sequence[str], unit: str) -> str:
    return label("Bar chart, {title}: {counts} {unit}.", title=title, counts=label(", ").join(counts), unit=unit)


def plot_loss_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Draw the losses of several runs (steps, nats per token) over each other, so that equal ones cover each other."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    colours = [SKY, ORANGE, GREEN, PINK, BLUE]
    for number, (name, points) in enumerate(curves.items()):
        width = 2.5 * (len(curves) - number)  # the first one lies at the bottom and is the widest
        axes.plot(*_columns(points), color=colours[number % len(colours)], linewidth=width, label=name)
    axes.set(title=drawn("The same global batch, shared in different ways"))
    axes.set(xlabel=drawn("step"), ylabel=drawn("loss per token (nats)"))
    axes.grid(alpha=0.3)
    axes.legend()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    falls = label("; ").join(_fall(name, points, 3) for name, points in curves.items())
    show(figure, label("Line chart of the loss by step, {count} curves: {curves}.", count=len(curves), curves=falls))


def _multiple(share: float) -> str:
    return f"{share:.1g}" if share < 0.1 else f"{share:,.{int(share < 10)}f}"


def plot_loads(loads: Mapping[str, Mapping[str, float]], *, limit: str) -> None:
    """Draw how much of a limit each task takes at each size, on a logarithmic axis with a line where it is reached.

    Args:
        loads: For each size, and for each task, the need divided by the limit.
        limit: What the limits are those of.
    """
    tasks = list(next(iter(loads.values())))
    figure = Figure(figsize=(8, 0.2 * (len(loads) + 1) * len(tasks) + 1), layout="constrained")
    axes = figure.add_subplot()
    looks = zip([SKY, YELLOW, ORANGE, PINK], ["", "//", "..", "xx"], strict=True)
    for number, ((size, shares), (colour, hatch)) in enumerate(zip(loads.items(), looks, strict=False)):
        places = [task + (number + 0.5) * 0.8 / len(loads) for task in range(len(tasks))]
        lengths = [shares[task] - 1 for task in tasks]  # from the line at 1, to the left or to the right
        height = 0.8 / len(loads)
        look: dict[str, Any] = {"label": size, "color": colour, "hatch": hatch, "edgecolor": "black", "lw": 0.5}
        bars = axes.barh(places, lengths, height, left=1, **look)
        axes.bar_label(bars, [_multiple(shares[task]) for task in tasks], padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=1.5)
    axes.set_xscale("log")
    shown = [share for shares in loads.values() for share in shares.values()]
    axes.set_xlim(min(*shown, 1) / 12, 12 * max(*shown, 1))  # with room for the numbers
    axes.xaxis.set_major_formatter(lambda multiple, _: f"{multiple:,.9g}")
    axes.set_yticks([task + 0.4 for task in range(len(tasks))], tasks)
    axes.set(title=drawn("What breaks first: bars to the right of the line"), ylim=(len(tasks), -0.2))
    axes.set(xlabel=drawn("need, as a multiple of {limit}", limit=limit), ylabel=drawn("need"))
    axes.legend(loc="lower right")
    show(figure, _loads_in_words(loads, limit))


def _loads_in_words(loads: Mapping[str, Mapping[str, float]], limit: str) -> str:
    parts = []
    for size, shares in loads.items():
        beyond = label(", ").join(task for task, share in shares.items() if share > 1) or label("nothing")
        parts.append(label("at {size} beyond the limit: {tasks}", size=size, tasks=beyond))
    return label("Bar chart of needs as multiples of {limit}; {parts}.", limit=limit, parts=label("; ").join(parts))
