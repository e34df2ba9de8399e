"""Every page in Chromium: nothing fails, nothing is cut, everyone can read it, in both themes and directions."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from tools import site as build

LANGUAGES = build.languages()
WIDTHS = (1440, 768, 390)
LAYOUT = (Path(__file__).parent / "layout.js").read_text(encoding="utf-8")
SCREENSHOTS = build.ROOT / "build" / "screenshots"
WORDS = {"en": "perplexity", "ar": "حيره"}  # written without the sign and the ending that الحيرة has
PAGES = ["index.html", *(f"{language}/search.html?q={WORDS[language]}" for language in LANGUAGES)] + [
    f"{language}/{page}.html"
    for language in LANGUAGES
    for page in (
        "index",
        *(f"notebooks/{path.stem}" for path in build.notebooks(language)),
        *([*build.ENGLISH_PAGES, "genindex", *(f"api/{name}" for name in build.modules())] if language == "en" else []),
    )
]
ALIKE = {"en/api/chunking.html", "en/api/training.pytorch.html"}
# The reference's pages are of one make: two of them stand for the others, which are opened before a release.
EVERY_PAGE = [
    pytest.param(name, marks=[pytest.mark.long] if "/api/" in name and name not in ALIKE else []) for name in PAGES
]


Watched = tuple[Page, list[str]]


def _left(request: Request) -> bool:
    return request.failure == "net::ERR_ABORTED"


@contextmanager
def watched_page(browser: Browser, address: str) -> Iterator[Watched]:
    """A new page, and what goes wrong there: errors in the console, and what is asked of another host or fails."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
        # A page that is left before its icon has come aborts that request; nothing of it has failed.
        page.on("requestfailed", lambda request: _left(request) or wrong.append(f"{request.url} failed"))
        page.on("response", lambda response: wrong.append(response.url) if response.status >= 400 else None)
        yield page, wrong


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A new page that fails the test if something goes wrong there."""
    with watched_page(browser, address) as (page, wrong):
        yield page
        assert not wrong


@pytest.fixture(scope="module")
def opened(browser: Browser, address: str) -> Iterator[Watched]:
    with watched_page(browser, address) as watched:
        yield watched


@pytest.fixture
def same_page(opened: Watched) -> Iterator[Page]:
    """As ``page``, for tests that leave nothing behind: a new one would cost as much as all that they do."""
    page, wrong = opened
    page.goto("about:blank")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")
    wrong.clear()
    yield page
    assert not wrong


def serious(page: Page, *rules: str) -> list[str]:
    """What axe-core finds, by some or all of its rules, that keeps someone from reading or using the page."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_page_can_be_read_in_both_themes_at_every_width(same_page: Page, address: str, name: str) -> None:
    page = same_page
    # The first page leads on as soon as it is read, so its own load may never end.
    page.goto(address + name, wait_until="commit" if name == "index.html" else "load")
    if name == "index.html":
        page.wait_for_url("**/en/index.html")
    if "?" in name:
        expect(page.locator("#search-results ul.search li a").first).to_be_visible()
        page.wait_for_load_state("networkidle")  # each result's page is read for a summary
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert not serious(page)
    page.emulate_media(color_scheme="dark")
    assert not serious(page, "color-contrast")  # the one thing that differs
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert not page.evaluate(LAYOUT), width


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["index", "notebooks/04_tokenize", "notebooks/06a_train_pytorch"])
def test_screenshots_are_kept_to_look_at(page: Page, address: str, language: str, name: str) -> None:
    page.goto(f"{address}{language}/{name}.html")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            file = SCREENSHOTS / f"site-{language}-{Path(name).name}-{width}-{theme}.png"
            page.screenshot(path=file, full_page=True)
            assert file.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<p style="width: 3000px">wide</p>', "too wide for its frame"),
        ('<p style="width: 3em; overflow: hidden; white-space: nowrap">more than there is room for</p>', "cut: p"),
        ('<p style="position: relative; left: -40em">off the window</p>', "cut: p"),
        (
            '<div style="display: grid"><p style="grid-area: 1/1">a</p><p style="grid-area: 1/1">b</p></div>',
            "overlap: p",
        ),
        ('<pre style="width: 3em; overflow: auto">what can be scrolled is fine</pre>', None),
    ],
)
def test_the_check_of_the_layout_finds_what_can_t_be_read(page: Page, address: str, html: str, found: str) -> None:
    page.set_viewport_size({"width": 768, "height": 900})
    page.goto(f"{address}en/notebooks/01_login.html")
    page.locator("article").evaluate("(article, html) => article.insertAdjacentHTML('beforeend', html)", html)
    assert any(line.startswith(found) for line in page.evaluate(LAYOUT)) if found else not page.evaluate(LAYOUT)


def test_the_check_by_axe_finds_grey_on_grey(page: Page, address: str) -> None:
    page.goto(f"{address}en/notebooks/01_login.html")
    page.locator("article p").first.evaluate("paragraph => { paragraph.style.color = '#ccc'; }")
    assert any(line.startswith("color-contrast") for line in serious(page, "color-contrast"))


rtl = pytest.mark.skipif("ar" not in LANGUAGES, reason="there is no Arabic edition of the notebooks here")


