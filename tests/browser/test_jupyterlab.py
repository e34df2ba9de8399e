"""The course in JupyterLab, as a learner has it: opened, run, touched, looked at."""

import json
import os
import re

import pytest
from playwright.sync_api import expect
from transformers import PreTrainedTokenizerBase

from clmkit.kernels import KERAS_KERNEL, KERNEL_NAMES
from tests.browser.lab_page import MINUTES, VIEWPORT, LabPage
from tests.lab import ROOT, Lab

MAIN = KERNEL_NAMES["main"]


def test_every_notebook_opens_with_the_kernel_it_was_written_for(page: LabPage) -> None:
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        keras = json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == KERAS_KERNEL
        assert keras == (path.name in ("06b_train_keras.ipynb", "07b_infer_keras.ipynb"))
        if not (keras and os.environ.get("CLMKIT_KERAS") == "0"):
            page.open(path.name, KERNEL_NAMES["keras"] if keras else MAIN)
    page.shoot("opened")


def test_loading(page: LabPage) -> None:
    page.open("02_load_eli5.ipynb", MAIN)
    page.run_all()
    assert len(page.pictures(page.cell("plot_counts"))) == 1
    page.look_at(page.cell("plot_counts"), "02_load_eli5")


def test_flattening_draws_a_progress_bar(page: LabPage) -> None:
    page.open("03_flatten.ipynb", MAIN)
    page.run_all()
    cell = page.cell("def join_texts")
    expect(cell.locator(".widget-hprogress").first).to_be_visible()
    expect(cell.get_by_text("100%").first).to_be_visible()
    page.shoot("03_flatten")


def test_typing_in_the_token_inspector(page: LabPage, tokenizer: PreTrainedTokenizerBase) -> None:
    page.open("04_tokenize.ipynb", MAIN)
    page.run_all()
    cell = page.cell("inspect_tokens(")
    text = cell.get_by_role("textbox", name="Text")
    shown = tokenizer("The sky is blue. السماء 🙂<|endoftext|>")["input_ids"]
    expect(cell.get_by_text(f"{len(shown)} tokens")).to_be_visible()
    text.fill("")
    expect(cell.get_by_text("0 characters, 0 bytes, 0 tokens")).to_be_visible()
    text.press_sequentially("Hi 🙂!")
    expect(cell.get_by_text("5 characters, 8 bytes")).to_be_visible()
    expect(cell.get_by_text("!", exact=True)).to_be_visible()
    text.fill("اشرح <b>for</b> i<|endoftext|>")
    expect(cell.get_by_text("<|endoftext|>", exact=True)).to_be_visible()
    page.check_keyboard(cell)
    page.look_at(cell, "04_tokenize")
    assert len(page.pictures(page.cell("plot_lengths"))) == 1


def test_moving_the_block_size(page: LabPage) -> None:
    page.open("05_chunk.ipynb", MAIN)
    page.run_all()
    cell = page.cell("explore_blocks(")
    before = page.pictures(cell)
    size = cell.get_by_label("block_size")
    expect(cell.get_by_text(re.compile("blocks of 256, "))).to_be_visible()
    size.focus()
    size.press("ArrowUp")
    expect(cell.get_by_text(re.compile("blocks of 272, "))).to_be_visible()
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Space")
    expect(cell.get_by_role("checkbox", name="end each document with eos_token")).to_be_checked()
    expect(cell.get_by_text(re.compile("blocks of 272, "))).to_be_visible()
    page.wait_until_idle()
    after = page.pictures(cell)
    assert len(before) == len(after) == 1
    assert before != after
    page.check_keyboard(cell)
    page.look_at(cell, "05_chunk")


