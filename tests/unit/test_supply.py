"""The audit's report, read: what is vulnerable, what is not known, and the exit status."""

from typing import Any

import pytest

from tools.supply import FOUND, NOTHING_KNOWN, describe_audit

UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}
SOUND = {"name": "tqdm", "version": "4.67.0", "vulns": []}
HURT = {
    "name": "jinja2",
    "version": "3.1.5",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["3.1.6", "3.2"], "aliases": [], "description": ""},
        {"id": "PYSEC-2", "fix_versions": [], "aliases": [], "description": ""},
    ],
}


@pytest.mark.parametrize(
    ("packages", "lines", "status"),
    [
        ([SOUND, SOUND], ["main: 0 known vulnerabilities in 2 packages"], 0),
        ([SOUND, UNKNOWN], ["main: 0 known vulnerabilities in 1 packages; nothing is known of 1 more"], 0),
        (
            [HURT, SOUND],
            [
                "main: jinja2 3.1.5: PYSEC-1, mended in 3.1.6, 3.2",
                "main: jinja2 3.1.5: PYSEC-2, mended in no version yet",
                "main: 2 known vulnerabilities in 2 packages",
            ],
            FOUND,
        ),
        ([UNKNOWN, UNKNOWN], ["main: the index has no vulnerability data for any of the 2 packages"], NOTHING_KNOWN),
    ],
)
def test_a_report_becomes_lines_and_a_status(packages: list[dict[str, Any]], lines: list[str], status: int) -> None:
    assert describe_audit("main", {"dependencies": packages, "fixes": []}) == (lines, status)
