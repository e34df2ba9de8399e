"""What a learner does in JupyterLab, and what an assistive program would find there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, Route, ViewportSize, expect

from tests.kernels import ROOT
from tests.lab import Lab

VIEWPORT: ViewportSize = {"width": 1280, "height": 1000}
MINUTES = 60_000.0  # Playwright counts milliseconds
BADGE = "https://colab.research.google.com/"
BADGE_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="117" height="20"><rect width="117" height="20" fill="#555"/></svg>'
)
CONTROLS = "input, textarea, select, button, [role=slider], [contenteditable=true]"
# Of axe's rules those about what the course itself puts on the page.
RULES = ["aria-input-field-name", "aria-toggle-field-name", "button-name", "color-contrast", "label", "select-name"]


class LabPage:
    """A page of JupyterLab in which at most one notebook is on top."""

    def __init__(self, page: Page, lab: Lab, screenshots: Path) -> None:
        self.page, self.screenshots = page, screenshots
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.route(lambda url: not url.startswith(lab.url("").split("?")[0]), self._outside)
        no_news = page.get_by_role("button", name="No", exact=True)  # "... get notified about official Jupyter news?"
        page.add_locator_handler(no_news, lambda: no_news.click())
        page.goto(lab.url() + "&reset")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def _outside(self, route: Route) -> None:
        """No network: the badge is answered here, so that its absence is no complaint, and all else is one."""
        if route.request.url.startswith(BADGE):
            route.fulfill(content_type="image/svg+xml", body=BADGE_PICTURE)
        else:
            self.complaints.append(f"asked for {route.request.url}")
            route.abort()

    def check_nothing_was_wrong(self) -> None:
        assert not self.complaints, "\n".join(self.complaints)

    @property
    def panel(self) -> Locator:
        """The notebook on top."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def open(self, name: str, kernel: str) -> None:
        """Open a notebook from the list of files, from a folder if there is one in its name; its kernel is right."""
        cells = json.loads((ROOT / "notebooks" / name).read_text())["cells"]
        self.code_cells = sum(cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) for cell in cells)
        *folders, name = name.split("/")
        for folder in folders:
            item = self.page.locator(".jp-DirListing-item").filter(has=self.page.get_by_text(folder, exact=True))
            item.dblclick()
            expect(item).not_to_be_attached()  # else the second click may meet what stood there before
        self.page.get_by_role("listitem", name=name).dblclick()
        expect(self.page.locator(".lm-TabBar-tab.lm-mod-current").get_by_text(name)).to_be_visible()
        expect(self.panel.locator(".jp-Toolbar-kernelName")).to_have_text(kernel)

    def choose(self, *path: str) -> None:
        """Choose from the menu bar."""
        self.page.get_by_role("menubar").get_by_text(path[0], exact=True).click()
        for label in path[1:-1]:
            self.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).hover()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(path[-1], exact=True).click()

    def wait_until_idle(self) -> None:
        expect(self.panel.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute(
            "data-status", "idle", timeout=MINUTES
        )

    @property
    def prompts(self) -> Locator:
        """The numbers beside the cells that have code, and the star beside one that waits."""
        cells = self.panel.locator(".jp-CodeCell").filter(has=self.page.locator(".cm-line", has_text=re.compile(r"\S")))
        return cells.locator(".jp-InputArea-prompt")

    def start_all(self) -> None:
        """Clear what the file holds, so that all that is seen is new, and run all cells."""
        self.wait_until_idle()
        self.choose("Edit", "Clear Outputs of All Cells")
        self.choose("Run", "Run All Cells")
        begun = self.prompts.first.filter(has_text=re.compile(r"\[[\d*]+\]:"))
        try:
            expect(begun).to_be_attached()
        except AssertionError:
            # Seen once, on a busy machine: nothing had begun eight minutes after the click. A learner clicks again.
            print("JupyterLab began nothing when told to run all cells, and is told again")
            self.choose("Run", "Run All Cells")
            expect(begun).to_be_attached()

    def run_all(self) -> None:
        """Run all cells and see that every one ends well and says nothing on stderr."""
        self.start_all()
        self.wait_for_the_end()

    def wait_for_the_end(self) -> None:
        failed = self.panel.locator('[data-mime-type="application/vnd.jupyter.error"]')
        number = re.compile(r"\[\d+\]:")
        ended = self.prompts.filter(has_text=number)
        expect(failed.or_(ended.nth(self.code_cells - 1)).first).to_be_attached(timeout=8 * MINUTES)
        assert not failed.all_inner_texts()
        # Counted in the file: JupyterLab builds a long notebook's last cells only after it has shown the first.
        expect(self.prompts).to_have_text([number] * self.code_cells)
        self.wait_until_idle()
        assert not self.panel.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()

    def cell(self, code: str) -> Locator:
        """The cell whose code has this in it, scrolled into view."""
        found = self.panel.locator(".jp-CodeCell").filter(has=self.page.locator(".cm-content", has_text=code)).first
        found.scroll_into_view_if_needed()
        return found

    def pictures(self, within: Locator) -> list[str]:
        """The addresses of the pictures that are drawn, none of them broken."""
        pictures = within.locator(".jp-RenderedImage img")
        assert pictures.evaluate_all("found => found.every(img => img.complete && img.naturalWidth > 100)")
        return [str(source) for source in pictures.evaluate_all("found => found.map(img => img.src)")]

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def scroll_to(self, target: Locator) -> None:
        """Again and again, for what comes near gets its height only then, and pushes the target away."""
        for _ in range(5):
            target.scroll_into_view_if_needed()
            self.page.wait_for_timeout(100)
        expect(target).to_be_in_viewport()

    def in_both_themes(self, target: Locator, name: str) -> Iterator[None]:
        """Choose one theme and then the other, and take a screenshot of each that shows the target."""
        for theme, is_light in (("Dark", "false"), ("Light", "true")):
            self.choose("Settings", "Theme", f"JupyterLab {theme}")
            expect(self.page.locator(f'body[data-jp-theme-light="{is_light}"]')).to_be_attached()
            expect(self.page.locator("#jupyterlab-splash")).not_to_be_attached()
            self.scroll_to(target)
            self.shoot(f"{name}_{theme.lower()}")
            yield

    def look_at(self, cell: Locator, name: str) -> None:
        """Look at a cell's output in both themes, and as people with other colour vision do; contrast is measured."""
        for _ in self.in_both_themes(cell.locator(".jp-Cell-outputArea"), name):
            self.check_with_axe(cell)
        devtools = self.page.context.new_cdp_session(self.page)
        for vision in ("achromatopsia", "deuteranopia", "none"):
            devtools.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
            if vision != "none":
                self.shoot(f"{name}_{vision}")

    def check_with_axe(self, cell: Locator) -> None:
        """Every control has a name, and every text enough contrast."""
        cell.evaluate("element => element.setAttribute('data-under-test', '')")
        options: dict[str, Any] = {"runOnly": RULES, "resultTypes": ["violations", "passes"]}
        result = Axe().run(self.page, "[data-under-test] .jp-Cell-outputArea", options)
        cell.evaluate("element => element.removeAttribute('data-under-test')")
        assert result.violations_count == 0, result.generate_report()
        if cell.locator(".jp-Cell-outputArea").locator(CONTROLS).count():
            assert "color-contrast" in {rule["id"] for rule in result.response["passes"]}, "axe saw no text"

    def check_keyboard(self, cell: Locator) -> None:
        """Tab reaches every control of a cell's output, one after the other."""
        controls = cell.locator(".jp-Cell-outputArea").locator(CONTROLS)
        controls.first.focus()
        for number in range(controls.count()):
            expect(controls.nth(number)).to_be_focused()
            self.page.keyboard.press("Tab")
