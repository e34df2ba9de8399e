"""The rows of a JSON file, in whichever of the usual shapes it has them."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from clmkit.columns import examples_of, name_text_column, split_column
from clmkit.json_shapes import rows_of
from clmkit.kept import DEEP, as_text, fits, keep
from clmkit.kept import texts as texts_of
from clmkit.packed import UNPACKING_ERRORS, UTF8, DataFile, encoding_of, not_decoded, not_whole, open_unpacked
from clmkit.texts import BadRow, join_values, text_of

DEEPEST = 500  # lists and objects within each other: readers in C call themselves for each, and end with the process
WIDE = 1000  # keys of objects side by side, of which Arrow would make as many columns
DIGITS = 400  # of a number that still is one
Place = Callable[[int], str]  # in words: the row of a number, counted from 0

LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
BETWEEN = re.compile(r"[\s,]*")  # what may stand between two objects
NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


def is_plain_json_lines(path: Path) -> bool:
    """Whether a file is JSON Lines in UTF-8 that Arrow's reader can be given: a row a line, none nested too deep."""
    if encoding_of(path) != UTF8:
        return False
    with open_unpacked(path) as file:
        first, open_before = True, 0
        for line in file:
            opened = line.count(b"[") + line.count(b"{")
            if b"\\u" in line and LONE_SURROGATE.search(line):
                return False  # some readers drop it without a word
            if open_before + opened > DEEPEST and _deepest(line.decode("utf-8", "replace")):
                return False
            # What is opened in a line and not closed there is counted on, so that lines can't be deep together.
            open_before = 0 if line.rstrip().endswith(b"}") else open_before + opened
            if open_before > DEEPEST:
                return False
            if first and line.strip(b"\xef\xbb\xbf \t\r\n"):
                first = False
                try:
                    if not isinstance(json.loads(line.decode(UTF8)), dict):
                        return False
                except (ValueError, RecursionError):
                    return False
    return not first


def _deepest(text: str) -> int | None:
    """The line in which lists and objects come to be nested too deep; ``None`` if they never are."""
    depth = 0
    for found in NESTING.finditer(text):
        depth += 1 if found[1] else -1 if found[2] else 0
        if depth > DEEPEST:
            return text.count("\n", 0, found.start()) + 1
    return None


def read_json(path: Path, text_column: str | None, encoding: str | None, place: Path) -> Dataset | None:
    """Read a JSON file row by row: the text as it is, every other column as text where it does not fit one type.

    Args:
        path: The file, packed or not.
        text_column: The one that counts; by default the one that ``find_text_column`` finds.
        encoding: As Python names it; by default what ``encoding_of`` finds.
        place: Where the rows are to be kept.

    Returns:
        The rows; ``None`` if there are none.

    Raises:
        ValueError: If it is malformed, or its text is none, with file and line, or file and row.
    """
    rows, where = read_rows(path, text_column, encoding)
    if not rows:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    kept, inner = split_column(name_text_column(examples_of(rows), text_column), columns)
    table = {}
    for name in columns:
        values = [row.get(name) for row in rows]
        table[str(as_text(name))] = _text_column(path, values, kept, inner, where) if name == kept else _other(values)
    return keep(place, [pa.table(table)])


def _typed(values: list[Any]) -> pa.Array | None:
    """A column of the type that Arrow finds, if it finds one for all values and Datasets has it too."""
    if _is_wide(values):
        return None
    try:
        column = pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return column if fits(column.type) else None


def _is_wide(values: list[Any]) -> bool:
    """Whether objects have so many different keys that they are names, as ids are, and no columns."""
    level = values
    while level := [one for one in level if isinstance(one, dict | list)]:
        if len(set().union(*(one for one in level if isinstance(one, dict)))) > WIDE:
            return True
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return False


def _other(values: list[Any]) -> pa.Array:
    typed = _typed(values)
    return texts_of(values) if typed is None else typed


def _text_column(path: Path, values: list[Any], column: str, inner: str, where: Place) -> pa.Array:
    """The column that holds the text, or holds it under a key of its objects; what else they hold may become text."""
    if (typed := _typed(values)) is not None and not _has_parts(typed.type, inner):
        return typed
    texts = []
    for number, value in enumerate(values):
        try:
            texts.append(_only(value, inner))
        except ValueError as error:
            raise ValueError(f"{path}, {where(number)}: {column!r} {error}: mend it, or remove the row") from error
    if (typed := _typed(texts)) is not None or (typed := _typed(_as_lists(texts))) is not None:
        return typed
    try:
        join_values(texts, f"{column}.{inner}" if inner else column, column)
    except BadRow as error:
        raise ValueError(f"{path}, {where(error.row)}{error.problem}") from error
    raise ValueError(f"{path}: {column!r} holds objects of several shapes: give all rows the same")


