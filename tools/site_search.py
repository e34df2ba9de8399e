"""Arabic words for the site's search."""

import re

from sphinx.search import SearchLanguage

MARKS = re.compile("[\u0640\u064b-\u065f\u0670]")
SAME = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه"})


def plain(text: str) -> str:
    """Arabic as most people type it: no vowel signs and no tatweel, one form of alef, of ya and of ha."""
    return MARKS.sub("", text).translate(SAME)


class SearchArabic(SearchLanguage):
    """Words without vowel signs; the search itself finds a word in a longer one, so "نموذج" in "النموذج"."""

    lang = "ar"
    language_name = "Arabic"
    js_splitter_code = """
const SAME = { "أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه" };
function splitQuery(query) {
  return query
    .replace(/[\\u0640\\u064b-\\u065f\\u0670]/g, "")
    .replace(/[أإآىة]/g, (letter) => SAME[letter])
    .split(/[^\\p{Letter}\\p{Number}_]+/gu)
    .filter((term) => term);
}
"""

    def split(self, input: str) -> list[str]:
        """The words of a text; ``js_splitter_code`` does the same to a query."""
        return super().split(plain(input))

    def stem(self, word: str) -> str:
        """The word in small letters, as the search compares them."""
        return word.lower()
