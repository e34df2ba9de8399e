"""Every translation is whole: the same code, outputs, links, code spans and numbers as the English notebook."""

import ast
import gettext
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pytest
from babel import Locale
from babel.messages import Catalog
from babel.messages.mofile import read_mo

from tests.translation.glossary import unbracketed, words_only, wrong_terms
from tools.glossary import plain, read_glossary
from tools.translate import (
    FENCED,
    INLINE_CODE,
    LINK,
    NOTEBOOKS,
    PACKAGE,
    RUNNERS,
    SOURCE,
    WORDINGS,
    catalog_path,
    forms,
    in_language,
    keep_outputs,
    language_links,
    languages,
    messages,
    notebook_bytes,
    package_messages,
    read_catalog,
    sources,
    split_header,
    translate_notebook,
    update_catalog,
    with_header,
)

ARABIC = re.compile("[\u0621-\u064a]")
DIRECTION_MARKS = re.compile("[\u200e\u200f\u2066-\u2069]")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
PAGES = [(language, path) for language in languages() for path in sources()]
each_page = pytest.mark.parametrize(("language", "path"), PAGES, ids=[f"{lang}-{path.stem}" for lang, path in PAGES])


def read_pairs(language: str, path: Path) -> dict[str, tuple[str, str]]:
    """English and translation of each cell, as the PO file holds them."""
    catalog = read_catalog(catalog_path(path.stem, language), language)
    return {str(message.context): (str(message.id), str(message.string)) for message in catalog if message.id}


