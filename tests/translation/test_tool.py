"""`make translate` on a small course: new, changed and moved prose, code, links, a second language."""

import gettext
import re
from pathlib import Path

import nbformat
import pytest
from babel.messages.pofile import PoFileError

from tools.translate import (
    catalog_path,
    po_bytes,
    read_catalog,
    right_to_left,
    translate,
    untranslated,
    without_direction,
)

BADGE = "[![Open in Colab](badge.svg)](https://colab.example/github/a/b/blob/main/notebooks/1_first.ipynb)"
LINKS = "See [the second](2_second.ipynb), ![a curve](images/curve.png) and [speed](../README.md)."
FIRST = f"# 1. First\n\n{BADGE}\n\n{LINKS}"


def notebook(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook(cells=list(cells))
    for number, cell in enumerate(made.cells):
        cell.id = f"cell{number}"
    return made


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Two notebooks, and a folder for Arabic."""
    (tmp_path / ".course" / "locale" / "ar").mkdir(parents=True)
    code = nbformat.v4.new_code_cell("print(1)", execution_count=1)
    code.outputs = [nbformat.v4.new_output("stream", text="1\n")]
    first = notebook(
        nbformat.v4.new_markdown_cell(FIRST), code, nbformat.v4.new_markdown_cell("A quarter is 25 % of `it`.")
    )
    nbformat.write(first, tmp_path / "1_first.ipynb")
    nbformat.write(notebook(nbformat.v4.new_markdown_cell(f"# 2. Second\n\n{BADGE}")), tmp_path / "2_second.ipynb")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "hub.py").write_text(
        'print(_("Sharing as {name}.", name=name))\nprint(ngettext("{count} row", "{count} rows", rows))\n'
    )
    run(tmp_path)
    return tmp_path


def run(course: Path) -> list[Path]:
    return translate(course, course / "package")


def set_translation(course: Path, cell: str, text: str) -> None:
    path = catalog_path("1_first", "ar", course)
    catalog = read_catalog(path, "ar")
    (message,) = [message for message in catalog if message.context == cell]
    message.string = text
    message.flags.discard("fuzzy")
    path.write_bytes(po_bytes(catalog))


def change(course: Path, cell: int, source: str, **attributes: str) -> None:
    path = course / "1_first.ipynb"
    changed = nbformat.read(path, as_version=4)
    changed.cells[cell].update(source=source, **attributes)
    nbformat.write(changed, path)


def sources_of(course: Path, name: str = "ar/1_first.ipynb") -> list[str]:
    return [cell.source for cell in nbformat.read(course / name, as_version=4).cells]


def test_new_prose_is_to_translate_and_stays_english(course: Path) -> None:
    assert "ar/LC_MESSAGES/1_first.po: 2 to translate, 0 fuzzy" in untranslated(course / ".course" / "locale")[0]
    assert sources_of(course)[1:] == ["print(1)", "A quarter is 25 % of `it`."]


def test_each_language_links_to_the_others(course: Path) -> None:
    (course / ".course" / "locale" / "fr").mkdir()
    run(course)
    assert (
        "\n\nEnglish · [العربية](ar/1_first.ipynb) · [français](fr/1_first.ipynb)\n\n"
        in sources_of(course, "1_first.ipynb")[0]
    )
    assert "\n\n[English](../1_first.ipynb) · العربية · [français](../fr/1_first.ipynb)\n\n" in sources_of(course)[0]
    assert len(untranslated(course)) == 6


def test_links_lead_on_from_the_folder_of_the_language(course: Path) -> None:
    source = sources_of(course)[0]
    for link in ("](2_second.ipynb)", "](../images/curve.png)", "](../../README.md)", "/notebooks/ar/1_first.ipynb)"):
        assert link in source


def test_a_translation_is_written_with_its_code_and_outputs(course: Path) -> None:
    set_translation(course, "cell2", "الربع 25 % من `it`.")
    assert run(course) == [course / "ar" / "1_first.ipynb"]
    english, twin = (nbformat.read(course / name, as_version=4) for name in ("1_first.ipynb", "ar/1_first.ipynb"))
    assert twin.cells[1] == english.cells[1]
    assert without_direction(twin.cells[2].source) == "الربع 25 % من `it`."
    assert run(course) == []


def test_a_translation_keeps_the_outputs_of_its_own_run_until_the_code_changes(course: Path) -> None:
    twin = course / "ar" / "1_first.ipynb"
    notebook = nbformat.read(twin, as_version=4)
    notebook.cells[1].outputs = own = [nbformat.v4.new_output("stream", text="واحد: 1\n")]
    nbformat.write(notebook, twin)
    run(course)
    assert nbformat.read(twin, as_version=4).cells[1].outputs == own
    change(course, 1, "print(2)")
    run(course)
    assert nbformat.read(twin, as_version=4).cells[1].outputs != own


def test_changed_prose_makes_its_translation_fuzzy_and_unused(course: Path) -> None:
    set_translation(course, "cell2", "الربع 25 % من `it`.")
    change(course, 2, "Something else altogether.")
    run(course)
    assert "1 to translate, 1 fuzzy" in untranslated(course / ".course" / "locale")[0]
    assert sources_of(course)[2] == "Something else altogether."
    assert "الربع" in catalog_path("1_first", "ar", course).read_text(encoding="utf-8")
    assert run(course) == []


def test_changed_code_within_prose_is_taken_over(course: Path) -> None:
    change(course, 2, "It prints:\n\n```text\n1\n```\n\nThat is few.")
    run(course)
    set_translation(course, "cell2", "يطبع:\n\n```text\n1\n```\n\nقليل.")
    change(course, 2, "It prints:\n\n```text\n2\n```\n\nThat is few.")
    run(course)
    assert without_direction(sources_of(course)[2]) == "يطبع:\n\n```text\n2\n```\n\nقليل."


def test_prose_in_a_new_cell_finds_its_translation(course: Path) -> None:
    set_translation(course, "cell2", "الربع 25 % من `it`.")
    change(course, 2, "A quarter is about 25 % of `it`.", id="another")
    run(course)
    catalog = read_catalog(catalog_path("1_first", "ar", course), "ar")
    (message,) = [message for message in catalog if message.context == "another"]
    assert message.fuzzy
    assert message.string == "الربع 25 % من `it`."


def test_a_po_file_that_is_none_stops_the_command_and_changes_nothing(course: Path) -> None:
    path = catalog_path("1_first", "ar", course)
    path.write_text('msgid "no end\n', encoding="utf-8")
    with pytest.raises(PoFileError):
        run(course)
    assert path.read_text(encoding="utf-8") == 'msgid "no end\n'


def test_right_to_left_keeps_code_whole() -> None:
    code = '```python\nx = "[a](b)"\n```'
    prose = f'# عنوان `f(x)`\n\nفقرة "two words" و-100، ثم `f(-1, "a")`.\n\n{code}\n\n- بند\n\n| أ |\n| --- |'
    details = "<details>\n<summary>حل</summary>\n\nنص\n\n</details>"
    assert "\n\n<details>\n<summary>حل</summary>\n\n<span" in right_to_left(details, "ar")
    made = right_to_left(prose, "ar")
    assert '# عنوان <span dir="ltr">`f(x)`</span>' in made
    assert '<span dir="ltr">"two words"</span>' in made
    assert '<span dir="ltr">`f(-1, "a")`</span>' in made
    assert '<div dir="ltr">\n\n' + code + "\n\n</div>" in made
    assert "\n\n- بند\n\n| أ |\n" in made
    assert without_direction(made).replace('<span dir="ltr">"two words"</span>', '"two words"') == prose


def test_what_the_package_says_is_compiled(course: Path) -> None:
    path = course / "package" / "locale" / "ar" / "LC_MESSAGES" / "clmkit.po"
    catalog = read_catalog(path, "ar")
    message = catalog.get("Sharing as {name}.")
    assert message is not None
    message.string = "النشر باسم {name}."
    path.write_bytes(po_bytes(catalog))
    assert run(course) == [path.with_suffix(".mo")]
    translations = gettext.translation("clmkit", course / "package" / "locale", ["ar"])
    assert translations.gettext("Sharing as {name}.") == "النشر باسم {name}."
    assert run(course) == []


def test_each_form_of_a_message_that_depends_on_a_number_is_to_translate(course: Path) -> None:
    path = course / "package" / "locale" / "ar" / "LC_MESSAGES" / "clmkit.po"
    rule = "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);"
    path.write_text(re.sub("nplurals=6;.*;", rule, path.read_text(encoding="utf-8")), encoding="utf-8")
    catalog = read_catalog(path, "ar")
    message = catalog.get("{count} row")
    assert message is not None
    message.string = ("لا صفوف", "صف", "صفان", "{count} صفوف", "", "{count} صف")
    path.write_bytes(po_bytes(catalog))
    run(course)
    assert rule in path.read_text(encoding="utf-8")
    assert "clmkit.po: 2 to translate, 0 fuzzy" in untranslated(course / "package")[0]
    translations = gettext.translation("clmkit", course / "package" / "locale", ["ar"])
    said = [translations.ngettext("{count} row", "{count} rows", count) for count in (0, 1, 2, 103, 100, 11)]
    assert said == ["لا صفوف", "صف", "صفان", "{count} صفوف", "{count} صف", "{count} rows"]
