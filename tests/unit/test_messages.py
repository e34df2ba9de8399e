"""clmkit speaks the language that CLMKIT_LANG or the notebook names."""

import ast

import pytest

from clmkit.messages import (
    LEFT_ISOLATE,
    LINE_LENGTH,
    OWN_ISOLATE,
    POP,
    RIGHT_ISOLATE,
    _,
    language,
    languages,
)
from clmkit.tracks import choose_track

MARKS = dict.fromkeys(map(ord, (LEFT_ISOLATE, OWN_ISOLATE, POP, RIGHT_ISOLATE)))


@pytest.mark.parametrize(
    ("chosen", "notebook", "expected"),
    [
        (None, None, "en"),
        (None, "/course/notebooks/05_chunk.ipynb", "en"),
        (None, "/course/notebooks/ar/05_chunk.ipynb", "ar"),
        (None, "/course/notebooks/xx/05_chunk.ipynb", "en"),
        (None, "05_chunk.ipynb", "en"),
        ("en", "/course/notebooks/ar/05_chunk.ipynb", "en"),
        ("ar", None, "ar"),
        ("", None, "en"),
    ],
)
def test_language(chosen: str | None, notebook: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CLMKIT_LANG", chosen), ("JPY_SESSION_NAME", notebook)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert language() == expected


def test_a_language_that_clmkit_does_not_speak_is_an_error_that_names_those_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "xx")
    with pytest.raises(ValueError, match="CLMKIT_LANG is 'xx': clmkit speaks en, ar"):
        _("Training takes minutes on a GPU.")


def test_english_is_what_stands_in_the_code() -> None:
    assert _("{rows:,} rows of {data}", rows=5000, data="x.csv") == "5,000 rows of x.csv"


def test_arabic_marks_lines_values_and_code_with_their_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    made = _("{rows:,} rows of {data}", rows=5000, data="x.csv")
    assert made.startswith(RIGHT_ISOLATE)
    assert made.endswith(POP)
    assert f"{OWN_ISOLATE}5,000{POP}" in made
    assert f"{OWN_ISOLATE}x.csv{POP}" in made
    # A text of no translation is said in English.
    assert _("no one translated {this}", this=1).translate(MARKS) == "no one translated 1"


def test_options_and_commands_in_an_arabic_message_run_from_left_to_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    made = _("nobody knows how long a stream is: say how many steps to train by --max_steps")
    assert made.endswith(f"{LEFT_ISOLATE}--max_steps{POP}{POP}")
    made = _("{name}: must hold options and their values, such as `rows: 1000`", name="x.json")
    assert f"{LEFT_ISOLATE}`rows: 1000`{POP}" in made


def test_the_track_s_line_in_arabic_holds_code_to_copy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    choose_track("quick")
    line = capsys.readouterr().out.strip()
    for part in line.splitlines():
        assert len(part.translate(MARKS)) <= LINE_LENGTH
        assert part.startswith(RIGHT_ISOLATE)
        depth = [sum(-1 if sign == POP else ord(sign) in MARKS for sign in part[:end]) for end in range(1, len(part))]
        assert min(depth) == 1, "a mark is open to the end of the line"
        assert part.endswith(POP)
    assert line.translate(MARKS).startswith("المسار quick: ")
    call = line[line.index(LEFT_ISOLATE) + 1 :].split(POP)[0]
    assert ast.unparse(ast.parse(call)) == "choose_track('full')"
    assert "ar" in languages()
