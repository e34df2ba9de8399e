"""The anchors that links within the project's pages lead to."""

import re
from pathlib import Path


def anchors(page: Path) -> list[str]:
    """The anchors of a page's headings, in their order, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
