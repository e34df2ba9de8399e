"""Take new and changed prose into the PO files, and write the notebooks of every language.

    python -m tools.translate

A folder of `notebooks/.course/locale` is a language, named by its code. One PO file belongs to each notebook, one
message to each markdown cell, whose id is the message's context. A cell whose prose changed keeps its translation,
marked fuzzy. A cell without a translation, or with a fuzzy one, stays English. Code cells and outputs are copied as
they are.

What clmkit and the course's runner say is found in their calls of `_`, `label`, `drawn` and `ngettext`, and of `say`,
which is one of them. It stands in `clmkit/locale`, and is compiled for Python's gettext. A message that depends on a
number has as many translations as the language has forms: the head of the PO file says which number takes which.
"""

import copy
import io
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from babel import Locale
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PACKAGE = Path(__file__).parents[1] / "clmkit"
RUNNERS = [Path(__file__).with_name(name) for name in ("course.py", "real_model.py")]  # what else a learner runs
SOURCE = "en"
WORDINGS = ("_", "label", "drawn", "say")  # functions that say a text, as clmkit's code calls them
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

PO_HEADER = r"""msgid ""
msgstr ""
"Language: {language}\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"""

FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"(?<!`)(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
LEFT_TO_RIGHT = '<span dir="ltr">'
ALIGN_RIGHT = '<span dir="rtl" style="display: block; text-align: right">'
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def languages(notebooks: Path = NOTEBOOKS) -> list[str]:
    """The codes of the languages that there is a folder for."""
    return sorted(path.name for path in (notebooks / ".course" / "locale").iterdir() if path.is_dir())


def sources(notebooks: Path = NOTEBOOKS) -> list[Path]:
    """The English notebooks, in the course's order."""
    return sorted(notebooks.glob("[0-9]*.ipynb"))


def catalog_path(name: str, language: str, notebooks: Path = NOTEBOOKS) -> Path:
    """Where the translations of a notebook stand."""
    return notebooks / ".course" / "locale" / language / "LC_MESSAGES" / f"{name}.po"


def own_name(language: str) -> str:
    """What a language calls itself."""
    return Locale.parse(language).get_language_name(language) or language


def language_links(name: str, page: str, others: list[str]) -> str:
    """The line that links a notebook with its twins.

    Args:
        name: The notebook's name, without its suffix.
        page: The language of the page on which the line stands.
        others: The languages of the translations.
    """

    def entry(language: str) -> str:
        folder = "" if language == SOURCE else f"{language}/"
        up = "" if page == SOURCE else "../"
        return own_name(language) if language == page else f"[{own_name(language)}]({up}{folder}{name}.ipynb)"

    return " · ".join(map(entry, [SOURCE, *others]))


def split_header(prose: str) -> tuple[str, list[str]]:
    """Take the badge and the line of ``language_links``, which no one translates, out of a first cell.

    Returns:
        The rest, and the badge as a list of one or no paragraph.
    """
    paragraphs = prose.split("\n\n")
    badges = [part for part in paragraphs if part.startswith("[![")]
    rest = [part for part in paragraphs if part not in badges and not part.startswith(f"{own_name(SOURCE)} · ")]
    return "\n\n".join(rest), badges


def with_header(prose: str, badges: list[str], links: str) -> str:
    """The prose of a first cell with badge and links below its title."""
    title, *rest = prose.split("\n\n")
    return "\n\n".join([title, *badges, links, *rest])


