"""The glossary is whole and the same in every language, and notebooks link the first use of each term to it."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from tests.translation.glossary import words_only, wrong_terms
from tools.glossary import plain, read_glossary
from tools.site import ROOT, SOURCE, notebook_path, notebooks, page_links, prepare_notebook, translation
from tools.site_glossary import Entry, link_terms, read_entries
from tools.translate import FENCED, INLINE_CODE, languages

PAGE = ROOT / "GLOSSARY.md"
ENTRY = re.compile(r"^### (.+)\n\n((?:.+\n)+)\n(.+)\n", re.MULTILINE)
LINK = re.compile(r"\[((?:(?!\]\().)*?)\]\(\.\./GLOSSARY\.md#[^)]*\)", re.DOTALL)
each_translation = pytest.mark.parametrize("language", languages())


def entries(language: str) -> list[tuple[str, str, str]]:
    """The heading, the meaning, and the line below it, of each entry."""
    return ENTRY.findall(translation(PAGE, language).read_text(encoding="utf-8"))


@each_translation
def test_every_bracketed_term_of_the_table_has_an_entry_in_both_pages(language: str) -> None:
    for page in (SOURCE, language):
        names = {entry.name.lower() for entry in read_entries(page)}
        terms = [{name.lower() for name in term.english} for term in read_glossary(language) if term.bracketed]
        assert not [term for term in terms if not term & names], f"no entry in {translation(PAGE, page).name}"


@each_translation
def test_the_pages_have_the_same_entries_in_the_same_order(language: str) -> None:
    mine, other = entries(SOURCE), entries(language)
    assert len(mine) == len(other) == len(read_entries(SOURCE)) == len(read_entries(language)) > 90
    for (heading, _, line), (heading_there, _, line_there) in zip(mine, other, strict=True):
        bracketed = re.search(r"\((.+)\)$", heading_there)
        assert (bracketed[1] if bracketed else heading_there).lower() == heading.lower()
        notebook = re.search(r"notebooks/(\w+)\.ipynb", line)
        assert notebook
        assert f"]({notebook_path(notebook[1], language)})" in line_there
    texts = {page: translation(PAGE, page).read_text(encoding="utf-8") for page in (SOURCE, language)}
    assert len({tuple(re.findall(r"^#+ ", text, re.MULTILINE)) for text in texts.values()}) == 1
    assert all(f"\n{page_links(PAGE, page)}\n" in text for page, text in texts.items())


@each_translation
def test_each_page_gives_the_other_languages_term_and_keeps_to_the_table(language: str) -> None:
    table = read_glossary(language)
    terms = {name.lower(): term for term in reversed(table) for name in term.english}
    for (heading, meaning, line), (heading_there, meaning_there, _) in zip(
        entries(SOURCE), entries(language), strict=True
    ):
        term = terms[heading.lower()]
        assert term.in_translation(plain(heading_there)), heading
        given = re.search(rf'lang="{language}">(.+?)</span>', line)
        assert term.in_translation(plain(given[1])) if given else heading_there.lower() == heading.lower()
        assert not wrong_terms(table, [(f"{heading}. {meaning}", f"{heading_there}. {meaning_there}")])
        numbers = [Counter(re.findall(r"\d+(?:[.,]\d+)*", words_only(text))) for text in (meaning, meaning_there)]
        assert numbers[0] == numbers[1], heading


@each_translation
def test_the_translated_page_has_its_script_s_direction_and_punctuation(language: str) -> None:
    text = translation(PAGE, language).read_text(encoding="utf-8")
    assert text.startswith(f'<div dir="rtl" lang="{language}">\n\n')
    assert text.endswith("\n\n</div>\n")
    for match in INLINE_CODE.finditer(text):
        assert f'<span dir="ltr">{match[0]}</span>' in text
    assert not re.findall(r"[\u0620-\u064a][,;?].*|[\u0660-\u0669\u200e\u200f].*", words_only(text))


@pytest.mark.parametrize("entry", read_entries(SOURCE), ids=lambda entry: entry.name)
def test_the_notebook_that_an_entry_names_has_the_term(entry: Entry) -> None:
    cells = nbformat.read(ROOT / "notebooks" / f"{entry.notebook}.ipynb", as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert entry.term.in_english(prose) or entry.term.in_english(prose.replace("_", " "))


@pytest.mark.parametrize(
    ("cells", "linked"),
    [
        (["A token, and a token.", "One more token."], ["[token]", "", ""]),
        (["No tokens: `token`, <b title='token'>, [a token](x.md), https://x.org/token."], ["[tokens]"]),
        (["# Token\n\n```text\ntoken\n```\n\n    token\n\n> token\n\n![token](x.png) $token$ Token."], ["[Token]"]),
        (["The **token**s, *tokens* and\ntokens."], ["[**token**]"]),
        (["The end-of-text\ntoken is a token."], ["[end-of-text\ntoken]", "[token]"]),
        (["It has an end-of-text token.", "The end-of-text token again."], ["[end-of-text token]"]),
        (["The learning rate is a rate."], ["[learning rate]"]),
        (["| token | loss |\n| --- | --- |\n| a token | 1 |"], ["[token]", "[loss]"]),
        (["Tokenizers and weightless things, moves weight."], ["[Tokenizers]"]),
        (["<details>\n<summary>The token</summary>\n\nA token.\n\n</details>"], ["[token]"]),
    ],
)
def test_the_first_use_is_linked_and_code_and_headings_are_left_alone(cells: list[str], linked: list[str]) -> None:
    found = link_terms(cells, "x", SOURCE)
    assert [LINK.sub(r"\1", cell) for cell in found] == cells
    assert [f"[{text}]" for cell in found for text in LINK.findall(cell)] == [text for text in linked if text]


@pytest.mark.parametrize(
    ("prose", "linked"),
    [
        ("كل **رمز (token)** ثم الرمز.", ["**رمز (token)**"]),
        ("رأينا الرموز، والرمز (token) واحد منها.", ["والرمز"]),
        ("بـ**الحيرة (perplexity)** نقيس.", ["**الحيرة (perplexity)**"]),
        ("يجب أن ينتهي برمز نهاية النص (end-of-text token).", ["برمز نهاية النص"]),
        ("بصيغة float32، ولا وزن لذلك.", ["float32"]),
        ("هذا `Dataset` جدول.", []),  # a table, and the glossary's schedule
        ("معدَّلُ التعلُّمِ ثابت.", ["معدَّلُ التعلُّمِ"]),
    ],
)
def test_a_translated_word_is_linked_where_it_surely_is_the_term(prose: str, linked: list[str]) -> None:
    if "ar" not in languages():
        pytest.skip("the examples are Arabic")
    found = link_terms([prose], "x", "ar")
    assert LINK.sub(r"\1", found[0]) == prose
    assert LINK.findall(found[0]) == linked


def test_a_language_without_a_page_has_no_links() -> None:
    assert link_terms(["A token."], "x", "xx") == ["A token."]


@pytest.mark.parametrize("path", [path for language in (SOURCE, *languages()) for path in notebooks(language)], ids=str)
def test_a_notebook_keeps_its_text_and_links_each_term_once(path: Path) -> None:
    language = SOURCE if path.parent.name == "notebooks" else path.parent.name
    notebook = nbformat.read(path, as_version=4)
    prepare_notebook(notebook, path.stem, language)
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    addresses = re.findall(r"\]\(\.\./GLOSSARY\.md#([^)]*)\)", text)
    assert len(addresses) == len(set(addresses)) >= 4
    for code in [match[0] for pattern in (FENCED, INLINE_CODE) for match in pattern.finditer(text)]:
        assert "GLOSSARY" not in code
    assert not re.search(r"^#.*GLOSSARY", text, re.MULTILINE)
    links = [match.span() for match in LINK.finditer(text)]
    assert all(end <= start for (_, end), (start, _) in pairwise(links))
