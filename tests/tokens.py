"""Every token that the tests use, and the search for them in everything that the tests write and print."""

import mmap
import re
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[1] / "build"
USED: set[str] = set()
LIKE_A_TOKEN = re.compile(rb"hf_\w{4,}")
# Where a client of the Hub keeps the token of a login.
KEPT = ("token", "stored_tokens")


def remember(token: str) -> str:
    """Look for this token when the tests end; it comes back."""
    USED.add(token)
    return token


def told_in(content: "bytes | mmap.mmap", tokens: Collection[str]) -> bool:
    """Whether one of the tokens stands in the content."""
    found = {match[0].decode() for match in LIKE_A_TOKEN.finditer(content)}
    return any(word.startswith(token) for word in found for token in tokens)


def files_that_tell(folder: Path, tokens: Collection[str], since: float = 0.0) -> list[Path]:
    """The files of a folder, changed since a time, that hold a token; where a login keeps one is left out."""
    telling = []
    for path in folder.rglob("*"):
        if path.name in KEPT or path.is_symlink() or not path.is_file():
            continue
        if (status := path.stat()).st_mtime < since or not status.st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if told_in(content, tokens):
                telling.append(path)
    return telling


def untold(ended: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    """A process that has ended, if it printed no token."""
    printed = (ended.stdout + ended.stderr).encode(errors="replace")
    assert not told_in(printed, USED), "a process that a test started printed a token"
    return ended


@pytest.fixture(scope="session", autouse=True)
def _no_token_is_written(tmp_path_factory: pytest.TempPathFactory, _temporary_cache: Path) -> Iterator[None]:
    """After the last test: no file that was written since the first holds a token."""
    began = time.time()
    yield
    for folder in (tmp_path_factory.getbasetemp(), _temporary_cache, BUILD):
        telling = files_that_tell(folder, USED, since=began)
        assert not telling, f"a token that a test used stands in {', '.join(map(str, telling))}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Fail a test that prints or logs a token."""
    report = yield
    for name, text in report.sections:
        if name.endswith(report.when) and report.passed and told_in(text.encode(errors="replace"), USED):
            report.outcome, report.longrepr = "failed", f"{name}: a token that a test used"
    return report
