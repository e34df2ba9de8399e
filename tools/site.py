"""Build the course as a static site from the outputs that the notebooks hold: build/site.

    python -m tools.site

Each language is a Sphinx build of its own, from sources that are laid out as the project is, so that links between its
files lead where they do in the project. Nothing is executed, and nothing is fetched.
"""

import json
import math
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from babel import Locale
from babel.messages.pofile import read_po

from tools import translate
from tools.site_api import api_page, heading, summary
from tools.site_glossary import link_terms
from tools.translate import SOURCE, own_name
from tools.words import count_words

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
OUTPUT = ROOT / "build" / "site"

REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
COLAB = REPOSITORY.replace("https://github.com", "https://colab.research.google.com/github") + "/blob/main/"
LAB = "http://localhost:8888/lab/tree/"  # where `make lab` serves the notebooks

# Pages of the project; what has no translation beside it (README.ar.md) is English in every language.
ENGLISH_PAGES = {
    "README": "About the course",
    "MACHINES": "Your machine, your texts, your model",
    "UNATTENDED": "Training without a notebook",
    "SHARING": "Sharing a model",
    "GUIDE": "The guide and this course",
    "TROUBLESHOOTING": "When something does not work",
    "GLOSSARY": "Glossary",
    "api/index": "API reference",
    "benchmarks/README": "Benchmarks",
    "benchmarks/hub_faults": "What a failing Hub costs",
    "benchmarks/LOG": "What was tried",
    "clmkit/bundled/README": "What comes with clmkit",
    "CONTRIBUTING": "Changing the course",
}

BADGE = re.compile(r"\[!\[[^]]*\]\([^)]*\)\]\(https://colab\.[^)]*\)\n*")
PAGE_LINK = re.compile(r"\[(?P<text>[^]]+)\]\((?P<target>[\w./-]+)\.(?:md|rst)(?P<anchor>#[^)]*)?\)")
IMPORTED = re.compile(r"^\s*(?:from|import) clmkit\.([\w.]+)", re.MULTILINE)


def languages() -> list[str]:
    """The codes of the languages that the notebooks are in, English first."""
    return [SOURCE, *translate.languages()]


def notebook_folder(language: str) -> Path:
    """Where a language's notebooks are."""
    return ROOT / "notebooks" / ("" if language == SOURCE else language)


def notebooks(language: str) -> list[Path]:
    """A language's notebooks, in the course's order."""
    return sorted(notebook_folder(language).glob("[0-9]*.ipynb"))


def notebook_path(page: str, language: str) -> str:
    """The path, in the project, of the notebook that a page of the site shows."""
    return (notebook_folder(language) / f"{Path(page).name}.ipynb").relative_to(ROOT).as_posix()


def minutes_to_read(notebook: Path) -> int:
    """How long reading a notebook takes at 200 words a minute, exercises included and code left out."""
    return math.ceil(count_words(notebook.read_text(encoding="utf-8")) / 200)


def translation(page: Path, language: str) -> Path:
    """The file of a page in a language, whether it is there or not: ``README.ar.md`` for ``README.md``."""
    return page if language == SOURCE else page.with_suffix(f".{language}{page.suffix}")


def page_links(page: Path, language: str) -> str:
    """The line that links a page of the project with its translations.

    Args:
        page: The English file.
        language: The language of the page on which the line stands.
    """
    there = [code for code in languages() if translation(page, code).exists()]
    entries = [
        own_name(code) if code == language else f"[{own_name(code)}]({translation(page, code).name})" for code in there
    ]
    return " · ".join(entries)


def prepare_page(page: Path, language: str) -> str:
    """The Markdown of a page of the project as the site takes it.

    The links to its translations and the marks of direction are left out, of which the site has its own, and links to
    notebooks and pages lead to those of the language, which lie beside the page under their English names.

    Args:
        page: The English file.
        language: The language to read it in.
    """
    text = translation(page, language).read_text(encoding="utf-8")
    links = page_links(page, language)
    text = "\n\n".join(part for part in text.split("\n\n") if part != links)
    if language == SOURCE:
        return text
    text = translate.without_direction(text.strip()).replace(f"](notebooks/{language}/", "](notebooks/")
    text = re.sub(rf"\]\(([\w/-]+)\.{language}\.md", r"](\1.md", text)
    return lead_to_english(text, page.relative_to(ROOT).with_suffix("").as_posix(), language)


