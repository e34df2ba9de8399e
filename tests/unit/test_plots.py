"""The pictures' colours, for eyes that see colours otherwise or not at all."""

import base64
from itertools import combinations, pairwise

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from clmkit.widgets import plots
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
