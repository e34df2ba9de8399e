"""The pictures' colours, for eyes that see colours otherwise or not at all."""

import base64
import importlib.metadata
import re
from collections.abc import Callable
from functools import partial
from itertools import combinations, pairwise

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from clmkit.conversations import TokenLoss
from clmkit.evaluation import LossHistory
from clmkit.widgets import chat, plots
from clmkit.widgets.live import LivePlot
from clmkit.widgets.plots import BLUE, NEIGHBOURS, ORANGE, Picture, plot_next_tokens

# Linear RGB as people with one kind of cone missing see it (Machado, Oliveira and Fernandes 2009, severity 1).
VISIONS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB, in which a distance of 2 or 3 can just be seen."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_documents_colours_differ_for_every_colour_vision(vision: str) -> None:
    seen = {colour: lab(np.array(VISIONS[vision]) @ linear(colour)) for colour in NEIGHBOURS}
    for one, other in combinations(NEIGHBOURS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 10, f"{one} and {other} look alike"


def test_colours_that_touch_differ_in_shades_of_grey() -> None:
    lightness = [lab(linear(colour))[0] for colour in (*NEIGHBOURS, NEIGHBOURS[0])]
    assert min(abs(one - other) for one, other in pairwise(lightness)) > 8
    assert abs(lab(linear(BLUE))[0] - lab(linear(ORANGE))[0]) > 5  # two lines, which are also solid and dashed


def test_a_picture_is_a_png_with_a_text_in_any_ipython() -> None:
    # Colab's IPython 7 gives what an object says of itself to the page as any later one does.
    data, metadata = DisplayFormatter().format(Picture(Figure(figsize=(2, 1)), "A small picture."))
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == "A small picture."
    assert metadata == {"image/png": {"alt": "A small picture.", "width": 192}}


def test_every_bar_of_the_loads_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[Figure, str]] = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append((figure, alt)))
    loads = {"small": {"disk": 0.0006, "time": 7.04}, "large": {"disk": 1448.5, "time": 1.0}}
    plots.plot_loads(loads, limit="the limit")
    ((figure, alt),) = shown
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.0006", "7.0", "1,448", "1.0"]
    assert alt.endswith("at small beyond the limit: time; at large beyond the limit: disk.")


def test_one_bar_is_for_all_other_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Figure, str]] = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: drawn.append((figure, alt)))
    plot_next_tokens({"as it is": [(" it", 0.3), (" a", 0.1)], "top_k 1": [(" it", 1.0), (" a", 0.0)]})
    ((figure, alt),) = drawn
    lengths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert lengths == [[0.3, 0.1, pytest.approx(0.6)], [1.0, 0.0, 0.0]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["' it'", "' a'", "all others"]
    assert "as it is: ' it' has 30%, 2 of 2 are left, all other tokens have 60%" in alt
    assert "top_k 1: ' it' has 100%, 1 of 2 are left, all other tokens have 0%" in alt


ARABIC = re.compile("[\u0621-\u064a]")
LATIN = re.compile("[A-Za-z]")
DIRECTION_MARKS = re.compile("[\u200e\u200f\u2066-\u2069]")
HISTORY = LossHistory([(1, 5.18), (90, 4.6)], [(90, 4.85)])


def run_until(last: bool) -> None:
    status = partial(LivePlot(182, 1024)._status, 90, 74.0, last)
    plots.display(plots.draw_run(HISTORY, [(1, 1.4e-3), (90, 2.5e-5)], status))


# Everything that is given is in Greek, so that each Latin letter in a picture is clmkit's own.
PICTURES: dict[str, Callable[[], None]] = {
    "lengths": lambda: plots.plot_lengths([100, 120, 1300], 128),
    "blocks": lambda: plots.plot_blocks([284, 269, 118], 128),
    "run": lambda: run_until(False),
    "finished run": lambda: run_until(True),
    "next tokens": lambda: plots.plot_next_tokens({"λ": [("β", 0.3), ("ω", 0.0)]}),
    "counts": lambda: plots.plot_counts({"λ": 1234, "β": 7}, title="ω", label="δ"),
    "loss curves": lambda: plots.plot_loss_curves({"λ": [(1, 5.332), (8, 4.664)], "β": [(1, 5.0), (8, 4.0)]}),
    "loads": lambda: plots.plot_loads({"λ": {"β": 3.0, "ω": 0.1}, "δ": {"β": 0.5, "ω": 0.1}}, limit="ε"),
    "token losses": lambda: chat.plot_token_losses([TokenLoss("λ", None), TokenLoss("β", 2.0)], "ω"),
    "answers": lambda: chat.plot_answers("λ", {"β": "ω", "δ": ""}),
}
each_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
Drawn = tuple[list[str], str]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None], str], Drawn]:
    """Draw in a language; give what stands in the figure, and what stands in for it."""
    seen: list[Drawn] = []

    class Seen(Picture):
        def __init__(self, figure: Figure, alt: str) -> None:
            super().__init__(figure, alt)
            seen.append(([text.get_text() for text in figure.findobj(Text)], alt))

    def look(draw: Callable[[], None], language: str) -> Drawn:
        monkeypatch.setenv("CLMKIT_LANG", language)
        draw()
        return seen.pop()

    monkeypatch.setattr(plots, "Picture", Seen)
    monkeypatch.setattr(plots, "display", lambda picture: None)
    return look


@each_picture
def test_pictures_speak_arabic(
    draw: Callable[[], None], look: Callable[..., Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"matplotlib": "3.11.0"}.__getitem__)  # Colab has an older one
    (labels, alt), (_, english_alt) = look(draw, "ar"), look(draw, "en")
    assert any(map(ARABIC.search, labels))
    assert not DIRECTION_MARKS.search("".join([*labels, alt]))
    names = r"block_size = \d+|nats|x: "  # what stands for itself in every language
    assert not [text for text in [*labels, alt] if LATIN.search(re.sub(rf"{names}|\d\.\de-\d\d", "", text))]
    arabic, english = (sorted(re.findall(r"\d[\d.,]*\d|\d", text)) for text in (alt, english_alt))
    assert arabic == english
    # From its first letter matplotlib takes a line's direction.
    lines = [line for text in labels for line in text.splitlines() if ARABIC.search(line)]
    assert not [line for line in lines if not ARABIC.match(re.sub(r"[\W\d_]", "", line))]


@each_picture
def test_an_older_matplotlib_draws_english(
    draw: Callable[[], None], look: Callable[..., Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, arabic_alt = look(draw, "ar")
    monkeypatch.setattr(importlib.metadata, "version", {"matplotlib": "3.10.0"}.__getitem__)
    labels, alt = look(draw, "ar")
    assert labels == look(draw, "en")[0]
    assert alt == arabic_alt


def test_titles_that_are_given_stay_as_they_are(look: Callable[..., Drawn]) -> None:
    labels, alt = look(lambda: plots.plot_counts({"a": 1}, title="Questions", label="rows", rows="kind"), "ar")
    assert {"Questions", "rows", "kind"} <= set(labels)
    assert "Questions" in alt
