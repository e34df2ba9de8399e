"""Every README in another language is whole: the commands, code spans, numbers and links of the English one."""

import re
from collections import Counter
from pathlib import Path

import pytest
from babel import Locale

from tests.translation.glossary import unbracketed, words_only, wrong_terms
from tools.glossary import read_glossary
from tools.site import page_links, translation
from tools.translate import INLINE_CODE, LINK, SOURCE, languages, without_direction

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)")
each_language = pytest.mark.parametrize("language", languages())


def read(language: str) -> str:
    return translation(README, language).read_text(encoding="utf-8")


def sections(language: str) -> list[str]:
    """The page without marks of direction, links to translations, and comments, cut at its headings."""
    text = without_direction(read(language).strip()).replace(page_links(README, language), "")
    return re.split(r"^(?=## )", re.sub(r"<!--.*?-->\n", "", text), flags=re.MULTILINE)


def section_pairs(language: str) -> list[tuple[str, str]]:
    return list(zip(sections(SOURCE), sections(language), strict=True))


def code_spans(text: str) -> Counter[str]:
    return Counter(" ".join(match[0].split()) for match in INLINE_CODE.finditer(INDENTED.sub("", text)))


def rows(text: str) -> list[int]:
    """The number of cells of each row of the tables."""
    return [line.count(" | ") for line in text.splitlines() if line.startswith("|")]


def in_language(target: str, language: str) -> str:
    """Where a link of the English page leads in the translation: to the translated notebook, else to the same file."""
    return re.sub(r"(?<![\w-])notebooks/(?=\w+\.ipynb)", f"notebooks/{language}/", target)


@each_language
def test_the_pages_link_to_each_other_below_their_titles(language: str) -> None:
    for page in (SOURCE, language):
        paragraphs = [part for part in read(page).split("\n\n") if not part.startswith("<div")]
        assert paragraphs[0].startswith("# ")
        assert paragraphs[1] == page_links(README, page)
    assert f"]({translation(README, language).name})" in page_links(README, SOURCE)
    assert "](README.md)" in page_links(README, language)


@each_language
def test_commands_code_and_numbers_are_those_of_the_english_page(language: str) -> None:
    for english, other in section_pairs(language):
        assert INDENTED.findall(other + "\n") == INDENTED.findall(english + "\n"), other
        assert code_spans(other) == code_spans(english), other
        numbers = [Counter(re.findall(r"\d+(?:[.,]\d+)*", words_only(text))) for text in (english, other)]
        assert numbers[1] == numbers[0], other


@each_language
def test_headings_tables_lists_and_pictures_are_as_many(language: str) -> None:
    for english, other in section_pairs(language):
        for what in (r"^#+ ", r"^- ", r"^!\[", r"^\*\*"):
            found = [re.findall(what, text, flags=re.MULTILINE) for text in (english, other)]
            assert found[1] == found[0], other
        assert rows(other) == rows(english), other
    comments = [re.findall("<!-- picture .*-->", read(code)) for code in (SOURCE, language)]
    assert comments[1] == comments[0]


@each_language
def test_the_messages_of_the_table_stand_as_they_are_printed(language: str) -> None:
    messages = [
        re.findall(r"^\| (`[^`]+ [^`]+`) \|", "".join(sections(code)), re.MULTILINE) for code in (SOURCE, language)
    ]
    assert len(messages[0]) >= 20
    assert messages[1] == messages[0]


@each_language
def test_links_lead_to_the_same_files_and_to_the_translated_notebooks(language: str) -> None:
    for english, other in section_pairs(language):
        wanted = Counter(in_language(target, language) for target in LINK.findall(english) if target[0] != "#")
        assert Counter(target for target in LINK.findall(other) if target[0] != "#") == wanted
        assert sum(target[0] == "#" for target in LINK.findall(other)) == english.count("](#")
    notebooks = [target for target in LINK.findall(read(language)) if target.endswith(".ipynb")]
    assert len(notebooks) > 10
    assert all(f"notebooks/{language}/" in target for target in notebooks)


@each_language
def test_prose_is_in_the_script_s_direction_and_code_is_not(language: str) -> None:
    if Locale.parse(language).text_direction != "rtl":
        pytest.skip(f"{language} is written from left to right")
    text = read(language)
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


@each_language
def test_page_keeps_to_the_glossary(language: str) -> None:
    terms = read_glossary(language)
    prose = [(INDENTED.sub("", english), INDENTED.sub("", other)) for english, other in section_pairs(language)]
    assert not wrong_terms(terms, prose)
    assert not unbracketed(terms, [(PICTURE.sub("", english), PICTURE.sub("", other)) for english, other in prose])