def _as_lists(values: list[Any]) -> list[Any]:
    """Texts and lists of texts, as lists."""
    return [[one] if isinstance(one, str) else one for one in values]


def _has_parts(kind: pa.DataType, inner: str) -> bool:
    """Whether what stands under the key ``inner`` are lists of objects, as the parts of a message are."""
    while isinstance(kind, pa.ListType):
        kind = kind.value_type
    content = kind.field(inner).type if pa.types.is_struct(kind) and kind.get_field_index(inner) >= 0 else kind
    return content != kind and isinstance(content, pa.ListType) and pa.types.is_struct(content.value_type)


def _only(value: Any, inner: str, depth: int = 0) -> Any:
    """A value in which text is all that is not under the key ``inner``; where there is no such key, the value.

    Raises:
        ValueError: If the value is nested too deep, or its text holds a surrogate; the message goes on from its name.
    """
    if depth > DEEP:
        raise ValueError("holds lists that are nested too deep to be text")
    if isinstance(value, list):
        return [_only(one, inner, depth + 1) for one in value]
    if isinstance(value, dict) and inner:
        key, _dot, rest = inner.partition(".")
        if rest:
            return {
                str(as_text(name)): _only(one, rest, depth + 1) if name == key else _note(one)
                for name, one in value.items()
            }
        content = text_of(value.get(inner))
        parts = content if isinstance(content, list) else []
        if other := next(
            (part for part in parts if isinstance(part, dict) and part.get("type", "text") != "text"), None
        ):
            raise ValueError(f"holds a part of the type {other['type']!r}, which is no text")
        return {
            str(as_text(key)): _only(content, "", depth + 1) if key == inner else _note(one)
            for key, one in value.items()
        }
    if isinstance(value, str) and as_text(value) != value:
        raise ValueError(f"holds half of a character (a surrogate without the other): {value[:40]!a}")
    return value


def _note(value: Any) -> str | None:
    """What stands beside the text, as text; nothing where it is empty."""
    return None if value in ("", [], {}) else as_text(value)


def read_rows(path: DataFile, text_column: str | None, encoding: str | None) -> tuple[list[dict[str, Any]], Place]:
    """The rows of a JSON file of any of the shapes of ``load_local``, and how the place of each is named.

    Raises:
        ValueError: If it is malformed, with file and line, or of another shape, with that shape.
    """
    try:
        with open_unpacked(path) as file:
            text = file.read().decode(encoding or encoding_of(path))
    except UnicodeDecodeError as error:
        raise ValueError(not_decoded(path, encoding)) from error
    except UNPACKING_ERRORS as error:
        raise ValueError(not_whole(path, error)) from error
    try:
        found = _parse(path, text, 1) if text.strip() else []
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            raise ValueError(f"{path}, line {error.lineno}: malformed JSON: {error.msg}") from error
        try:
            lines = list(_json_lines(path, text))
        except ValueError:
            rows = _one_after_another(text)
            if rows is None:
                raise
            return rows, lambda number: f"row {number}"
        return [row for _, row in lines], lambda number: f"line {lines[number][0]}, row {number}"
    rows = rows_of(path, found, text_column)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"{path}, row {number}: a row must be a JSON object, not {type(row).__name__}")
    return rows, lambda number: f"row {number}"


def _one_after_another(text: str) -> list[dict[str, Any]] | None:
    """Objects that stand one after another, each on several lines perhaps; ``None`` if something else is there too."""
    decoder, place = json.JSONDecoder(parse_int=number_of), 0
    rows: list[dict[str, Any]] = []
    try:
        while begins := BETWEEN.match(text, place):
            if begins.end() == len(text):
                return None if _is_deep(rows) else rows
            row, place = decoder.raw_decode(text, begins.end())
            if not isinstance(row, dict):
                return None
            rows.append(row)
    except (json.JSONDecodeError, RecursionError):
        pass
    return None


def number_of(digits: str) -> int | str:
    """A whole number of JSON; one of so many digits that it is none stays the text that it is."""
    return int(digits) if len(digits) < DIGITS else digits


def _parse(path: DataFile, text: str, line: int) -> Any:
    """JSON, but for numbers that are none in Python: they stay the text that they are."""
    try:
        found = json.loads(text, parse_int=number_of)
        deep = _is_deep(found)
    except RecursionError:
        deep = True
    if deep:
        line += (_deepest(text) or 1) - 1
        raise ValueError(f"{path}, line {line}: more than {DEEPEST} lists and objects within each other: flatten them")
    return found


def _is_deep(value: Any) -> bool:
    """Whether lists and objects are nested too deep, without a call for each."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _json_lines(path: DataFile, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _parse(path, line, number)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: malformed JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: a row must be a JSON object, not {type(row).__name__}")
        yield number, row
