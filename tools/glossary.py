"""Read a language's glossary: which words stand for which English term, and which must not."""

import re
from pathlib import Path
from typing import NamedTuple

from tools.translate import NOTEBOOKS

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
        """Whether English prose has the term, or a plural in -s."""
        for phrase in self.other_senses:
            prose = prose.replace(phrase, "")
        return bool(re.search(rf"\b({any_of(self.english)})s?\b", prose, re.IGNORECASE))

    def in_translation(self, prose: str) -> re.Match[str] | None:
        """The first word of a translation, without vowel signs, that may stand for the term."""
        return find_word(self.forms, prose)


def any_of(words: list[str]) -> str:
    """The pattern of these words or phrases, whose lines may be broken; of two that begin alike the longer is found."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(words, key=len, reverse=True))


def plain(text: str) -> str:
    """Text without vowel signs, in which a glossary's forms are looked for."""
    return VOWEL_SIGNS.sub("", text)


def find_word(beginnings: list[str], prose: str) -> re.Match[str] | None:
    """The first word that begins with one of these, prefixes apart."""
    return re.search(PREFIXES + f"({'|'.join(map(re.escape, beginnings))})", prose)


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