def twin(page: str, language: str, other: str) -> str:
    """The link from a page to the same page in another language, or to that language's first page."""
    in_both = not page.startswith("api/") and page != "genindex"
    if page in ENGLISH_PAGES:
        in_both = all(translation(ROOT / f"{page}.md", code).exists() for code in (language, other))
    return "../" * (page.count("/") + 1) + f"{other}/{page if in_both else 'index'}.html"


def prepare_notebook(notebook: nbformat.NotebookNode, name: str, language: str = SOURCE) -> None:
    """Fit a notebook to the site.

    Args:
        notebook: It is changed: the badge and the links to twins are left out, which the site has its own of, and so
            are the marks of direction, which come from the style sheet. The first use of a term leads to the glossary.
            Pictures keep their texts.
        name: Its file's name, without the suffix.
        language: The language of its prose.

    """
    notebook.cells = [part for cell in notebook.cells for part in split_pictures(cell)]
    twins = translate.language_links(name, language, translate.languages())
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # which knows ! and %
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            paragraphs = BADGE.sub("", translate.without_direction(cell.source)).split("\n\n")
            prose = "\n\n".join(paragraph for paragraph in paragraphs if paragraph != twins)
            if language != SOURCE:
                prose = lead_to_english(prose.replace("](../../", "](../"), f"notebooks/{name}", language)
            cell.source = prose
        elif cell.cell_type == "code":
            for text in filter(None, map(picture_text, cell.outputs)):
                cell.metadata["mystnb"] = {"image": {"alt": text}}
    prosaic = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell, prose in zip(prosaic, link_terms([cell.source for cell in prosaic], name, language), strict=True):
        cell.source = prose


def split_pictures(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """A cell for each picture that a cell shows, since MyST-NB takes one text for all of a cell's pictures.

    All but the first show what came out after the picture before, and hide their code: MyST-NB passes over a cell that
    has none.
    """
    groups: list[list[nbformat.NotebookNode]] = [[]]
    for output in cell.get("outputs", []):
        if picture_text(output) and any(map(picture_text, groups[-1])):
            groups.append([])
        groups[-1].append(output)
    if len(groups) == 1:
        return [cell]
    hidden = {"tags": ["remove-input"]}
    more = [nbformat.v4.new_code_cell("pass", metadata=dict(hidden), outputs=group) for group in groups[1:]]
    cell.outputs = groups[0]
    return [cell, *more]


def picture_text(output: nbformat.NotebookNode) -> str:
    """The text that stands in for an output's picture; empty if it has none."""
    options = [options for options in output.get("metadata", {}).values() if isinstance(options, dict)]
    return str(next((option["alt"] for option in options if "alt" in option), ""))


def lead_to_english(prose: str, page: str, language: str) -> str:
    """Markdown whose links to pages that the language does not have lead to the English ones.

    Args:
        prose: With links as they are in the English project.
        page: The page's name on the site, as in ``notebooks/01_login``.
        language: The language of the page.
    """

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), match["target"]))
        if target not in ENGLISH_PAGES or translation(ROOT / f"{target}.md", language).exists():
            return match[0]
        up = "../" * (page.count("/") + 1)
        href = f"{up}{SOURCE}/{target}.html{match['anchor'] or ''}"
        return f'<a href="{href}" hreflang="{SOURCE}">{match["text"]}</a>'

    return PAGE_LINK.sub(link, prose)


def copy_linked_files(prose: str, page: str, source: Path) -> None:
    """Put the project's files that a page links to, and that are no pages, where Sphinx finds them for download."""
    for target in translate.LINK.findall(prose):
        name = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if (ROOT / name).is_file() and not (source / name).exists() and Path(name).suffix not in (".md", ".ipynb"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)


