"""What counts as a word of a notebook, and the table of words now and before."""

import json
import subprocess
from pathlib import Path

from tools.words import as_table, count_words, words_at


def notebook(*cells: tuple[str, str]) -> str:
    return json.dumps({"cells": [{"cell_type": kind, "source": source.splitlines(True)} for kind, source in cells]})


def test_prose_counts_and_code_tags_and_addresses_do_not() -> None:
    prose = "# A title\n\nUse `map(rows)`: [the guide](https://example.org/a-b) isn't 1,345 words.\n\n"
    folded = "<details>\n<summary>Solution</summary>\n\n```python\nprint(1)\n```\n\n</details>"
    assert count_words(notebook(("markdown", prose), ("code", "x = 1"), ("markdown", folded))) == 10


def test_the_words_at_a_revision_are_those_that_were_committed(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    page = tmp_path / "notebooks" / "01_first.ipynb"
    page.parent.mkdir()
    page.write_text(notebook(("markdown", "two words")))
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    page.write_text(notebook(("markdown", "three words now")))
    assert words_at("HEAD", tmp_path) == {"01_first": 2}


def test_the_sum_is_over_the_notebooks_that_there_were_before() -> None:
    lines = as_table({"01_first": 90, "02_second": 50}, {"01_first": 100}).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["01_first", "100", "90", "-10%"],
        ["02_second", "50"],
        ["those", "there", "were", "before", "100", "90", "-10%"],
    ]
    assert as_table({"01_first": 90}, {}).splitlines()[-1].split() == ["in", "all", "90"]
