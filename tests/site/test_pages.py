"""What can be told of the site's files: they hold what the notebooks hold, and every link leads somewhere."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from babel.messages.pofile import read_po
from bs4 import BeautifulSoup

from tests.site.offline import offline
from tools import site as build
from tools.site_search import plain
from tools.words import count_words

LANGUAGES = build.languages()
TRANSLATIONS = LANGUAGES[1:]


@cache
def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_page_is_there_in_every_language(site: Path) -> None:
    for language in LANGUAGES:
        names = {path.stem for path in (site / language / "notebooks").glob("*.html")}
        assert names == {path.stem for path in build.notebooks(language)}
        assert len(names) >= 10
    assert {path.stem for path in (site / "en" / "api").glob("*.html")} == {"index", *build.modules()}
    for page in build.ENGLISH_PAGES:
        assert (site / "en" / f"{page}.html").exists()


def test_every_link_and_anchor_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    broken = []
    for path in pages(site):
        for element in parsed(path).find_all(["a", "img", "link", "script", "source", "use", "iframe", "form"]):
            for attribute in ("href", "src", "action"):
                target = element.get(attribute)
                if target is None:
                    continue
                where = f"{path.relative_to(site)}: {target}"
                if re.match(r"https?:|//|mailto:", target):
                    if element.name != "a":
                        broken.append(f"{where} is loaded from elsewhere")
                    continue
                file, anchor = urldefrag(unquote(target.split("?")[0]))
                linked = (path.parent / file).resolve() if file else path
                if not linked.is_file():
                    broken.append(f"{where} does not exist")
                elif anchor and linked.suffix == ".html" and not parsed(linked).find(id=anchor):
                    broken.append(f"{where} has no such anchor")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_hold_the_stored_outputs_and_the_texts_of_the_pictures(site: Path, language: str) -> None:
    for path in build.notebooks(language):
        page = parsed(site / language / "notebooks" / f"{path.stem}.html")
        text = page.get_text()
        alternatives = [image.get("alt", "") for image in page.find_all("img")]
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if output.output_type == "stream":
                    assert output.text.strip() in text, path.name
                if "image/png" in output.get("data", {}):
                    assert output.metadata["image/png"]["alt"] in alternatives, path.name
        assert all(alternatives), path.name
        assert "<span" not in page.title.get_text() + page.select_one(".sidebar-tree").get_text(), path.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notebook_to_download_is_the_notebook(site: Path, language: str) -> None:
    for path in build.notebooks(language):
        page = parsed(site / language / "notebooks" / f"{path.stem}.html")
        link = page.select_one("nav.run a[download]")["href"]
        assert (site / language / "notebooks" / link).read_bytes() == path.read_bytes()
        where = path.relative_to(build.ROOT).as_posix()
        links = [a["href"] for a in page.select("nav.run a")]
        assert f"{build.COLAB}{where}" in links
        assert f"{build.LAB}{where.removeprefix('notebooks/')}" in links


def test_the_switch_keeps_the_page_in_both_directions(site: Path) -> None:
    for path in pages(site):
        if path.parent == site:
            continue
        language = path.relative_to(site).parts[0]
        links = {a["hreflang"]: (path.parent / a["href"]).resolve() for a in parsed(path).select("nav.languages a")}
        assert set(links) == set(LANGUAGES) - {language}
        for other, linked in links.items():
            same = site / other / path.relative_to(site / language)
            assert linked == (same if same.exists() else site / other / "index.html").resolve(), path
            assert linked.is_file()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_names_its_language_and_direction(site: Path, language: str) -> None:
    for path in pages(site / language):
        root = parsed(path).html
        assert root["lang"] == language
        assert root["dir"] == ("rtl" if language == "ar" else "ltr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_notebook_says_how_long_it_takes_to_read(site: Path, language: str) -> None:
    for path in build.notebooks(language):
        shown = parsed(site / language / "notebooks" / f"{path.stem}.html").select_one("nav.run").get_text()
        minutes = int(re.search(r": (\d+)", shown)[1])
        words = count_words(path.read_text(encoding="utf-8"))
        assert 200 * (minutes - 1) < words <= 200 * minutes
        assert 1 < minutes < 15


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_every_label_is_translated(site: Path, language: str) -> None:
    with (build.SITE / "locale" / language / "LC_MESSAGES" / "sphinx.po").open("rb") as file:
        for message in read_po(file, language):
            assert all(message.string), message.id
            assert not message.fuzzy, message.id
    if language != "ar":
        return
    for path in pages(site / language):
        page = parsed(path)
        labels = [
            element[name] for name in ("aria-label", "title") for element in page.body.find_all(attrs={name: True})
        ]
        labels += [
            element.get_text() for element in page.select("nav.run, nav.steps span, .toc-title, title, .caption")
        ]
        assert not [label for label in labels if not re.search("[\u0621-\u064a]", label)], path


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_the_first_pages_link_to_the_same(language: str) -> None:
    texts = [(build.SITE / f"index.{code}.md").read_text(encoding="utf-8") for code in (build.SOURCE, language)]
    headings = [re.findall(r"^#+ ", text, flags=re.MULTILINE) for text in texts]
    links = [re.findall(r"\]\(([^)]+)\)", text) for text in texts]
    code = [set(re.findall(r"`[^`\n]+`", text)) for text in texts]
    assert headings[0] == headings[1]
    assert links[0] == links[1]
    assert code[0] == code[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_of_the_project_comes_without_direction_and_with_links_that_lead_beside_it(language: str) -> None:
    text = build.prepare_page(build.ROOT / "README.md", language)
    assert text.startswith("# ")
    assert "<div" not in text
    assert build.page_links(build.ROOT / "README.md", language) not in text
    assert "](notebooks/01_login.ipynb)" in text
    assert f"{build.COLAB}{build.notebook_path('notebooks/01_login', language)})" in text


def test_the_map_names_the_modules_that_the_cells_import(site: Path) -> None:
    rows = {row.a["href"]: row for row in parsed(site / "en" / "index.html").select("table tbody tr")}
    chunk = [link["href"] for link in rows["notebooks/05_chunk.html"].find_all("a")]
    assert "api/chunking.html" in chunk
    assert len(rows) == len(build.notebooks("en"))
    users = {a["href"] for a in parsed(site / "en" / "api" / "chunking.html").select("article a.reference")}
    assert "../notebooks/05_chunk.html" in users


def test_the_reference_has_every_public_function_with_its_arguments_and_errors(site: Path) -> None:
    for name, path in build.modules().items():
        page = parsed(site / "en" / "api" / f"{name}.html")
        code = path.read_text(encoding="utf-8")
        for function in re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", code, flags=re.MULTILINE):
            assert page.find(id=f"clmkit.{name}.{function}"), f"{name}.{function}"
    chunk = parsed(site / "en" / "api" / "chunking.html").find(id="clmkit.chunking.chunk").parent.get_text()
    assert "block_size" in chunk
    assert "Raises" in chunk
    assert "ValueError" in chunk


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notebook_leads_once_to_each_entry_of_the_glossary(site: Path, language: str) -> None:
    entries = {heading.parent["id"] for heading in parsed(site / language / "GLOSSARY.html").select("section h3")}
    used = set()
    for path in build.notebooks(language):
        page = parsed(site / language / "notebooks" / f"{path.stem}.html")
        links = [unquote(a["href"]) for a in page.select("article a") if "/GLOSSARY.html#" in a["href"]]
        assert len(links) == len(set(links)) >= 4, path.name
        used |= {link.partition("#")[2] for link in links}
        assert not page.select("article :is(pre, code, h1, h2, h3, h4, a a) a[href*=GLOSSARY]")
        assert not re.search(r"\*\*|\]\(", "".join(p.get_text() for p in page.select("article p"))), path.name
    assert used <= entries
    assert len(used) >= 90


def test_each_of_two_pictures_in_a_cell_keeps_its_text() -> None:
    pictures = [
        nbformat.v4.new_output("display_data", {"image/png": ""}, metadata={"image/png": {"alt": text}})
        for text in ("one", "another")
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot()", outputs=pictures)])
    build.prepare_notebook(notebook, "x")
    first, second = notebook.cells
    assert (first.source, first.outputs, first.metadata.mystnb.image.alt) == ("plot()", pictures[:1], "one")
    assert (second.source, second.outputs, second.metadata.mystnb.image.alt) == ("pass", pictures[1:], "another")
    assert "remove-input" in second.metadata.tags


def test_a_language_without_a_first_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.xx\.md: translate"):
        build.lay_out("xx", tmp_path / "xx")


def test_left_becomes_the_side_where_lines_begin() -> None:
    css = (
        "a{margin-left:1px;left:0;float:right;border-top-left-radius:1px}"
        "b{padding:0;text-align:left;transition:left 1s}"
    )
    assert build.mirrored(css) == (
        "a{margin-inline-start:1px;inset-inline-start:0;float:inline-end;border-start-start-radius:1px}"
        "b{padding:0;text-align:start;transition:inset-inline-start 1s}"
    )


def test_arabic_is_found_with_and_without_vowel_signs() -> None:
    assert plain("مُجزِّئ الأسئلة") == plain("مجزّئ الاسئله")


@pytest.mark.parametrize(
    "code",
    [
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'ipykernel_launcher', '--help'])",
    ],
    ids=["network", "kernel"],
)
def test_the_site_was_built_where_network_and_kernels_are_out_of_reach(tmp_path: Path, code: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", code], env=offline(tmp_path), capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "no network and no kernel is needed" in run.stderr
