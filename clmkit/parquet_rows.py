"""The rows of a Parquet file, by column: the text as text, the others as far as they can be read."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Features
from pyarrow import parquet

from clmkit.columns import name_text_column, split_column
from clmkit.kept import BATCH, converted, distinct, keep, plain
from clmkit.messages import _


class UnreadableColumn(ValueError):
    """A column that can't be read, and need not be.

    Attributes:
        column: Its name.
    """

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def read_parquet(path: Path, unpacked: Path, text_column: str | None, place: Path) -> Dataset | None:
    """Read a Parquet file: what its other columns hold, and what a library noted of them, can't stop it.

    The text may be of any of Arrow's types of strings and lists, or bytes. Other columns keep their types where
    Datasets has them, become text where it has not, and are left out with a line where they can't be read.

    Args:
        path: The file, as it is named in errors.
        unpacked: The same, not packed.
        text_column: The one that counts; by default the one that ``find_text_column`` finds.
        place: Where the rows are to be kept.

    Returns:
        The rows; ``None`` if there are none.

    Raises:
        ValueError: If it is no Parquet file, or its text can't be read, with the row.
    """
    with parquet.ParquetFile(unpacked) as file:
        kinds = Features.from_arrow_schema(
            pa.schema({field.name: plain(field.type, "") for field in file.schema_arrow})
        )
        text, key = split_column(name_text_column(kinds, text_column), kinds)
        if (count := file.schema_arrow.names.count(text)) > 1:
            raise ValueError(f"{path}: {count} columns have the name {text!r}: rename all but one")
        left_out: list[str] = []
        while True:
            try:
                rows = keep(place, _tables(path, file, text, key, left_out))
                break
            except UnreadableColumn as error:
                left_out.append(error.column)
        missing = [] if rows is None else sorted({*distinct(file.schema_arrow.names)} - {*rows.column_names})
    if missing:
        print(_("{name}: left out what can't be read: {columns}", name=path.name, columns=", ".join(missing)))
    return rows


def _tables(path: Path, file: parquet.ParquetFile, text: str, key: str, left_out: Sequence[str]) -> Iterator[pa.Table]:
    wanted = [name for name in dict.fromkeys(file.schema_arrow.names) if name not in left_out]
    row = 0
    # Over the end of a row group, pyarrow can't read dictionaries in lists.
    batches = chain.from_iterable(
        file.iter_batches(BATCH, row_groups=[group], columns=wanted) for group in range(file.num_row_groups)
    )
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, wanted, text) or error from error
        if batch is None:
            return
        columns = {}
        for name, column in zip(distinct(batch.schema.names), batch.columns, strict=True):
            if name in left_out:
                continue
            try:
                columns[name] = converted(column, plain(column.type, key if name == text else None))
            except (pa.ArrowException, ValueError, OverflowError, RecursionError) as error:
                if name != text:
                    raise UnreadableColumn(name) from error
                bad = row + _first_bad(column, key)
                raise ValueError(f"{path}, row {bad}: what {text!r} holds is no UTF-8 text") from error
        yield pa.table(columns)
        row += len(batch)


def _first_bad(column: pa.Array, key: str) -> int:
    """The first row of a column that can't be converted; 0 if each can be alone."""
    for row in range(len(column)):
        try:
            converted(column[row : row + 1], plain(column.type, key))
        except (pa.ArrowException, ValueError):
            return row
    return 0


def _unreadable(file: parquet.ParquetFile, names: Sequence[str], text: str) -> UnreadableColumn | None:
    """The first column besides the text that can't be read, if one can't."""
    for name in names:
        try:
            for group in range(file.num_row_groups):
                file.read_row_group(group, [name])
        except (pa.ArrowException, OSError):
            return None if name == text else UnreadableColumn(name)
    return None
