"""The README and the pages beside it are whole in every language: commands, code spans, numbers and links."""

import re
from collections import Counter
from pathlib import Path

import pytest
from babel import Locale

from tests.anchors import anchors
from tests.translation.glossary import unbracketed, words_only, wrong_terms
from tools.glossary import read_glossary
from tools.site import page_links, translation
from tools.translate import INLINE_CODE, LINK, SOURCE, languages, without_direction

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
# Every page of the project's first folder, but the one for those who change the course.
PAGES = [page for page in sorted(ROOT.glob("*.md")) if page.suffixes == [".md"] and page.stem != "CONTRIBUTING"]
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
OTHERS_NAMES = re.compile(r"^(?:Also called|يسمى أيضًا): .*$", re.MULTILINE)
PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)")
each_language = pytest.mark.parametrize("language", languages())
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def read(page: Path, language: str) -> str:
    return translation(page, language).read_text(encoding="utf-8")


def sections(page: Path, language: str) -> list[str]:
    """The page without marks of direction, links to translations, and comments, cut at its headings."""
    text = without_direction(read(page, language).strip()).replace(page_links(page, language), "")
    return re.split(r"^(?=## )", re.sub(r"<!--.*?-->\n", "", text), flags=re.MULTILINE)


def section_pairs(page: Path, language: str) -> list[tuple[str, str]]:
    return list(zip(sections(page, SOURCE), sections(page, language), strict=True))


def code_spans(text: str) -> Counter[str]:
    return Counter(" ".join(match[0].split()) for match in INLINE_CODE.finditer(INDENTED.sub("", text)))


def rows(text: str) -> list[int]:
    """The number of cells of each row of the tables."""
    return [line.count(" | ") for line in text.splitlines() if line.startswith("|")]


def in_language(target: str, page: Path, language: str) -> str:
    """Where a link of an English page leads in the translation: to the translated page or notebook, else to the same.

    An anchor is that of the heading in the same place.
    """
    path, _, anchor = target.partition("#")
    linked = ROOT / path if path else page
    if linked in PAGES:
        other = translation(linked, language)
        mark = f"#{anchors(other)[anchors(linked).index(anchor)]}" if anchor else ""
        return f"{other.name if path else ''}{mark}"
    return re.sub(r"(?<![\w-])notebooks/(?=\w+\.ipynb)", f"notebooks/{language}/", target)


def test_the_pages_are_there() -> None:
    assert {page.stem for page in PAGES} >= {"README", "MACHINES", "UNATTENDED", "SHARING", "GUIDE", "TROUBLESHOOTING"}


@each_page
@each_language
def test_the_pages_link_to_each_other_below_their_titles(language: str, page: Path) -> None:
    for code in (SOURCE, language):
        paragraphs = [part for part in read(page, code).split("\n\n") if not part.startswith("<div")]
        assert paragraphs[0].startswith("# ")
        assert paragraphs[1] == page_links(page, code)
    assert f"]({translation(page, language).name})" in page_links(page, SOURCE)
    assert f"]({page.name})" in page_links(page, language)


@each_page
@each_language
def test_commands_code_and_numbers_are_those_of_the_english_page(language: str, page: Path) -> None:
    for english, other in section_pairs(page, language):
        assert INDENTED.findall(other + "\n") == INDENTED.findall(english + "\n"), other
        assert code_spans(other) == code_spans(english), other
        numbers = [Counter(re.findall(r"\d+(?:[.,]\d+)*", words_only(text))) for text in (english, other)]
        assert numbers[1] == numbers[0], other


@each_page
@each_language
def test_headings_tables_lists_and_pictures_are_as_many(language: str, page: Path) -> None:
    for english, other in section_pairs(page, language):
        for what in (r"^#+ ", r"^- ", r"^!\[", r"^\*\*"):
            found = [re.findall(what, text, flags=re.MULTILINE) for text in (english, other)]
            assert found[1] == found[0], other
        assert rows(other) == rows(english), other
    comments = [re.findall("<!-- picture .*-->", read(page, code)) for code in (SOURCE, language)]
    assert comments[1] == comments[0]


@each_language
def test_the_messages_of_the_table_stand_as_they_are_printed(language: str) -> None:
    page = ROOT / "TROUBLESHOOTING.md"
    messages = [
        re.findall(r"^\| (`[^`]+ [^`]+`) \|", "".join(sections(page, code)), re.MULTILINE)
        for code in (SOURCE, language)
    ]
    assert len(messages[0]) >= 35
    assert messages[1] == messages[0]


@each_page
@each_language
def test_links_lead_to_the_same_files_and_to_the_translated_pages_and_notebooks(language: str, page: Path) -> None:
    for english, other in section_pairs(page, language):
        wanted = Counter(in_language(target, page, language) for target in LINK.findall(english))
        assert Counter(LINK.findall(other)) == wanted
    notebooks = [target for target in LINK.findall(read(page, language)) if target.endswith(".ipynb")]
    assert len(notebooks) > 10 or page != README
    assert all(f"notebooks/{language}/" in target for target in notebooks)


@each_page
@each_language
def test_prose_is_in_the_script_s_direction_and_code_is_not(language: str, page: Path) -> None:
    if Locale.parse(language).text_direction != "rtl":
        pytest.skip(f"{language} is written from left to right")
    text = read(page, language)
    assert text.startswith(f'<div dir="rtl" lang="{language}">\n\n')
    assert text.endswith("\n\n</div>\n")
    blocks = list(INDENTED.finditer(text))
    assert text.count("<div") == text.count("</div>") == 1 + len(blocks)
    for match in blocks:
        assert text[: match.start()].endswith('<div dir="ltr">\n\n')
        assert text[match.end() :].startswith("\n</div>\n")
    for match in INLINE_CODE.finditer(INDENTED.sub("", text)):
        assert f'<span dir="ltr">{match[0]}</span>' in text
    prose = words_only(INDENTED.sub("", text))
    assert not re.findall(r"[\u0620-\u064a][,;?].*", prose)
    assert not re.findall("[\u0660-\u0669\u200e\u200f].*", text), "Western digits, no invisible marks"


@each_page
@each_language
def test_page_keeps_to_the_glossary(language: str, page: Path) -> None:
    terms = read_glossary(language)
    prose = [(INDENTED.sub("", english), INDENTED.sub("", other)) for english, other in section_pairs(page, language)]
    if page.stem == "GLOSSARY":  # its headings have the English of each term, and it names those of others
        prose = [tuple(OTHERS_NAMES.sub("", text) for text in pair) for pair in prose]
    else:
        assert not unbracketed(terms, [tuple(PICTURE.sub("", text) for text in pair) for pair in prose])
    assert not wrong_terms(terms, prose)
