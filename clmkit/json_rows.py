"""The rows of a JSON file, in whichever of the usual shapes it has them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from clmkit.packed import UNPACKING_ERRORS, encoding_of, not_decoded, open_unpacked
from clmkit.texts import find_text_column

ROWS_UNDER = ("data", "train", "rows", "examples")
SPLITS = ("validation", "valid", "dev", "test")  # beside "train"; the course splits the rows of all itself


def read_json(path: Path, text_column: str | None, encoding: str | None) -> Dataset | None:
    """Read a JSON file row by row: the text as it is, every other column as text."""
    rows = _json_rows(path, text_column, encoding)
    if not rows:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    examples = {key: next(row[key] for row in rows if key in row) for key in columns}
    try:
        column = text_column or find_text_column(examples)
    except ValueError:
        column = ""  # join_answers says which columns there are
    kept = column if column in columns else column.partition(".")[0]
    try:
        return Dataset.from_list([{key: _cell(row.get(key), key == kept) for key in columns} for row in rows])
    except (pa.ArrowException, ValueError) as error:  # every other column is text by now
        odd = _odd_one([row.get(kept) for row in rows], kept)
        raise ValueError(f"{path}{odd or f': {error}'}") from error


def _odd_one(values: list[Any], column: str) -> str:
    """Which value is of another type than the first in its place, if one is."""
    first: dict[tuple[str, int], str] = {}
    for row, value in enumerate(values):
        for name, depth, inner in _parts(value, column):
            kind = "number" if type(inner) in (int, float) else type(inner).__name__
            before = first.setdefault((name, depth), kind)
            if kind != before:
                return f", row {row}: {name!r} is of the type {kind}, and before {before}: text must be a string"
    return ""


def _parts(value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, int, Any]]:
    """A value and all in it, but for nulls, each with its column as ``text_column`` has it, and in how many lists."""
    if value is not None:
        yield name, depth, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _parts(inner, f"{name}.{key}", depth)
    elif isinstance(value, list):
        for inner in value:
            yield from _parts(inner, name, depth + 1)


def _cell(value: Any, keep: bool) -> Any:
    return value if keep or value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_rows(path: Path, text_column: str | None, encoding: str | None) -> list[dict[str, Any]]:
    """The rows of a JSON file as they are.

    Raises:
        ValueError: As ``load_local``.
    """
    return _json_rows(path, text_column, encoding)


def _json_rows(path: Path, text_column: str | None, encoding: str | None) -> list[dict[str, Any]]:
    """The rows of a JSON file of any of the shapes of ``load_local``.

    Raises:
        ValueError: If it is malformed, with file and line, or of another shape, with that shape.
    """
    try:
        with open_unpacked(path) as file:
            text = file.read().decode(encoding or encoding_of(path))
    except UnicodeDecodeError as error:
        raise ValueError(not_decoded(path, error, encoding)) from error
    except UNPACKING_ERRORS as error:
        raise ValueError(f"{path}: not a whole {path.suffix.lower()[1:]} file: {error}") from error
    try:
        found = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            raise ValueError(f"{path}, line {error.lineno}: malformed JSON: {error.msg}") from error
        return list(_json_lines(path, text))
    rows = found if isinstance(found, list) else _rows_of_object(path, found, text_column)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}, row {number - 1}: a row must be a JSON object, not {type(row).__name__}")
    return rows


def _json_lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: malformed JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: a row must be a JSON object, not {type(row).__name__}")
        yield row


def _is_row(found: dict[str, Any], text_column: str | None) -> bool:
    """Whether an object is the one row of its file, and no table of columns or of parts."""
    try:
        column = text_column or find_text_column(found)
    except ValueError:
        return not any(isinstance(value, list | dict) for value in found.values())
    return isinstance(found.get(column), str) or (column not in found and "." in column)


def _rows_of_object(path: Path, found: Any, text_column: str | None) -> list[Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{path}: the file is one JSON {type(found).__name__}, not a list of rows")
    lists = [key for key, value in found.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if _is_row(found, text_column):
        return [found]
    if lists and set(lists) <= {*ROWS_UNDER, *SPLITS}:
        return [row for key in lists for row in found[key]]
    columns = [list(value.values()) if isinstance(value, dict) else value for value in found.values()]
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]  # as pandas writes it
    shape = ", ".join(f"{key!r}: {type(value).__name__}" for key, value in found.items())
    raise ValueError(
        f"{path}: the file is one JSON object ({shape}), not a list of rows: write the rows as a list, one a line, or "
        f"under one of {', '.join(map(repr, ROWS_UNDER))}"
    )
