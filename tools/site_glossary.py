"""Link the first use of each glossary term in a notebook to its entry in GLOSSARY.md; on the site only."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from myst_parser.slugs import github_slugify

from tools.glossary import FAR, PREFIXES, VOWEL_SIGNS, Term, any_of, read_glossary
from tools.translate import FENCED, INLINE_CODE, SOURCE, languages

ROOT = Path(__file__).parents[1]

ENTRY = re.compile(
    r"^### (?P<heading>.+)\n(?:(?!^##).*\n)*?.*\(notebooks/(?:\w+/)?(?P<notebook>\w+)\.ipynb\)", re.MULTILINE
)
PROTECTED = [
    FENCED,
    INLINE_CODE,
    re.compile(r"^(?:#| {4}|\t|>|[ \t]*<).*$", re.MULTILINE),  # headings, indented code, quotations, HTML
    re.compile(r"!?\[[^]]*\]\([^)]*\)|<a .*?</a>|<[^>]*>|https?://\S+", re.DOTALL),
    re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL),
]
EMPHASIS = re.compile(r"(?P<stars>\*+)[^*\n]+(?P=stars)(?!\*)")

Span = tuple[int, int]


class Entry(NamedTuple):
    """A heading of the glossary page."""

    name: str  # in English
    heading: str
    notebook: str  # which introduces it, as in 04_tokenize
    term: Term

    @property
    def address(self) -> str:
        """Where a notebook's page finds it."""
        return f"../GLOSSARY.md#{github_slugify(self.heading)}"


@cache
def read_entries(language: str) -> list[Entry]:
    """The entries of a language's glossary page, those of long names first; none if it has no such page.

    Raises:
        KeyError: If the language's table of terms has no row for one.
    """
    page = ROOT / ("GLOSSARY.md" if language == SOURCE else f"GLOSSARY.{language}.md")
    if not page.exists():
        return []
    rows = read_glossary(languages()[0] if language == SOURCE else language)
    terms = {name.lower(): term for term in reversed(rows) for name in term.english}
    entries = []
    for match in ENTRY.finditer(page.read_text(encoding="utf-8")):
        bracketed = re.search(r"\((.+)\)$", match["heading"])
        name = bracketed[1] if bracketed else match["heading"]
        entries.append(Entry(name, match["heading"], match["notebook"], terms[name.lower()]))
    return sorted(entries, key=lambda entry: -len(entry.name))


def link_terms(cells: list[str], name: str, language: str) -> list[str]:
    """The Markdown of a notebook's cells, in which the first use of each term is a link.

    Args:
        cells: In their order, without marks of direction.
        name: The notebook's file, without its suffix.
        language: The language of the prose.
    """
    linked: set[str] = set()
    return [_link_cell(prose, name, language, linked) for prose in cells]


def _link_cell(prose: str, name: str, language: str, linked: set[str]) -> str:
    free = _without_protected(prose)
    brackets, links = free, dict[Span, Entry]()
    for entry in read_entries(language):
        senses = re.sub(any_of(entry.term.other_senses) or "(?!)", _blank, free)
        if language == SOURCE:
            names = rf"\b(?:{any_of(entry.term.english)})s?\b"
            spans = first = [match.span() for match in re.finditer(names, senses, re.IGNORECASE)]
        else:
            spans = list(_translated_spans(entry.term, senses))
            first = _certain(entry, spans, brackets, here=entry.notebook == name)
        if first and entry.name not in linked:
            span = _with_emphasis(first[0], free)
            for inner in [other for other in links if span[0] < other[1] and other[0] < span[1]]:
                linked.discard(links.pop(inner).name)
            linked.add(entry.name)
            links[span] = entry
        for start, end in spans:  # so that "end-of-text token" is no use of "token"
            free = free[:start] + "\0" * (end - start) + free[end:]
    for (start, end), entry in sorted(links.items(), reverse=True):
        prose = f"{prose[:start]}[{prose[start:end]}]({entry.address}){prose[end:]}"
    return prose


def _blank(match: re.Match[str]) -> str:
    return "\0" * len(match[0])


def _without_protected(prose: str) -> str:
    """Prose of the same length, in which there are no words where no link can be."""
    for pattern in PROTECTED:
        prose = pattern.sub(_blank, prose)
    return prose


def _translated_spans(term: Term, prose: str) -> Iterator[Span]:
    """The words that begin with one of a term's forms, whole, prefixes and vowel signs included."""
    places = [place for place, letter in enumerate(prose) if not VOWEL_SIGNS.match(letter)]
    text = "".join(prose[place] for place in places)
    names = [form for form in term.forms if form.isascii()]
    words = [form for form in term.forms if not form.isascii()]
    patterns = [rf"(?<![A-Za-z0-9_])(?:{any_of(names)})(?![A-Za-z0-9_])"] if names else []
    patterns += [rf"{PREFIXES}(?:{any_of(words)})[\u0620-\u064a]*"] if words else []
    places.append(len(prose))
    for match in re.finditer("|".join(patterns), text):
        yield places[match.start()], places[match.end()]


def _certain(entry: Entry, spans: list[Span], prose: str, here: bool) -> list[Span]:
    """Those of the spans that mean the term: a single word may mean another thing as well.

    It means the term where its English stands in brackets beside it, and, if the glossary wants no brackets for it, in
    the notebook that introduces it. A phrase, or a word in Latin letters, always does.
    """
    english = rf"\((?:[^()]*[,،]\s*)?(?:{any_of(entry.term.english)})s?\s*[),،]"
    for bracket in re.finditer(english, prose, re.IGNORECASE):
        before = [span for span in spans if span[1] <= bracket.start() <= span[1] + FAR]
        if before:
            return before[-1:]
    if here and not entry.term.bracketed:
        return spans
    return [(start, end) for start, end in spans if " " in prose[start:end] or prose[start:end].isascii()]


def _with_emphasis(span: Span, prose: str) -> Span:
    """The span, or all that is set in bold or italics with it: a link between the stars and a letter would end them."""
    for match in EMPHASIS.finditer(prose):
        inner = match.start() + len(match["stars"]), match.end() - len(match["stars"])
        if inner[0] <= span[0] and span[1] <= inner[1] and (span[0] == inner[0] or span[1] == inner[1]):
            return match.span()
    return span