def messages(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The prose to translate, by the id of its markdown cell."""
    prose = {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "markdown"}
    first = notebook.cells[0].id
    return prose | {first: split_header(prose[first])[0]}


def read_catalog(path: Path, language: str) -> Catalog:
    """The translations in a PO file; none if there is no such file."""
    if not path.exists():
        return Catalog(language)
    with path.open("rb") as file:
        return read_po(file, language, ignore_obsolete=True, abort_invalid=True)


def forms(message: Message) -> list[str]:
    """The translations of a message: one, or one for each of the language's plural forms; empty ones are to be made."""
    return [message.string or ""] if isinstance(message.string, str | None) else list(message.string)


def with_code_of(prose: str, translation: str) -> str:
    """A translation with the fenced code of the prose, if both have as many pieces of it."""
    code = [match[0] for match in FENCED.finditer(prose)]
    if len(code) != len(FENCED.findall(translation)):
        return translation
    pieces = iter(code)
    return FENCED.sub(lambda _: next(pieces), translation)


def update_catalog(catalog: Catalog, prose: dict[str, str]) -> None:
    """Take new and changed prose into a catalog.

    Args:
        catalog: Translations, each with the id of its cell for a context. Those of changed cells become fuzzy, unless
            only fenced code has changed, which they take over; those of cells that are gone are left out.
        prose: As ``messages`` gives it.
    """
    before = {message.context: message for message in catalog if message.id}
    template = Catalog()
    for cell, text in prose.items():
        template.add(text, context=cell)
    catalog.update(template)  # a cell with a new id gets the translation of the most similar old one, as fuzzy
    catalog.obsolete.clear()
    for message in catalog:
        old = before.get(message.context)
        if message.id and old and old.id != message.id and old.string:
            message.string = with_code_of(str(message.id), str(old.string))
            only_code = FENCED.sub("", str(old.id)) == FENCED.sub("", str(message.id))
            message.flags = set(old.flags) if only_code else {"fuzzy"}


def package_messages(package: Path = PACKAGE) -> dict[str | tuple[str, str], list[tuple[str, int]]]:
    """What clmkit and the course's runner say: texts, or pairs of singular and plural, and where they stand."""
    found: dict[str | tuple[str, str], list[tuple[str, int]]] = {}
    keywords: dict[str, Any] = {**dict.fromkeys(WORDINGS), "ngettext": (1, 2)}
    for path in [*sorted(package.rglob("*.py")), *(RUNNERS if package == PACKAGE else [])]:
        where = (path.relative_to(path.parents[1] if path in RUNNERS else package).as_posix(), 0)
        for _, text, _, _ in extract_from_file("python", path, keywords=keywords):
            found.setdefault(text if isinstance(text, str) else (text[0], text[1]), []).append(where)
    return found


def translate_package(language: str, package: Path = PACKAGE) -> dict[Path, bytes]:
    """The PO file of what clmkit says in a language, and the same compiled, by their paths."""
    po = package / "locale" / language / "LC_MESSAGES" / "clmkit.po"
    catalog, template = read_catalog(po, language), Catalog()
    for text, locations in package_messages(package).items():
        template.add(text, locations=list(dict.fromkeys(locations)))
    catalog.update(template)
    catalog.obsolete.clear()
    content, compiled = po_bytes(catalog), io.BytesIO()
    catalog = read_po(io.BytesIO(content), language)  # only now a new message has all its forms
    catalog.creation_date = LONG_AGO  # else the compiled file would differ every time
    write_mo(compiled, catalog)
    return {po: content, po.with_suffix(".mo"): compiled.getvalue()}


def po_bytes(catalog: Catalog) -> bytes:
    """A catalog as a PO file, with no date or tool in its header: the same messages give the same file."""
    for message in catalog:
        message.flags.discard("python-format")  # Babel takes "20 % a" for one
    file = io.BytesIO()
    write_po(file, catalog, width=100, omit_header=True, include_lineno=False)
    header = PO_HEADER.format(language=catalog.locale)
    if any(message.pluralizable for message in catalog):
        header += f'"Plural-Forms: {catalog.plural_forms}\\n"\n'
    return f"{header}\n".encode() + file.getvalue()


def translated(catalog: Catalog, cell: str, prose: str) -> str | None:
    """The translation of a cell's prose, if there is one that can be relied on."""
    message = catalog.get(prose, context=cell)
    return str(message.string) if message and message.string and not message.fuzzy else None


def localize_links(prose: str, name: str, language: str) -> str:
    """Let links lead where they should from the translation's folder, one below the notebooks.

    Notebooks lead to their translations, everything else in the project to the same file as in the English notebook,
    and the Colab badge to the translation itself.
    """

    def localize(match: re.Match[str]) -> str:
        target = match["target"]
        if target.endswith(f"/blob/main/notebooks/{name}.ipynb"):
            target = target.replace("/notebooks/", f"/notebooks/{language}/")
        elif not re.match(r"[a-z]+:|#", target) and not re.fullmatch(r"[0-9]\w+\.ipynb(#.*)?", target):
            target = f"../{target}"
        return f"]({target})"

    return LINK.sub(localize, prose)


def _isolate(prose: str) -> str:
    """Keep together, within a line from right to left, what reads from left to right: code, English in quotation marks,
    the sign before a number.
    """
    pieces = re.compile(
        rf"(?P<tag><[^>]+>)|(?:{INLINE_CODE.pattern})|\"[^\"\u0590-\u08ff\n]+\"|(?<=[\s(])-\d[\d.,]*(?=[\s،؛.:)])",
        re.DOTALL,
    )
    return pieces.sub(lambda piece: piece[0] if piece["tag"] else f"{LEFT_TO_RIGHT}{piece[0]}</span>", prose)


def _align_right(prose: str) -> str:
    """Align paragraphs, which begin like neither a heading nor a list, a table, or a block of HTML."""
    paragraph = r"^(?![#|]|</?(?!span)\w|- |\d+\. |\s).+(?:\n(?!\n).+)*"
    return re.sub(paragraph, lambda match: f"{ALIGN_RIGHT}{match[0]}</span>", prose, flags=re.MULTILINE)


def right_to_left(prose: str, language: str) -> str:
    """Have Markdown run from right to left, and code in it from left to right, wherever notebooks are shown.

    JupyterLab, Colab and GitHub take ``dir`` and no style sheet. Each ``div`` stands between blank lines, so that what
    is inside stays Markdown. JupyterLab aligns every paragraph to the left, hence a ``span`` in each.
    """
    parts, end = [], 0
    for match in FENCED.finditer(prose):
        parts += [_align_right(_isolate(prose[end : match.start()])), f'<div dir="ltr">\n\n{match[0]}\n\n</div>']
        end = match.end()
    parts.append(_align_right(_isolate(prose[end:])))
    return f'<div dir="rtl" lang="{language}">\n\n{"".join(parts).strip()}\n\n</div>'


def without_direction(prose: str) -> str:
    """The Markdown that ``right_to_left`` was given, for a page that has a direction of its own."""
    prose = re.sub(r'^<div dir="(ltr|rtl)".*>\n\n|\n\n</div>(?=\n|\Z)', "", prose, flags=re.MULTILINE)
    paragraphs = [
        part.removeprefix(ALIGN_RIGHT).removesuffix("</span>") if part.startswith(ALIGN_RIGHT) else part
        for part in prose.split("\n\n")
    ]
    return re.sub(rf"{LEFT_TO_RIGHT}({INLINE_CODE.pattern})</span>", r"\1", "\n\n".join(paragraphs))


def in_language(code: str, language: str) -> str:
    """The code of a cell, but that ``use_kernel`` in the first one names the notebook's language: Colab can't tell."""
    return re.sub(r'^(use_kernel\("\w+")\)', rf'\1, language="{language}")', code, flags=re.MULTILINE)


def translate_notebook(notebook: nbformat.NotebookNode, name: str, catalog: Catalog, links: str) -> None:
    """Replace the prose of a notebook by its translation.

    Args:
        notebook: The English notebook, which is changed.
        name: Its name, without the suffix.
        catalog: The translations.
        links: The line of ``language_links`` for the first cell.
    """
    language = str(catalog.locale)
    prose, first = messages(notebook), notebook.cells[0]
    _, badges = split_header(first.source)
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            cell.source = in_language(cell.source, language)
            continue
        translation = translated(catalog, cell.id, prose[cell.id])
        cell.source = localize_links(translation or prose[cell.id], name, language)
        if cell is first:
            cell.source = with_header(cell.source, [localize_links(badge, name, language) for badge in badges], links)
        if translation and Locale.parse(language).text_direction == "rtl":
            cell.source = right_to_left(cell.source, language)


def keep_outputs(notebook: nbformat.NotebookNode, before: nbformat.NotebookNode) -> None:
    """Keep what a translated notebook's cells gave when it was executed in its own language.

    Args:
        notebook: As written from the English one; a cell whose code is what it was gets its own outputs back.
        before: The translated notebook as it is stored.
    """
    stored = {cell.id: cell for cell in before.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in stored and stored[cell.id].source == cell.source:
            cell.outputs = stored[cell.id].outputs


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file whole or not at all; say whether it was another before."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        unfinished.write_bytes(content)
        unfinished.replace(path)
    return True


def notebook_bytes(notebook: nbformat.NotebookNode) -> bytes:
    """A notebook as its file holds it."""
    text: str = nbformat.writes(notebook)
    return (text.rstrip("\n") + "\n").encode()


def translate(notebooks: Path = NOTEBOOKS, package: Path = PACKAGE) -> list[Path]:
    """Bring the PO files and the notebooks of every language up to date.

    Args:
        notebooks: The folder of the English notebooks. ``locale`` in it holds the PO files, and a folder for each
            language gets the translated notebooks.
        package: The folder of clmkit; ``locale`` in it gets what clmkit says.

    Returns:
        The files that changed.
    """
    found = languages(notebooks)
    written: dict[Path, bytes] = {}
    for path in sources(notebooks):
        english = nbformat.read(path, as_version=4)
        prose, first = messages(english), english.cells[0]
        _, badges = split_header(first.source)
        first.source = with_header(prose[first.id], badges, language_links(path.stem, SOURCE, found))
        written[path] = notebook_bytes(english)
        for language in found:
            po = catalog_path(path.stem, language, notebooks)
            catalog = read_catalog(po, language)
            update_catalog(catalog, prose)
            twin = copy.deepcopy(english)
            translate_notebook(twin, path.stem, catalog, language_links(path.stem, language, found))
            target = notebooks / language / path.name
            if target.exists():
                keep_outputs(twin, nbformat.read(target, as_version=4))
            written[po] = po_bytes(catalog)
            written[target] = notebook_bytes(twin)
    for language in found:
        written |= translate_package(language, package)
    return [path for path, content in written.items() if write_if_changed(path, content)]


def untranslated(*folders: Path) -> list[str]:
    """One line for each PO file below these folders that has something left to do."""
    lines = []
    for po in sorted(path for folder in folders for path in folder.rglob("*.po")):
        found = [message for message in read_catalog(po, po.parents[1].name) if message.id]
        new, fuzzy = sum(not all(forms(message)) for message in found), sum(message.fuzzy for message in found)
        if new or fuzzy:
            lines.append(f"{po}: {new} to translate, {fuzzy} fuzzy")
    return lines


if __name__ == "__main__":
    print(f"{len(translate())} files changed")
    print("\n".join(untranslated(NOTEBOOKS, PACKAGE)) or "nothing is left to translate")
