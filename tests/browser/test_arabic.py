"""The Arabic notebooks in JupyterLab: prose from right to left, code from left to right, messages in Arabic.

Controls are found by their roles, as their labels are translated.
"""

import re
from typing import Any

from playwright.sync_api import Locator, expect
from transformers import PreTrainedTokenizerBase

from clmkit.kernels import KERNEL_NAMES
from clmkit.widgets.explorers import split_tokens
from tests.browser.lab_page import LabPage

MAIN = KERNEL_NAMES["main"]
ARABIC = re.compile(r"[\u0600-\u06ff]")

# The direction of every block of prose, on which side its first line of text begins, and the direction of all code.
MEASURE = """
panel => {
    panel.querySelectorAll('details').forEach(solution => solution.open = true);
    const direction = element => getComputedStyle(element).direction;
    const prose = [...panel.querySelectorAll('.jp-RenderedMarkdown :is(p, li, h1, h2, h3, h4, td, th, summary)')]
        .filter(block => /[\\u0600-\\u06ff]/.test(block.textContent) && block.checkVisibility());
    const gap = block => {
        const range = document.createRange();
        range.selectNodeContents(block);
        const style = getComputedStyle(block), box = block.getBoundingClientRect();
        const triangle = block.matches('summary') ? parseFloat(style.fontSize) : 0;
        const edge = box.right - parseFloat(style.paddingRight) - parseFloat(style.borderRightWidth) - triangle;
        return edge - Math.max(...[...range.getClientRects()].filter(rect => rect.width).map(rect => rect.right));
    };
    const code = [...panel.querySelectorAll('.jp-RenderedMarkdown code, .jp-RenderedMarkdown pre, .cm-content')];
    const about = element => ({text: element.textContent.slice(0, 60), direction: direction(element)});
    return {prose: prose.map(block => ({...about(block), gap: gap(block)})), code: code.map(about)};
}
"""


def check_directions(page: LabPage) -> None:
    """Every piece of prose runs from right to left and stands at the right, every piece of code runs the other way."""
    found: dict[str, list[dict[str, Any]]] = page.panel.evaluate(MEASURE)
    assert len(found["prose"]) > 20
    assert len(found["code"]) > 20
    assert not [block for block in found["prose"] if block["direction"] != "rtl" or abs(block["gap"]) > 3]
    assert not [code for code in found["code"] if code["direction"] != "ltr"]


def check_language(page: LabPage, code: str) -> None:
    """What clmkit prints of the track is Arabic, since the notebook lies in ``ar``."""
    printed = page.cell(code).locator('[data-mime-type="application/vnd.jupyter.stdout"]').first
    expect(printed).to_contain_text(ARABIC)
    expect(printed).to_contain_text("quick")
    expect(printed).not_to_contain_text("Track")


def look_at_prose(page: LabPage, name: str) -> None:
    """The beginning, with the title and the links, and the end, with its list, in both themes."""
    prose = page.panel.locator(".jp-RenderedMarkdown :is(h1, li, p)")
    for place, block in (("beginning", prose.first), ("end", prose.last)):
        for _ in page.in_both_themes(block, f"{name}_{place}"):
            expect(block).to_contain_text(ARABIC)


def output(cell: Locator) -> Locator:
    return cell.locator(".jp-Cell-outputArea")


def test_loading(page: LabPage) -> None:
    page.open("ar/02_load_eli5.ipynb", MAIN)
    page.run_all()
    check_directions(page)
    check_language(page, "choose_track()")
    assert len(page.pictures(page.cell("plot_counts"))) == 1
    look_at_prose(page, "ar_02_load_eli5")
    page.look_at(page.cell("load_eli5(track)"), "ar_02_load_eli5")


def test_typing_arabic_in_the_token_inspector(page: LabPage, tokenizer: PreTrainedTokenizerBase) -> None:
    page.open("ar/04_tokenize.ipynb", MAIN)
    page.run_all()
    check_directions(page)
    check_language(page, "choose_track()")
    cell = page.cell("inspect_tokens(")
    text = output(cell).get_by_role("textbox")
    cards = output(cell).locator("span:has(> small) > bdi")
    text.fill("")
    expect(cards).to_have_count(0)
    sentence = "لماذا السماء زرقاء؟"
    text.press_sequentially(sentence)
    expect(text).to_have_css("unicode-bidi", "plaintext")  # so that Arabic begins at the right
    expect(text).to_have_css("text-align", "start")
    tokens = split_tokens(tokenizer, sentence)
    expect(cards).to_have_text([token.text.replace(" ", "␣") for token in tokens])
    # Arabic is read from right to left, and so are its tokens.
    first, second = (card["x"] for card in map(Locator.bounding_box, cards.all()[:2]) if card)
    assert first > second
    page.check_keyboard(cell)
    look_at_prose(page, "ar_04_tokenize")
    page.look_at(page.cell("inspect_tokens("), "ar_04_tokenize")


def test_the_block_explorer(page: LabPage) -> None:
    page.open("ar/05_chunk.ipynb", MAIN)
    page.run_all()
    check_directions(page)
    check_language(page, "choose_track()")
    cell = page.cell("explore_blocks(")
    before = page.pictures(cell)
    expect(output(cell).get_by_text("256")).to_be_visible()
    size = output(cell).get_by_role("spinbutton")
    size.focus()
    size.press("ArrowUp")
    expect(output(cell).get_by_text("272")).to_be_visible()
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Space")
    expect(output(cell).get_by_role("checkbox")).to_be_checked()
    page.wait_until_idle()
    after = page.pictures(cell)
    assert len(before) == len(after) == 1
    assert before != after
    page.check_keyboard(cell)
    look_at_prose(page, "ar_05_chunk")
    page.look_at(page.cell("explore_blocks("), "ar_05_chunk")