def test_training_is_drawn_while_it_goes_on(page: LabPage, lab: Lab) -> None:
    page.open("06a_train_pytorch.ipynb", MAIN)
    page.start_all()
    cell = page.cell("trainer.train()")
    picture = cell.locator(".jp-RenderedImage img")
    expect(picture).to_be_attached(timeout=8 * MINUTES)
    first = picture.get_attribute("src")
    expect(cell.locator(".jp-InputArea-prompt")).to_have_text("[*]:")  # it is still at it
    page.shoot("06a_train_pytorch_while_it_trains")
    expect(picture).not_to_have_attribute("src", str(first), timeout=3 * MINUTES)
    page.wait_for_the_end()
    assert len(page.pictures(cell)) == 1
    page.look_at(page.cell("trainer.train()"), "06a_train_pytorch")
    # JupyterLab shows no alternative text, but saves it; it begins with the picture's title.
    page.choose("File", "Save Notebook")
    expect(page.page.locator(".lm-TabBar-tab.lm-mod-current.jp-mod-dirty")).not_to_be_attached()
    notebook = lab.ask("contents/06a_train_pytorch.ipynb")["content"]
    outputs = next(cell["outputs"] for cell in notebook["cells"] if "trainer.train()" in cell["source"])
    (picture_text,) = (
        output["metadata"]["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})
    )
    assert re.match(r"Step (\d+) of \1, [\d,]+ tokens/s, [\d,]+ s in all\. ", picture_text)


def test_generating_in_the_playground(page: LabPage) -> None:
    page.open("07a_infer_pytorch.ipynb", MAIN)
    page.run_all()
    cell = page.cell("open_playground(")
    playground = cell.locator(".clmkit-playground")
    texts = playground.locator(".clmkit-text")
    status, generate = playground.get_by_role("status"), playground.get_by_role("button", name="Generate")
    assert texts.count() == 2

    # The README's picture: CONTRIBUTING.md says how to take it over.
    generate.click()
    expect(status).to_have_text("Done", timeout=MINUTES)
    page.page.set_viewport_size({"width": 1640, "height": 1300})
    playground.screenshot(path=page.screenshots / "playground.png")
    page.page.set_viewport_size(VIEWPORT)

    playground.get_by_label("Prompt").fill("The sea is")
    playground.get_by_label("max_new_tokens").fill("40")
    page.wait_until_idle()
    generate.click()
    expect(texts.first).to_contain_text("The sea is", timeout=MINUTES)  # until then the status is the last text's
    expect(status).to_have_text("Done", timeout=MINUTES)
    first = texts.all_text_contents()
    assert first[0] != first[1]
    assert all("The sea is" in text and len(text) > 60 for text in first)

    # Another seed, another text; the same again, the same.
    playground.get_by_label("seed").fill("7")
    page.wait_until_idle()
    generate.click()
    expect(texts.first).not_to_have_text(first[0])
    expect(status).to_have_text("Done", timeout=MINUTES)
    assert all(one != other for one, other in zip(first, texts.all_text_contents(), strict=True))
    playground.get_by_label("seed").fill("42")
    page.wait_until_idle()
    generate.click()
    expect(texts).to_have_text(first, timeout=MINUTES)

    # What an argument cuts off is seen at once, without generating.
    tables = playground.get_by_role("table")
    before = tables.all_inner_texts()
    top_k = playground.get_by_label("top_k")
    top_k.fill("4")
    top_k.press("ArrowDown")
    expect(tables.first).to_contain_text("3 left")
    assert tables.all_inner_texts() != before

    # A text is seen growing, and stopped it ends early.
    playground.get_by_label("Prompt").fill("Long ago")
    # Among all tokens, nearly alike, the one that ends a text is seldom drawn: there is time to press Stop.
    for argument, value in {"temperature": "3", "top_k": "0", "top_p": "1", "max_new_tokens": "400"}.items():
        playground.get_by_label(argument).fill(value)
    page.wait_until_idle()
    page.scroll_to(texts.first)
    generate.click()
    expect(texts.first).to_contain_text(re.compile(r"Long ago.{20}", re.DOTALL), timeout=MINUTES)
    seen = texts.first.inner_text()
    expect(texts.first).not_to_have_text(re.compile(re.escape(seen[-20:]) + "$"), timeout=MINUTES)
    page.shoot("07a_infer_pytorch_while_it_generates")
    playground.get_by_role("button", name="Stop").click()
    expect(status).to_have_text("Stopped", timeout=MINUTES)
    ended = texts.all_inner_texts()
    assert len(seen) < len(ended[0])
    # The second had not begun, or where taking the picture took long, is as little done.
    assert "Long ago" not in ended[1] or len(ended[1]) < len(ended[0])
    page.page.wait_for_timeout(1000)
    assert texts.all_inner_texts() == ended

    page.check_keyboard(cell)
    page.look_at(cell, "07a_infer_pytorch")
    page.cell("plot_next_tokens")
    page.shoot("07a_infer_pytorch_next_tokens")


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_asking_in_the_chat(page: LabPage) -> None:
    page.open("09_todays_models.ipynb", MAIN)
    page.run_all()
    cell = page.cell("open_chat(")
    chat = cell.locator(".clmkit-chat")
    texts, status = chat.locator("[aria-live]"), chat.get_by_role("status")
    chat.get_by_label("Question").fill("Why do cats purr?")
    chat.get_by_role("button", name="Ask").click()
    expect(status).to_have_text("Answering")
    expect(texts.first).to_have_text(re.compile(r"\w+ \w+"), timeout=MINUTES)
    expect(status).to_have_text("Done", timeout=3 * MINUTES)
    before, after = texts.all_text_contents()
    assert before != after
    assert min(len(before), len(after)) > 20
    page.check_keyboard(cell)
    page.look_at(cell, "09_todays_models")
