"""Read a language's glossary, and say where a translation departs from it."""

import re
from pathlib import Path
from typing import NamedTuple

from tools.translate import FENCED, INLINE_CODE, NOTEBOOKS

VOWEL_SIGNS = re.compile("[\u064b-\u0652\u0670\u0640]")
# What Arabic writes together with the word that follows: and, so, by, like, to, will, the; the persons of a verb.
PREFIXES = "(?<![\u0620-\u064a])[وفبكلسأنيت]{0,3}(?:ال)?"
FAR = 60  # characters between a term and its English in brackets: an adjective or two


class Term(NamedTuple):
    """One row of a glossary."""

    english: list[str]
    other_senses: list[str]  # English phrases in which the term is another word
    forms: list[str]
    never: list[str]
    bracketed: bool  # whether the English stands in brackets at first use

    def in_english(self, prose: str) -> bool:
        for phrase in self.other_senses:
            prose = prose.replace(phrase, "")
        words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in self.english)
        return bool(re.search(rf"\b({words})s?\b", prose, re.IGNORECASE))

    def in_translation(self, prose: str) -> re.Match[str] | None:
        return find_word(self.forms, prose)


def plain(text: str) -> str:
    """Text without vowel signs, in which a glossary's forms are looked for."""
    return VOWEL_SIGNS.sub("", text)


def find_word(beginnings: list[str], prose: str) -> re.Match[str] | None:
    """The first word that begins with one of these, prefixes apart."""
    return re.search(PREFIXES + f"({'|'.join(map(re.escape, beginnings))})", prose)


def words_only(markdown: str) -> str:
    """Prose without code, addresses and HTML."""
    prose = INLINE_CODE.sub("`", FENCED.sub("", markdown))
    return re.sub(r"<[^>]*>", "", re.sub(r"\]\([^)]*\)", "]", prose))


def body(markdown: str) -> str:
    """Prose without headings."""
    return re.sub(r"^#.*$", "", words_only(markdown), flags=re.MULTILINE)


def read_glossary(language: str, notebooks: Path = NOTEBOOKS) -> list[Term]:
    """The rows of all tables; those of the first are bracketed."""
    text = (notebooks / ".course" / "locale" / language / "glossary.md").read_text(encoding="utf-8")
    terms, tables = [], 0
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| English"):
            tables += 1
        elif line.startswith("| ") and not line.startswith("| -"):
            words, _, forms, never, _ = ([part for part in re.split("[,،] *", plain(cell)) if part] for cell in cells)
            other_senses = [word.removeprefix("not ") for word in words if word.startswith("not ")]
            names = [word for word in words if not word.startswith("not ")]
            terms.append(Term(names, other_senses, forms, never, bracketed=tables == 1))
    return terms


def wrong_terms(terms: list[Term], pairs: list[tuple[str, str]]) -> list[str]:
    """One line for each term that a translation says otherwise, or with a word that no one should use for it.

    Args:
        terms: The glossary.
        pairs: English and translation of each message.
    """
    found = []
    for english, translation in pairs:
        source, target = words_only(english), plain(words_only(translation))
        for term in terms:
            if term.in_english(source) and not term.in_translation(target):
                found.append(f"{term.english[0]!r} is not {' or '.join(term.forms)} in: {target[:80]}")
            if term.never and (never := find_word(term.never, target)):
                found.append(f"{never[0]!r}, never for {term.english[0]!r}, in: {target[:80]}")
    return found


def unbracketed(terms: list[Term], pairs: list[tuple[str, str]]) -> list[str]:
    """One line for each term of a notebook whose first use does not have its English in brackets.

    Args:
        terms: The glossary.
        pairs: English and translation of each cell of one notebook, in order.
    """
    found = []
    page = plain("\n".join(body(translation) for _, translation in pairs))
    for term in terms:
        if term.bracketed and any(term.in_english(body(english)) for english, _ in pairs):
            first = term.in_translation(page)
            near = page[first.start() : first.end() + FAR] if first else ""
            if not any(re.search(rf"\([^()]*\b{re.escape(word)}", near, re.IGNORECASE) for word in term.english):
                found.append(f"the first use of {term.english[0]!r} has no English in brackets: {near!r}")
    return found
