"""Count the words of the English notebooks' prose, now and at a git revision.

    python -m tools.words [REVISION]

Words of markdown cells count, exercises included. Code, HTML tags, tables' lines and addresses do not.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.translate import FENCED, INLINE_CODE, NOTEBOOKS, sources

TAG, ADDRESS = re.compile(r"<[^<>]+>"), re.compile(r"\]\([^)\s]+\)")
WORD = re.compile(r"\w[\w.,'-]*")


def count_words(notebook: str) -> int:
    """The words of a notebook's markdown cells, given the text of its file; inline code is one word."""
    cells = [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "markdown"]
    prose = FENCED.sub("", "\n\n".join("".join(cell["source"]) for cell in cells))
    return len(WORD.findall(ADDRESS.sub("]", TAG.sub("", INLINE_CODE.sub("code", prose)))))


def words_at(revision: str, root: Path = NOTEBOOKS.parent) -> dict[str, int]:
    """The words of each notebook at a git revision, by the notebook's name.

    Raises:
        subprocess.CalledProcessError: If git knows no such revision.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, check=True, encoding="utf-8").stdout

    paths = git("ls-tree", "--name-only", revision, "notebooks/").splitlines()
    found = sorted(path for path in paths if path.endswith(".ipynb"))
    return {Path(path).stem: count_words(git("show", f"{revision}:{path}")) for path in found}


def as_table(now: Mapping[str, int], before: Mapping[str, int]) -> str:
    """A line for each notebook, and for those that there were before in all; words before are left out if unknown."""
    old = {name: before[name] for name in now if name in before}
    rows = [(name, old.get(name), words) for name, words in now.items()]
    title = "those there were before" if old and len(old) < len(now) else "in all"
    rows.append((title, sum(old.values()) or None, sum(now[name] for name in old or now)))
    lines = [f"{'notebook':24} {'before':>7} {'now':>7} {'change':>7}"]
    for name, earlier, words in rows:
        change = f"{earlier:7,} {words:7,} {words / earlier - 1:+7.0%}" if earlier else f"{'':7} {words:7,}"
        lines.append(f"{name:24} {change}")
    return "\n".join(lines)


def main(revisions: list[str]) -> None:
    """Print the table."""
    now = {path.stem: count_words(path.read_text(encoding="utf-8")) for path in sources()}
    print(as_table(now, words_at(revisions[0]) if revisions else {}))


if __name__ == "__main__":
    main(sys.argv[1:])
