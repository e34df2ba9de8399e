"""One server and one browser for all the tests of this folder; a fresh page for each."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.lab_page import VIEWPORT, LabPage
from tests.lab import ROOT, Lab, serve_lab

# No graphics card, no sandbox for root, and nothing that calls home.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
# Playwright's own five seconds are few where another file of tests keeps a core busy.
PATIENCE = 30_000.0
FEWER_ROWS = {
    "06a_train_pytorch.ipynb": ("choose_track()", "choose_track(rows=120)"),
    "07a_infer_pytorch.ipynb": ("choose_track()", "choose_track(rows=120)"),
    "09_todays_models.ipynb": ("choose_track(chat=True)", "choose_track(chat=True, rows=48)"),
}
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium; without one the tests are skipped, but not in CI."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        message = (
            f"no Chromium here (none of {', '.join(NAMES)} on the PATH): install it by `apt-get install chromium`, or "
            "your system's own way, and run `make test-browser`"
        )
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=FLAGS)


@pytest.fixture(scope="package")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The server, on a copy of the notebooks: JupyterLab saves them as they run."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns("quick", "full", ".ipynb_checkpoints"))
    if "CLMKIT_WHOLE" not in os.environ:  # what is looked at is where things are drawn, not what was learned
        for name, rows in FEWER_ROWS.items():
            path, (all_rows, fewer) = folder / name, rows
            path.write_text(path.read_text(encoding="utf-8").replace(all_rows, fewer), encoding="utf-8")
    with serve_lab(folder) as running:
        yield running


@pytest.fixture(scope="package")
def screenshots() -> Path:
    folder = ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(browser: Browser, lab: Lab, screenshots: Path) -> Iterator[LabPage]:
    """JupyterLab, just opened; at the end its kernels are stopped, and what the page complained of is an error."""
    with browser.new_page(viewport=VIEWPORT) as tab:
        opened = LabPage(tab, lab, screenshots)
        yield opened
        opened.check_nothing_was_wrong()
    for session in lab.ask("sessions"):
        urlopen(Request(lab.url(f"api/sessions/{session['id']}"), method="DELETE"), timeout=10).close()
