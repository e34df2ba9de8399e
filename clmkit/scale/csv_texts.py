"""Texts of CSV files, some rows at a time, with errors by line."""

import csv
import io
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from clmkit.packed import open_unpacked
from clmkit.texts import BadRow, join_values

ROWS = 1000  # that are read at a time
LONGEST_CELL = 2**31 - 1  # characters; without a word, Python's csv stops at 131,072


def csv_texts(path: Path, column: str, sep: str, encoding: str) -> Iterator[list[str]]:
    """Read the texts of a column as they are, whatever they look like.

    Args:
        path: The file, packed or not.
        column: Its column with the text.
        sep: What separates its columns.
        encoding: Its encoding.

    Yields:
        The texts of some rows.

    Raises:
        ValueError: If a row has more fields than the header or no text, or a quotation mark is not closed, with file
            and line; or if there are no rows.
        UnicodeDecodeError: If it is not in this encoding.
    """
    done = 0
    for cells in _cells(path, column, sep, encoding):
        try:
            yield join_values(cells, column)
        except BadRow as error:
            line = _line_of(path, sep, encoding, done + error.row + 1)
            raise ValueError(f"{path}, line {line}{error.problem}") from error
        done += len(cells)
    if not done:
        raise ValueError(f"{path}: there are no rows in it to train on")


def _cells(path: Path, column: str, sep: str, encoding: str) -> Iterator[list[Any]]:
    """The cells of a column, by the reader and the rules of ``load_local``."""
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "index_col": False}
    try:
        with open_unpacked(path) as file, pd.read_csv(file, sep=sep, encoding=encoding, chunksize=ROWS, **how) as table:
            while True:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", pd.errors.ParserWarning)  # what stands beyond the columns is lost
                    rows = next(table, None)
                if rows is None:
                    return
                yield rows[column].tolist()
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path}{_problem(path, sep, encoding) or f': {error}'}") from error


def _records(path: Path, sep: str, encoding: str) -> Generator[tuple[int, list[str]]]:
    """The rows of a file that are not blank, the header among them, each with the line where it begins."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        with (
            open_unpacked(path) as packed,
            io.TextIOWrapper(packed, encoding=encoding, errors="replace", newline="") as file,
        ):
            reader, line = csv.reader(file, delimiter=sep), 1
            for fields in reader:
                if fields and not (len(fields) == 1 and fields[0].isspace()):
                    yield line, fields
                line = reader.line_num + 1
    finally:
        csv.field_size_limit(before)


def _line_of(path: Path, sep: str, encoding: str, row: int) -> int:
    """The line where a row begins; the header is row 0."""
    with closing(_records(path, sep, encoding)) as records:
        return next(line for number, (line, _) in enumerate(records) if number == row)


def _problem(path: Path, sep: str, encoding: str) -> str | None:
    """Where a row has too many fields, or the last one never ends."""
    with closing(_records(path, sep, encoding)) as records:
        line, header = next(records)
        fields = header
        for line, fields in records:
            if len(fields) > len(header):
                return (
                    f", line {line}: {len(fields)} fields, and the header names {len(header)}. A text in which {sep!r} "
                    "stands has to be in quotation marks"
                )
    if "\n" in fields[-1]:
        return f", line {line}: a quotation mark begins a text that has no other at its end: close it, or leave it out"
    return None
