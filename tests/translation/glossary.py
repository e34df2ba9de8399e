"""Say where a translation departs from its language's glossary."""

import re

from tools.glossary import FAR, Term, find_word, plain
from tools.translate import FENCED, INLINE_CODE


def words_only(markdown: str) -> str:
    """Prose without code, addresses and HTML."""
    prose = INLINE_CODE.sub("`", FENCED.sub("", markdown))
    return re.sub(r"<[^>]*>", "", re.sub(r"\]\([^)]*\)", "]", prose))


def body(markdown: str) -> str:
    """Prose without headings."""
    return re.sub(r"^#.*$", "", words_only(markdown), flags=re.MULTILINE)


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
