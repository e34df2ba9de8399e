"""Write `clmkit/bundled/arabic_prose.txt`: the whole Arabic sentences of the course's notebooks.

    python -m tools.arabic_prose

One paragraph a line. A sentence that holds a Latin letter, code or a formula is left out; English in brackets after an
Arabic term is taken out. The file is kept as it is when prose changes, since notebook 4 shows figures of it; to make it
anew, run this, write the new figures into `clmkit/bundled/README.md`, and execute notebooks 4 and 5.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tools.translate import FENCED, catalog_path, read_catalog, sources, write_if_changed

TARGET = Path(__file__).parents[1] / "clmkit" / "bundled" / "arabic_prose.txt"
LETTER = re.compile("[\u0620-\u064a]")
FOREIGN = re.compile(r"[A-Za-z`$\\|{}=_<>]")
SHORTEST = 4  # words in a sentence


def whole_sentences(markdown: str) -> Iterator[str]:
    """The paragraphs of a text in Markdown, each with those of its sentences that are Arabic alone."""
    text = re.sub(r"<[^>]+>", "", FENCED.sub("", markdown))
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)  # of a link, its words
    for paragraph in re.split(r"\n\s*\n|\n(?=- |\d+\. )", text):
        if paragraph.startswith(("#", "|", "    ")):  # a heading, a table, code
            continue
        plain = re.sub(r"\s*\([^()]*[A-Za-z][^()]*\)|^- |^\d+\. |\*", "", paragraph.strip())
        sentences = [" ".join(part.split()) for part in re.split(r"(?<=[.؟!])\s+", plain)]
        kept = [part for part in sentences if _is_arabic(part)]
        if kept:
            yield " ".join(kept)


def _is_arabic(sentence: str) -> bool:
    whole = re.search(r"[^\d\s][.؟!]$", sentence) and len(sentence.split()) >= SHORTEST
    return bool(whole) and bool(LETTER.search(sentence)) and not FOREIGN.search(sentence)


def prose() -> list[str]:
    """The paragraphs of all Arabic notebooks, in the course's order, each once."""
    texts: list[str] = []
    for path in sources():
        catalog = read_catalog(catalog_path(path.stem, "ar"), "ar")
        texts += [str(message.string) for message in catalog if message.id and not message.fuzzy]
    return list(dict.fromkeys(chain.from_iterable(map(whole_sentences, texts))))


if __name__ == "__main__":
    paragraphs = prose()
    changed = write_if_changed(TARGET, ("\n".join(paragraphs) + "\n").encode())
    words = sum(len(paragraph.split()) for paragraph in paragraphs)
    print(f"{len(paragraphs):,} paragraphs of {words:,} words, {'written' if changed else 'as before'}: {TARGET.name}")