def lay_out(language: str, source: Path) -> None:
    """Write all that Sphinx reads for a language.

    Raises:
        FileNotFoundError: If the language has no first page.
    """
    index = SITE / f"index.{language}.md"
    if not index.exists():
        raise FileNotFoundError(f"no {index.relative_to(ROOT)}: translate site/index.{SOURCE}.md")
    (source / "notebooks").mkdir(parents=True)
    first_page = index.read_text(encoding="utf-8").replace("{{map}}", "\n".join(map_rows(language)))
    listed = [f"{title} <{page}>" for page, title in ENGLISH_PAGES.items()]
    if language != SOURCE:
        listed = [page for page in ENGLISH_PAGES if translation(ROOT / f"{page}.md", language).exists()]
    first_page = first_page.replace("{{pages}}", "\n".join(listed))
    if language != SOURCE:
        first_page = lead_to_english(first_page, "index", language)
    (source / "index.md").write_text(first_page, encoding="utf-8")
    copy_linked_files(first_page, "index", source)
    for path in notebooks(language):
        notebook = nbformat.read(path, as_version=4)
        prepare_notebook(notebook, path.stem, language)
        nbformat.write(notebook, source / "notebooks" / path.name)
        for cell in notebook.cells:
            copy_linked_files(cell.source if cell.cell_type == "markdown" else "", f"notebooks/{path.stem}", source)
    for page in ENGLISH_PAGES:
        path = translation(ROOT / f"{page}.md", language)
        if path.exists():
            (source / page).parent.mkdir(parents=True, exist_ok=True)
            text = prepare_page(ROOT / f"{page}.md", language)
            (source / f"{page}.md").write_text(text, encoding="utf-8")
            copy_linked_files(text, page, source)
    if language == SOURCE:
        write_api_pages(source / "api")
    else:
        write_catalog(language, source / "locale" / language / "LC_MESSAGES")


def modules() -> dict[str, Path]:
    """The files of clmkit's modules, by their names without ``clmkit.``."""
    paths = sorted((ROOT / "clmkit").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / "clmkit").with_suffix("").parts) for path in paths]
    return {name: path for name, path in zip(names, paths, strict=True) if not path.name.startswith("__")}


def used_modules(notebook: Path) -> list[str]:
    """The modules of clmkit that a notebook's cells import, in their order, without ``clmkit.``."""
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return list(dict.fromkeys(IMPORTED.findall(code)))


def map_rows(language: str) -> list[str]:
    """The rows of the map: each notebook, and the modules that it uses."""
    up = "" if language == SOURCE else f"../{SOURCE}/"
    rows = []
    for path in notebooks(language):
        links = [f'<a href="{up}api/{name}.html"><code>{name}</code></a>' for name in used_modules(path)]
        rows.append(f"| [](notebooks/{path.name}) | {' · '.join(links)} |")
    return rows


def write_api_pages(folder: Path) -> None:
    """Write a page for each module of clmkit, with the notebooks that use it, and one that lists them."""
    folder.mkdir()
    used = {path: used_modules(path) for path in notebooks(SOURCE)}
    names = modules()
    for name, path in names.items():
        users = [f":doc:`/notebooks/{notebook.stem}`" for notebook, uses in used.items() if name in uses]
        note = f"Used by {', '.join(users)}." if users else ""
        (folder / f"{name}.rst").write_text(api_page(f"clmkit.{name}", path, note), encoding="utf-8")
    listed = "\n".join(f":doc:`clmkit.{name} <{name}>`\n   {summary(path)}\n" for name, path in names.items())
    tree = "\n   ".join(f"clmkit.{name} <{name}>" for name in names)
    index = f"{heading('API reference')}\n{listed}\n\n.. toctree::\n   :hidden:\n\n   {tree}\n"
    (folder / "index.rst").write_text(index, encoding="utf-8")


def write_catalog(language: str, folder: Path) -> None:
    """Write a language's texts for buttons and labels, as Sphinx's templates and its search read them."""
    folder.mkdir(parents=True)
    name = Path(language) / "LC_MESSAGES" / "sphinx.po"
    shutil.copy(SITE / "locale" / name, folder)
    with (SITE / "locale" / name).open("rb") as file:
        catalog = read_po(file, language)
    texts = {message.id[0] if message.pluralizable else message.id: message.string for message in catalog if message.id}
    plural = str(catalog.plural_expr)
    script = json.dumps({"locale": language, "messages": texts, "plural_expr": plural}, ensure_ascii=False)
    (folder / "sphinx.js").write_text(f"Documentation.addTranslations({script});\n", encoding="utf-8")


