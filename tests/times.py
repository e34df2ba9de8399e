"""Write into CONTRIBUTING.md where the time of the last ``make test`` went, by what it left in ``build/``.

python -m tests.times
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.common import fill_section, format_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
# Those that ran two files at a time, and those that ran alone afterwards.
PARTS = (ROOT / "build" / "tests.xml", ROOT / "build" / "tests_alone.xml")


def folder(case: ElementTree.Element) -> str:
    """The folder of a test's file: ``tests/hub`` of the class name ``tests.hub.test_faults``."""
    parts = case.attrib["classname"].split(".")
    return "/".join(parts[: next(i for i, part in enumerate(parts) if part.startswith("test_"))])


def read_suites(parts: Iterable[Path]) -> list[ElementTree.Element]:
    """One element for each run of pytest.

    Raises:
        FileNotFoundError: If one has left nothing.
        ValueError: If a test failed: it may have ended too soon, or too late.
    """
    suites = [suite for part in parts for suite in ElementTree.parse(part).getroot().iter("testsuite")]
    if any(int(suite.attrib[wrong]) for suite in suites for wrong in ("errors", "failures")):
        raise ValueError("in the last run a test failed: make test, and then this again")
    return suites


def describe(suites: list[ElementTree.Element], cores: int | None) -> str:
    """The sentence and the table of folders, tests and minutes, the slowest folder first."""
    tests, seconds = Counter[str](), Counter[str]()
    for case in (case for suite in suites for case in suite.iter("testcase") if case.find("skipped") is None):
        tests[folder(case)] += 1
        seconds[folder(case)] += float(case.attrib["time"])
    rows = [[f"`{name}`", f"{tests[name]:,}", f"{spent / 60:.1f}"] for name, spent in seconds.most_common()]
    rows.append(["sum", f"{tests.total():,}", f"{seconds.total() / 60:.1f}"])
    together, alone = (float(suite.attrib["time"]) / 60 for suite in suites)
    day = suites[0].attrib["timestamp"][:10]
    return (
        f"On {day}, with {cores} CPU cores, the tests took {together + alone:.0f} minutes: {together:.0f} together and "
        f"{alone:.0f} alone.\n\n{format_table(['folder', 'tests', 'minutes'], rows)}"
    )


def main() -> None:
    text = describe(read_suites(PARTS), os.cpu_count())
    PAGE.write_text(fill_section(PAGE.read_text(encoding="utf-8"), "times", text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