def output_texts(cell: nbformat.NotebookNode) -> list[str]:
    """The lines of text of a cell's outputs, pictures' texts among them, without marks of direction."""
    texts = [output.get("text", "") for output in cell.outputs]
    for output in cell.outputs:
        texts += [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
        texts += [about.get("alt", "") for about in output.get("metadata", {}).values() if isinstance(about, dict)]
    return DIRECTION_MARKS.sub("", "\n".join(texts)).splitlines()


def check_outputs(mine: nbformat.NotebookNode, other: nbformat.NotebookNode) -> None:
    """Outputs are the English cell's but for the lines in which clmkit speaks, and these have the same numbers."""
    assert [output.output_type for output in mine.outputs] == [output.output_type for output in other.outputs]
    kinds = [[sorted(output.get("data", {})) for output in cell.outputs] for cell in (mine, other)]
    assert kinds[0] == kinds[1]
    if "nbval-ignore-output" in mine.metadata.get("tags", []):
        return
    lines, english = Counter(output_texts(mine)), Counter(output_texts(other))
    own, replaced = lines - english, english - lines
    assert not [line for line in own if not ARABIC.search(line)], "python -m tests.notebooks.execute --language"
    found = [NUMBER.findall(" ".join(part.elements())) for part in (own, replaced)]
    numbers = [Counter(number for number in part if number not in ("1", "2")) for part in found]  # words in Arabic
    assert numbers[0] == numbers[1], (own, replaced)


@each_page
def test_code_cells_and_outputs_are_those_of_the_english_notebook(language: str, path: Path) -> None:
    english, twin = (nbformat.read(p, as_version=4) for p in (path, NOTEBOOKS / language / path.name))
    assert twin.metadata == english.metadata
    assert [cell.id for cell in twin.cells] == [cell.id for cell in english.cells]
    for mine, other in zip(twin.cells, english.cells, strict=True):
        assert mine.cell_type == other.cell_type
        if mine.cell_type == "code":
            other.source = in_language(other.source, language)  # for Colab, where no folder tells the language
            check_outputs(mine, other)
            assert {**mine, "outputs": None} == {**other, "outputs": None}
    first = next(cell for cell in twin.cells if cell.cell_type == "code")
    assert f'language="{language}")' in first.source


@each_page
def test_nothing_is_untranslated_or_fuzzy(language: str, path: Path) -> None:
    catalog = read_catalog(catalog_path(path.stem, language), language)
    found = [message for message in catalog if message.id]
    english = messages(nbformat.read(path, as_version=4))
    assert {message.context: message.id for message in found} == english, "run make translate"
    assert not [message.id for message in found if not message.string or message.fuzzy]


@each_page
def test_what_is_committed_is_what_make_translate_writes(language: str, path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    catalog = read_catalog(catalog_path(path.stem, language), language)
    update_catalog(catalog, messages(notebook))
    translate_notebook(notebook, path.stem, catalog, language_links(path.stem, language, languages()))
    keep_outputs(notebook, nbformat.read(NOTEBOOKS / language / path.name, as_version=4))
    assert notebook_bytes(notebook) == (NOTEBOOKS / language / path.name).read_bytes(), "run make translate"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_the_english_notebook_links_to_its_twins(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    source = notebook.cells[0].source
    assert source == with_header(*split_header(source), language_links(path.stem, SOURCE, languages()))


@each_page
def test_links_code_and_numbers_are_the_same(language: str, path: Path) -> None:
    for english, translation in read_pairs(language, path).values():
        for what in (
            lambda text: [match[0] for match in FENCED.finditer(text)],
            lambda text: Counter(LINK.findall(text)),
            lambda text: Counter(match[0] for match in INLINE_CODE.finditer(FENCED.sub("", text))),
            lambda text: Counter(re.findall(r"\d+(?:[.,]\d+)*", words_only(text))),
        ):
            assert what(translation) == what(english), translation


@each_page
def test_links_lead_to_files_and_to_the_same_language(language: str, path: Path) -> None:
    twin = nbformat.read(NOTEBOOKS / language / path.name, as_version=4)
    targets = [target for cell in twin.cells if cell.cell_type == "markdown" for target in LINK.findall(cell.source)]
    local = [target.split("#")[0] for target in targets if not target.startswith("http")]
    assert all((NOTEBOOKS / language / target).is_file() for target in local), local
    elsewhere = [target for target in local if target.endswith(".ipynb") and "/" in target]
    assert elsewhere[0] == f"../{path.name}"
    assert len(elsewhere) == len(languages())
    assert f"/blob/main/notebooks/{language}/{path.name})" in twin.cells[0].source


@each_page
def test_prose_has_the_script_s_own_punctuation(language: str, path: Path) -> None:
    if Locale.parse(language).text_direction != "rtl":
        pytest.skip(f"{language} is written from left to right")
    for _, translation in read_pairs(language, path).values():
        assert not re.findall(r"[\u0620-\u064a][,;?].*", words_only(translation))
        assert not re.findall("[\u0660-\u0669\u200e\u200f].*", translation), "Western digits, no invisible marks"


@each_page
def test_right_to_left_prose_and_left_to_right_code(language: str, path: Path) -> None:
    if Locale.parse(language).text_direction != "rtl":
        pytest.skip(f"{language} is written from left to right")
    twin = nbformat.read(NOTEBOOKS / language / path.name, as_version=4)
    for cell in twin.cells:
        if cell.cell_type == "markdown":
            assert cell.source.startswith(f'<div dir="rtl" lang="{language}">\n\n')
            assert cell.source.endswith("\n\n</div>")
            assert cell.source.count("<div") == cell.source.count("</div>") == 1 + len(FENCED.findall(cell.source))
            for match in FENCED.finditer(cell.source):
                assert cell.source[: match.start()].endswith('<div dir="ltr">\n\n')
            for match in INLINE_CODE.finditer(FENCED.sub("", cell.source)):
                assert f'<span dir="ltr">{match[0]}</span>' in cell.source


@each_page
def test_notebook_keeps_to_the_glossary(language: str, path: Path) -> None:
    terms, pairs = read_glossary(language), list(read_pairs(language, path).values())
    assert not wrong_terms(terms, pairs)
    assert not unbracketed(terms, pairs)


def test_every_message_is_found() -> None:
    """Babel passes over a call within an f-string, and over what is no literal."""
    calls: set[str | tuple[str, str]] = set()
    for path in [*PACKAGE.rglob("*.py"), *RUNNERS]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in WORDINGS:
                calls.add(ast.literal_eval(call.args[0]))
            elif isinstance(call, ast.Call) and ast.unparse(call.func) == "ngettext":
                calls.add((ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1])))
    assert calls == set(package_messages())


@pytest.mark.parametrize("language", languages())
def test_what_clmkit_says_is_translated_and_compiled(language: str) -> None:
    po = PACKAGE / "locale" / language / "LC_MESSAGES" / "clmkit.po"
    found = [message for message in read_catalog(po, language) if message.id]
    assert {message.id for message in found} == set(package_messages()), "run make translate"
    assert not [message.id for message in found if not all(forms(message)) or message.fuzzy]
    with po.with_suffix(".mo").open("rb") as file:
        compiled = {texts(message.id): forms(message) for message in read_mo(file) if message.id}
    assert compiled == {texts(message.id): forms(message) for message in found}, "run make translate"


def texts(name: str | Sequence[str]) -> tuple[str, ...]:
    """The English of a message: one text, or the singular and the plural."""
    return (name,) if isinstance(name, str) else tuple(name)


def package_catalog(language: str) -> Catalog:
    return read_catalog(PACKAGE / "locale" / language / "LC_MESSAGES" / "clmkit.po", language)


def plural_form(language: str) -> Callable[[int], int]:
    """Which form of a message a number takes, as the head of the PO file says it."""
    return gettext.c2py(package_catalog(language).plural_expr)


@pytest.mark.parametrize("language", languages())
def test_numbers_take_the_forms_that_the_language_has_for_them(language: str) -> None:
    form, tag = plural_form(language), Locale.parse(language).plural_form
    assert {form(number) for number in range(1000)} == set(range(package_catalog(language).num_plurals))
    categories = ("zero", "one", "two", "few", "many", "other")
    order = [category for category in categories if category in set(map(tag, range(1000)))]
    assert [order[form(number)] for number in range(1000)] == list(map(tag, range(1000)))


@pytest.mark.parametrize("language", languages())
def test_what_clmkit_says_keeps_its_values_and_its_terms(language: str) -> None:
    codes = r"\{[^}]*\}", r"\w+\([^()]*\)", r"\b[A-Z]+_[A-Z_]+\b", r"'[\w.]+'"
    numbers_of_form = Counter(map(plural_form(language), range(1000)))
    words = []
    for message in package_catalog(language):
        english = texts(message.id)[-1]
        for form, translation in enumerate(forms(message) if english else []):
            for code in codes:
                wanted = Counter(re.findall(code, english))
                if message.pluralizable and numbers_of_form[form] == 1:  # as in "two rows": a word may say the number
                    wanted -= Counter(set(re.findall(r"\{count[^}]*\}", english)) - set(re.findall(code, translation)))
                assert Counter(re.findall(code, translation)) == wanted, translation
            code = "|".join(codes)
            words.append((re.sub(code, "", english), re.sub(code, "", translation)))
    assert not wrong_terms(read_glossary(language), words)


@pytest.mark.parametrize("language", languages())
def test_forms_of_a_message_differ_and_have_the_script_s_own_punctuation(language: str) -> None:
    for message in package_catalog(language):
        if message.pluralizable:
            assert len(set(forms(message))) > 1, message.id
        if message.id and Locale.parse(language).text_direction == "rtl":
            assert not re.search(r"[\u0620-\u064a][,;?]|[\u0660-\u0669\u200e\u200f]", "\n".join(forms(message)))


@pytest.mark.parametrize("language", languages())
def test_nothing_is_read_as_something_else(language: str) -> None:
    glossary = (NOTEBOOKS / ".course" / "locale" / language / "glossary.md").read_text(encoding="utf-8")
    listed = glossary.partition("## Phrases that are read otherwise")[2]
    phrases = re.findall(r"^- ([^:]+):", plain(listed), flags=re.MULTILINE)
    assert len(phrases) > 5
    texts = [other for path in sources() for _, other in read_pairs(language, path).values()]
    texts += [page.read_text(encoding="utf-8") for page in NOTEBOOKS.parent.glob(f"*.{language}.md")]
    found = [phrase for phrase in phrases for text in texts if re.search(rf"(?<!\w){phrase}(?!\w)", plain(text))]
    assert not found
