"""The rows of a CSV file: every cell is the text that it is, whatever it looks like."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from clmkit.hub.data_sets import SEPARATOR_OF
from clmkit.kept import BATCH, distinct, keep
from clmkit.packed import DataFile, encoding_of, open_unpacked, suffix_of

LONGEST = 2**31 - 1  # characters in a cell: the most that fits on every system
SEPARATORS = ",;\t|"
SEPARATOR_LINE = re.compile(rf"sep=([{SEPARATORS}])\s*$", re.IGNORECASE)  # which Excel writes and hides
BLANK = ("\n", "\r\n", "\r")  # lines
Row = tuple[int, list[str]]  # with the line of the file in which it begins


def read_csv(path: Path, text_column: str | None, encoding: str | None, place: Path) -> Dataset | None:
    """Read a CSV file as text.

    A row may have fewer fields than there are columns: the others are null. Blank lines are no rows. What separates the
    columns may be another than the file's name tells, as Excel writes semicolons in much of Europe, if the header shows
    it, and every row has as many fields.

    Args:
        path: The file, packed or not.
        text_column: The one that counts; by default ``text`` or ``answers.text``.
        encoding: As Python names it; by default what ``encoding_of`` finds.
        place: Where the rows are to be kept.

    Returns:
        The rows; ``None`` if there are none.

    Raises:
        ValueError: With file and line, if a row has more fields than there are columns, quotation marks are not in
            pairs, or two columns have the text's name.
    """
    with open_csv(path, text_column, encoding) as (columns, rows), long_cells():
        return keep(place, _tables(rows, columns))


@contextmanager
def open_csv(
    path: DataFile, text_column: str | None, encoding: str | None
) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str | None]]]]]:
    """Open a CSV file to read it row by row.

    Args:
        path: The file, packed or not.
        text_column: The one that counts; by default ``text`` or ``answers.text``.
        encoding: As Python names it; by default what ``encoding_of`` finds.

    Yields:
        The names of its columns, and its rows: each with the line in which it begins, and a cell for each column.

    Raises:
        ValueError: As ``read_csv``; of a row, when it is read.
    """
    sep = SEPARATOR_OF[suffix_of(path)[1:]]
    with open_unpacked(path) as file, io.TextIOWrapper(file, encoding or encoding_of(path), newline="") as text:
        first = [text.readline()]
        if told := SEPARATOR_LINE.match(first[0]):
            first = ["\n"]
        while first[-1] in BLANK:
            first.append(text.readline())
        with long_cells():
            found = told[1] if told else _separator(first[-1], sep)
            rows = _rows(path, chain(first, text), found)
            _, header = next(rows, (1, []))
        _check_header(path, header, text_column)
        columns = distinct([name.strip() for name in header])
        exact = found not in (sep, told and told[1])
        yield columns, ((line, _cells(path, line, row, len(columns), found, exact)) for line, row in rows)


@contextmanager
def long_cells() -> Iterator[None]:
    """Let cells be longer than the 131,072 characters that Python's reader allows by itself."""
    limit = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _separator(header: str, sep: str) -> str:
    """What separates the names in a header: what the file's name tells, unless there is one name then, or more."""

    def names(sep: str) -> int:
        return len(next(csv.reader([header], delimiter=sep), []))

    return sep if names(sep) > 1 else max(sep + SEPARATORS, key=names)


def _rows(path: DataFile, text: Iterable[str], sep: str) -> Iterator[Row]:
    """All rows but blank lines, the header too."""
    reader = csv.reader(text, delimiter=sep, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}, line {line}: {_explain(error)} ({error})") from error
        if row:
            yield line, row


def _explain(error: csv.Error) -> str:
    if "end of data" in str(error):
        return "a quotation mark opens a text here, and none closes it"
    return 'in a text in quotation marks, a quotation mark has to be written twice (""), and a separator to follow it'


def _check_header(path: DataFile, header: list[str], text_column: str | None) -> None:
    names = [name.strip() for name in header]
    for name in [text_column] if text_column else ["answers.text", "text"]:
        if names.count(name) > 1:
            raise ValueError(f"{path}, line 1: {names.count(name)} columns have the name {name!r}: rename all but one")


def _tables(rows: Iterator[tuple[int, list[str | None]]], columns: list[str]) -> Iterator[pa.Table]:
    schema = pa.schema({column: pa.string() for column in columns})
    while batch := [cells for _, cells in islice(rows, BATCH)]:
        yield pa.table([pa.array(cells, pa.string()) for cells in zip(*batch, strict=True)], schema=schema)


def _cells(path: DataFile, line: int, row: list[str], columns: int, sep: str, exact: bool) -> list[str | None]:
    """As many cells as there are columns."""
    if any(row[columns:]) or (exact and len(row) < columns):
        separated = f", separated by {sep!r}" if exact else ""
        raise ValueError(
            f"{path}, line {line}: {len(row)} fields, and the header names {columns}{separated}. "
            f"A text in which {sep!r} stands has to be in quotation marks"
        )
    return [*row[:columns], *[None] * (columns - len(row))]
