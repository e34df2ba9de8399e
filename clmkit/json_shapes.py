"""The usual shapes in which a JSON file has its rows."""

from typing import Any

from clmkit.columns import INNER_COLUMNS, listed, name_text_column
from clmkit.packed import DataFile, suffix_of

ROWS_UNDER = ("data", "train", "rows", "examples")
SPLITS = ("validation", "valid", "dev", "test")  # beside "train"; the course splits the rows of all itself


def rows_of(path: DataFile, found: Any, text_column: str | None) -> list[Any]:
    """Find the rows in what a JSON file holds.

    They are a list of objects, or of texts; one object; objects under a key of ``ROWS_UNDER``, under that of the text's
    column, or each under a name of its own; any of these under one of those keys; or a table, as pandas writes it by
    ``to_json``.

    Args:
        path: The file, for errors.
        found: What it holds.
        text_column: The column that counts; by default the one that ``find_text_column`` finds.

    Raises:
        ValueError: If there are none; the message shows the shape, and the word that would read it if there is one.
    """
    if isinstance(found, list):
        return [{"text": one} for one in found] if found and all(isinstance(one, str) for one in found) else found
    if not isinstance(found, dict):
        raise ValueError(f"{path}: the file is one JSON {type(found).__name__}, not a list of rows")
    lists = [key for key, value in found.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    outer = (text_column or "").partition(".")[0]
    if outer in lists and outer not in INNER_COLUMNS and suffix_of(path) not in (".jsonl", ".ndjson"):
        return [{outer: row} for row in found[outer]]
    if text_column is None and found and all(key.isdigit() and isinstance(one, str) for key, one in found.items()):
        return [{"text": one} for one in found.values()]
    if _is_row(found, text_column):
        return [found]
    if lists and set(lists) <= {*ROWS_UNDER, *SPLITS}:
        return [row for key in lists for row in found[key]]
    inner = [value for key, value in found.items() if key in ROWS_UNDER and isinstance(value, dict)]
    if len(found) == len(inner) == 1:
        return rows_of(path, inner[0], text_column)
    rows = _rows_by_name(found, text_column) or _rows_of_table(found)
    if rows is not None:
        return rows
    shape = listed(f"{key!r}: {type(value).__name__}" for key, value in found.items())
    raise ValueError(
        f"{path}: the file is one JSON object ({shape}), not a list of rows: write the rows as a list, one a line, or "
        f"under one of {', '.join(map(repr, ROWS_UNDER))}{_hint(found, lists)}"
    )


def _is_row(found: dict[str, Any], text_column: str | None) -> bool:
    """Whether an object is the one row of its file, and no table of columns or of parts."""
    if not (column := name_text_column(found, text_column)):
        return not any(isinstance(value, list | dict) for value in found.values())
    return isinstance(found.get(column), str) or (column not in found and column.partition(".")[0] in found)


def _rows_by_name(found: dict[str, Any], text_column: str | None) -> list[Any] | None:
    """The rows where each stands under a name of its own, which pandas calls its index."""
    rows = list(found.values())
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    column = name_text_column(rows[0], text_column)
    outer = column.partition(".")[0]
    if not column or outer in found:
        return None
    return rows if all(isinstance(row.get(column), str) or (column != outer and outer in row) for row in rows) else None


def _rows_of_table(found: dict[str, Any]) -> list[Any] | None:
    """The rows of a table: its columns by name, or their names and, as ``data``, lists of their values."""
    names, data = found.get("columns"), found.get("data")
    if isinstance(names, list) and isinstance(data, list):
        rows = [row for row in data if isinstance(row, list) and len(row) == len(names)]
        if len(rows) == len(data) and all(isinstance(name, str) for name in names):
            return [dict(zip(names, row, strict=True)) for row in rows]
    columns = [list(value.values()) if isinstance(value, dict) else value for value in found.values()]
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]
    return None


def _hint(found: dict[str, Any], lists: list[str]) -> str:
    """The word that would read the rows from where they are."""
    for key in lists:
        columns = [inner for inner, value in found[key][0].items() if isinstance(value, str)]
        if columns:
            return f"; or name their text: text_column='{key}.{'text' if 'text' in columns else columns[0]}'"
    return ""
