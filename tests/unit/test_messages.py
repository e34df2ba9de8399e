"""clmkit speaks the language that CLMKIT_LANG or the notebook names."""

import ast
import importlib.metadata

import pytest

from clmkit.kernels import use_kernel
from clmkit.messages import (
    LEFT_ISOLATE,
    LINE_LENGTH,
    OWN_ISOLATE,
    POP,
    RIGHT_ISOLATE,
    _,
    drawn,
    label,
    language,
    languages,
    ngettext,
)
from clmkit.tracks import choose_track

MARKS = dict.fromkeys(map(ord, (LEFT_ISOLATE, OWN_ISOLATE, POP, RIGHT_ISOLATE)))


@pytest.mark.parametrize(
    ("chosen", "notebook", "expected"),
    [
        (None, None, "en"),
        (None, "ar", "ar"),
        ("en", "ar", "en"),
        ("ar", None, "ar"),
        ("", None, "en"),
    ],
)
def test_a_notebook_names_its_language_unless_one_was_chosen(
    chosen: str | None, notebook: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", chosen or "")  # and what use_kernel sets is taken back in the end
    if chosen is None:
        monkeypatch.delenv("CLMKIT_LANG")
    use_kernel("main", notebook)
    assert language() == expected


def test_a_language_that_clmkit_does_not_speak_is_an_error_that_names_those_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "xx")
    with pytest.raises(ValueError, match="CLMKIT_LANG is 'xx': clmkit speaks en, ar"):
        _("Training takes minutes on a GPU.")


def test_english_is_what_stands_in_the_code() -> None:
    assert _("{rows:,} rows of {data}", rows=5000, data="x.csv") == "5,000 rows of x.csv"


def rows_from(count: int) -> str:
    return ngettext("{count:,} row from {name}", "{count:,} rows from {name}", count, name="x.csv").translate(MARKS)


def test_a_number_has_the_form_that_its_language_has_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [rows_from(count) for count in (0, 1, 2)] == ["0 rows from x.csv", "1 row from x.csv", "2 rows from x.csv"]
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    said = {0: "لا صفوف", 1: "صف واحد", 2: "صفان", 3: "3 صفوف", 110: "110 صفوف", 11: "11 صفًا", 2099: "2,099 صفًا"}
    said |= {100: "100 صف", 5002: "5,002 صف"}
    assert {count: rows_from(count) for count in said} == {count: f"{rows} من x.csv" for count, rows in said.items()}


def test_arabic_marks_lines_values_and_code_with_their_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    made = _("{rows:,} rows of {data}", rows=5000, data="x.csv")
    assert made.startswith(RIGHT_ISOLATE)
    assert made.endswith(POP)
    assert f"{OWN_ISOLATE}5,000{POP}" in made
    assert f"{OWN_ISOLATE}x.csv{POP}" in made
    # A text of no translation is said in English.
    assert _("no one translated {this}", this=1).translate(MARKS) == "no one translated 1"
    assert ngettext("{count} of none", "{count} of no one's", 2).translate(MARKS) == "2 of no one's"


def test_a_label_is_the_message_without_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert label("Vocabulary: {size:,}", size=5000) == "Vocabulary: 5,000"
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    assert label("Vocabulary: {size:,}", size=5000) == "المفردات: 5,000"
    assert _("Vocabulary: {size:,}", size=5000).translate(MARKS) == "المفردات: 5,000"
    assert label("no one translated {this}", this="{it}") == "no one translated {it}"


@pytest.mark.parametrize(
    ("version", "said"),
    [("3.10.0", "probability"), ("3.8", "probability"), ("3.11.0rc1", "الاحتمال"), ("4.0", "الاحتمال")],
)
def test_what_is_drawn_is_english_where_matplotlib_cannot_shape_letters(
    version: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"matplotlib": version}.__getitem__)
    assert drawn("probability") == "probability"
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    assert drawn("probability") == said
    assert label("probability") == "الاحتمال"


def test_options_and_commands_in_an_arabic_message_run_from_left_to_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    made = _("the first {rows} and no more: --rows", rows=2)
    assert made.startswith(f"{RIGHT_ISOLATE}the first {OWN_ISOLATE}2{POP} and")
    made = _("say how many steps to train by --max_steps")
    assert made.endswith(f"{LEFT_ISOLATE}--max_steps{POP}{POP}")
    made = _("{name}: options and values, as `rows: {rows}`,\nor f({rows!r})", name="x.json", rows="9")
    assert made == (
        f"{RIGHT_ISOLATE}{OWN_ISOLATE}x.json{POP}: options and values, as {LEFT_ISOLATE}`rows: 9`{POP},{POP}\n"
        f"{RIGHT_ISOLATE}or {LEFT_ISOLATE}f('9'){POP}{POP}"
    )


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
