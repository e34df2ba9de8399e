"""Texts of CSV files, some rows at a time, with errors by line."""

from collections.abc import Iterator
from itertools import islice

from clmkit.csv_rows import long_cells, open_csv
from clmkit.packed import DataFile
from clmkit.texts import BadRow, join_values

ROWS = 1000  # that are read at a time


def csv_texts(path: DataFile, column: str, encoding: str) -> Iterator[list[str]]:
    """Read the texts of a column as they are, whatever they look like.

    Args:
        path: The file, packed or not.
        column: Its column with the text.
        encoding: Its encoding.

    Yields:
        The texts of some rows.

    Raises:
        ValueError: As ``load_local``, with file and line; or if a row has no text, or there are no rows.
        UnicodeDecodeError: If it is not in this encoding.
    """
    found = False
    with open_csv(path, column, encoding) as (columns, rows):
        place = columns.index(column)
        while True:
            with long_cells():
                batch = list(islice(rows, ROWS))
            if not batch:
                break
            try:
                texts = join_values([cells[place] for _, cells in batch], column)
            except BadRow as error:
                raise ValueError(f"{path}, line {batch[error.row][0]}{error.problem}") from error
            yield texts
            found = True
    if not found:
        raise ValueError(f"{path}: there are no rows in it to train on")
