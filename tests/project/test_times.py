"""The table of where the tests' time goes is made of what pytest left, and of a run that passed."""

from pathlib import Path

import pytest

from benchmarks.common import fill_section
from tests.conftest import LONGEST
from tests.times import PAGE, ROOT, describe, read_suites

SUITE = """<testsuites><testsuite errors="0" failures="{failures}" time="{time}" timestamp="2026-11-28T12:00:00">
<testcase classname="tests.hub.test_faults" name="a" time="60"/>
<testcase classname="tests.unit.test_hub.TestIt" name="b" time="12"/>
<testcase classname="tests.unit.test_hub" name="c" time="0"><skipped/></testcase>
</testsuite></testsuites>"""


def write_parts(folder: Path, failures: int = 0) -> list[Path]:
    paths = [folder / "tests.xml", folder / "tests_alone.xml"]
    for path, time in zip(paths, ("60", "120"), strict=True):
        path.write_text(SUITE.format(failures=failures, time=time))
    return paths


def test_the_slowest_folder_comes_first_and_what_was_skipped_does_not_count(tmp_path: Path) -> None:
    assert describe(read_suites(write_parts(tmp_path)), 2).splitlines() == [
        "On 2026-11-28, with 2 CPU cores, the tests took 3 minutes: 1 together and 2 alone.",
        "",
        "| folder       | tests | minutes |",
        "| ------------ | ----: | ------: |",
        "| `tests/hub`  |     2 |     2.0 |",
        "| `tests/unit` |     2 |     0.4 |",
        "| sum          |     4 |     2.4 |",
    ]


def test_a_run_that_failed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a test failed: make test"):
        read_suites(write_parts(tmp_path, failures=1))


def test_the_page_has_the_marks_once() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "\n<!-- times -->\nnew\n<!-- /times -->\n" in fill_section(page, "times", "new")
    with pytest.raises(ValueError, match="0 sections"):
        fill_section("no marks", "times", "new")


def test_the_files_that_come_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