def run_sphinx(language: str, source: Path, output: Path) -> None:
    """Build a language's pages; a warning is an error.

    Raises:
        RuntimeError: If Sphinx finds anything wrong; it has said what.
    """
    title = (source / "index.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    settings = {"language": language, "html_title": title, "course_languages": ",".join(languages())}
    settings |= {"locale_dirs": str(source / "locale"), "html_use_index": "1" if language == SOURCE else "0"}
    options = [word for item in settings.items() for word in ("-D", "=".join(item))]
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-c", str(SITE), *options]
    doctrees = source.with_name(f"{source.name}-doctrees")
    run = subprocess.run([*command, "-d", str(doctrees), str(source), str(output)], cwd=ROOT, check=False)
    if run.returncode:
        raise RuntimeError(f"the {Locale.parse(language).english_name} pages were not built: see the lines above")


LOGICAL = [
    (r"\b(margin|padding|border)-left", r"\1-inline-start"),
    (r"\b(margin|padding|border)-right", r"\1-inline-end"),
    (r"border-top-left-radius", "border-start-start-radius"),
    (r"border-top-right-radius", "border-start-end-radius"),
    (r"border-bottom-left-radius", "border-end-start-radius"),
    (r"border-bottom-right-radius", "border-end-end-radius"),
    (r"(?<=[;{ ])(?<!-)left(?=:)|(?<=transition:)left\b", "inset-inline-start"),
    (r"(?<=[;{ ])(?<!-)right(?=:)|(?<=transition:)right\b", "inset-inline-end"),
    (r"(float|clear):\s*left", r"\1:inline-start"),
    (r"(float|clear):\s*right", r"\1:inline-end"),
    (r"text-align:\s*left", "text-align:start"),
    (r"text-align:\s*right", "text-align:end"),
]


def mirrored(css: str) -> str:
    """A style sheet whose left is where lines begin, so that it serves both directions of writing."""
    for pattern, replacement in LOGICAL:
        css = re.sub(pattern, replacement, css)
    return css


# What the theme's templates hold in English, out of reach of a catalog.
FIXED = [
    "Toggle site navigation sidebar",
    "Toggle table of contents sidebar",
    "Toggle Light / Dark / Auto color theme",
    "Toggle navigation of",
    "Contents",
    "Menu",
    "Expand",
    "Light mode",
    "Dark mode",
    "Auto light/dark, in light mode",
    "Auto light/dark, in dark mode",
]


def finish(language: str, output: Path) -> None:
    """Give the pages of a language its direction, and mirror the theme's style sheets with it.

    Raises:
        RuntimeError: If a page does not begin as the theme's pages do.
    """
    for name in ("furo.css", "furo-extensions.css"):
        path = output / "_static" / "styles" / name
        path.write_text(mirrored(path.read_text(encoding="utf-8")), encoding="utf-8")
    direction = Locale.parse(language).text_direction
    texts: dict[str, str] = {}
    if language != SOURCE:
        with (SITE / "locale" / language / "LC_MESSAGES" / "sphinx.po").open("rb") as file:
            texts = {str(message.id): str(message.string) for message in read_po(file, language)}
    for path in output.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        root = f'<html class="no-js" lang="{language}"'
        if root not in page:
            raise RuntimeError(f"{path.name} has no {root}: the theme's pages begin otherwise than they did")
        page = page.replace(root, f'{root} dir="{direction}"', 1)
        for side, label in (("sidebar-drawer", "Pages"), ("toc-drawer", "On this page")):
            label = texts.get(label, label)
            page = page.replace(f'<aside class="{side}', f'<aside aria-label="{label}" class="{side}')
        for text in FIXED if texts else []:
            page = page.replace(f"<title>{text}</title>", f"<title>{texts[text]}</title>")
            page = re.sub(rf'aria-label="{re.escape(text)}(?=[" ])', f'aria-label="{texts[text]}', page)
        path.write_text(page, encoding="utf-8")


def build(output: Path = OUTPUT) -> None:
    """Build the site in every language; the old one is replaced when the new one is whole.

    Args:
        output: The folder of the site. What Sphinx reads is laid out beside it.
    """
    sources, new = output.with_name("site-source"), output.with_name("site-new")
    for folder in (sources, new):
        shutil.rmtree(folder, ignore_errors=True)
    for language in languages():
        lay_out(language, sources / language)
        run_sphinx(language, sources / language, new / language)
        finish(language, new / language)
        for path in notebooks(language):
            shutil.copy(path, new / language / "notebooks")
    links = "".join(f'<li><a href="{code}/index.html" lang="{code}">{own_name(code)}</a></li>' for code in languages())
    chooser = (SITE / "chooser.html").read_text(encoding="utf-8")
    chooser = chooser.replace("{{links}}", links).replace("{{languages}}", json.dumps(languages()))
    (new / "index.html").write_text(chooser, encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    os.replace(new, output)


if __name__ == "__main__":
    try:
        build()
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"The site is built: open {(OUTPUT / 'index.html').relative_to(ROOT)}")