@rtl
def test_arabic_runs_from_right_to_left_and_code_from_left_to_right(page: Page, address: str) -> None:
    page.goto(f"{address}ar/notebooks/04_tokenize.html")
    sidebar, article = page.locator(".sidebar-drawer"), page.locator("article")
    assert sidebar.bounding_box()["x"] > article.bounding_box()["x"]
    assert page.locator(".toc-drawer").bounding_box()["x"] < article.bounding_box()["x"]
    for box in page.locator("article p, article li, article h1, article h2, article td").all():
        if not box.evaluate("element => element.closest('.cell_output')"):
            style = box.evaluate(
                "({...getComputedStyle(arguments[0])})" if False else "e => getComputedStyle(e).direction"
            )
            assert style == "rtl"
    for code in page.locator("article code").all():
        assert code.evaluate("e => [getComputedStyle(e).direction, getComputedStyle(e).unicodeBidi]") == [
            "ltr",
            "isolate",
        ]
    for block in page.locator("article pre").all():
        assert block.evaluate("e => [getComputedStyle(e).direction, getComputedStyle(e).textAlign]") == ["ltr", "left"]


@rtl
def test_arabic_tables_lists_and_admonitions_begin_on_the_right(page: Page, address: str) -> None:
    page.goto(f"{address}ar/index.html")
    row = page.locator("table tbody tr").first.locator("td")
    assert row.nth(0).bounding_box()["x"] > row.nth(1).bounding_box()["x"]
    note = '<div class="admonition note"><p class="admonition-title">ملاحظة</p><ul><li>بند</li></ul></div>'
    page.locator("article").evaluate("(article, html) => article.insertAdjacentHTML('beforeend', html)", note)
    widths = page.locator(".admonition").evaluate(
        "e => [getComputedStyle(e).borderLeftWidth, getComputedStyle(e).borderRightWidth]"
    )
    assert float(widths[0].removesuffix("px")) == 0 < float(widths[1].removesuffix("px"))
    title = ".admonition-title"
    icon = "e => [getComputedStyle(e, '::before').left, getComputedStyle(e, '::before').right].map(parseFloat)"
    left, right = page.locator(title).evaluate(icon)
    assert right < left
    assert page.locator(".admonition ul").evaluate("e => parseFloat(getComputedStyle(e).paddingRight)") > 0


@rtl
def test_a_module_s_name_in_an_arabic_sentence_keeps_its_order(page: Page, address: str) -> None:
    page.goto(f"{address}ar/index.html")
    text = '<p id="probe">الوحدة <code>a.b</code>، ثم <code>x = [1]</code>.</p>'
    page.locator("article").evaluate("(article, html) => article.insertAdjacentHTML('beforeend', html)", text)
    first, second = page.locator("#probe code").all()
    assert first.bounding_box()["x"] > second.bounding_box()["x"]
    places = second.evaluate(
        """code => [...code.firstChild.data].map((_, at) => {
            const range = document.createRange();
            range.setStart(code.firstChild, at);
            range.setEnd(code.firstChild, at + 1);
            return range.getBoundingClientRect().left;
        })"""
    )
    assert places == sorted(places)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_of_a_page_is_found(page: Page, address: str, language: str) -> None:
    page.goto(f"{address}{language}/notebooks/01_login.html")
    box = page.locator(".sidebar-search")
    box.fill(WORDS[language])
    box.press("Enter")
    results = page.locator("#search-results ul.search li a")
    expect(results.and_(page.locator("[href*='06a_train_pytorch']")).first).to_be_visible()
    expect(page.locator("#search-results")).not_to_contain_text("Searching")
    if language == "ar":
        expect(page.locator("#search-results p").first).to_contain_text("انتهى البحث")
    page.wait_for_load_state("networkidle")  # else the click ends the reading of the summaries, which counts as failed
    results.first.click()
    expect(page.locator("article h1")).to_be_visible()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_theme_can_be_switched_and_stays(page: Page, address: str, language: str) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(f"{address}{language}/index.html")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator(".theme-toggle-content button").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.goto(f"{address}{language}/notebooks/02_load_eli5.html")
    assert page.locator("body").get_attribute("data-theme") == "dark"


@pytest.mark.parametrize("language", LANGUAGES)
def test_on_a_phone_the_list_of_pages_opens_inside_the_window(page: Page, address: str, language: str) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{address}{language}/notebooks/02_load_eli5.html")
    drawer = page.locator(".sidebar-drawer")
    assert not -1 < drawer.bounding_box()["x"] < 390
    page.locator("label.nav-overlay-icon").click()
    drawer.evaluate("element => Promise.all(element.getAnimations().map(sliding => sliding.finished))")
    box = drawer.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert (box["x"] > 100) is (language == "ar")
    page.locator(".sidebar-tree a", has_text=re.compile(r"^3\.")).click()
    page.wait_for_url("**/03_flatten.html")


@pytest.mark.parametrize(("wanted", "chosen"), [("ar-EG", "ar"), ("en-GB", "en"), ("fr-FR", "en")])
def test_the_first_page_goes_to_the_reader_s_language(browser: Browser, address: str, wanted: str, chosen: str) -> None:
    if chosen not in LANGUAGES:
        pytest.skip("there is no Arabic edition of the notebooks here")
    with browser.new_context(locale=wanted) as context:
        page = context.new_page()
        page.goto(address)
        page.wait_for_url(f"**/{chosen}/index.html")


def test_the_site_works_from_the_disk_too(browser: Browser, site: Path) -> None:
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto(f"{(site / 'en' / 'search.html').as_uri()}?q=perplexity")
        expect(page.locator("#search-results ul.search li a").first).to_be_visible()
        page.goto((site / "en" / "notebooks" / "05_chunk.html").as_uri())
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
