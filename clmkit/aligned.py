"""Rows of several files as one data set: only the text has to be alike."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from clmkit.columns import find_text_column, no_column
from clmkit.kept import BATCH, LISTS, converted, keep, kept_file, plain, reshaped

Parts = Sequence[tuple[str, Dataset]]  # each file's name, and its rows


def align(parts: Parts, text_column: str | None) -> Dataset:
    """Put rows of several files one after the other.

    Args:
        parts: At least one, with ``info.description`` by its content.
        text_column: The one that counts; by default the one that ``find_text_column`` finds in each.

    Returns:
        The rows with the columns of all files, null where a file lacks one. A column that is of several types gets one
        that holds them all, or becomes text.

    Raises:
        ValueError: If the text is in another column or of another type in one of the files, with its name.
    """
    rows = [part for _, part in parts]
    if all(part.features == rows[0].features for part in rows):
        return concatenate_datasets(rows)
    text, key = _check_text(parts, text_column)
    names = dict.fromkeys(name for part in rows for name in part.column_names)
    kinds = {name: _common(parts, name, key if name == text else None) for name in names}
    place = kept_file("aligned", text_column, *((part.info.description, str(part.features)) for part in rows))
    aligned = keep(place, _tables(parts, kinds))
    assert aligned is not None  # no part is empty
    return aligned


def _check_text(parts: Parts, text_column: str | None) -> tuple[str, str]:
    """The column that all files have their text in, and under which key; empty where join_answers will find none."""
    found: dict[tuple[str, str], str] = {}
    for file, part in parts:
        try:
            column = text_column or find_text_column(part.features)
        except ValueError as error:
            column = ""
            if any(outer for outer, _ in found):
                raise ValueError(f"{file}: {error}") from error
        outer, _dot, key = (column, "", "") if column in part.column_names else column.partition(".")
        if outer and outer not in part.column_names:
            raise ValueError(f"{file}: {no_column(column, part.column_names)}")
        found.setdefault((outer, key), file)
        if len(found) > 1:
            ((one, _), first), ((other, _), second) = found.items()
            raise ValueError(
                f"the text is in the column {one!r} of {first}, and in {other!r} of {second}: give all files the same"
            )
    return next(iter(found))


def _common(parts: Parts, name: str, text: str | None) -> pa.DataType:
    """A type that holds what a column holds in all files.

    Args:
        parts: The files and their rows.
        name: The column's.
        text: Which key of its objects is the text, empty if all of it is, ``None`` if it is not the text's column.
    """
    kinds = {file: part.features.arrow_schema.field(name).type for file, part in parts if name in part.column_names}
    try:
        return _merged(list(kinds.values()), text)
    except TypeError as error:
        first, one = next(iter(kinds.items()))
        second, other = next((file, kind) for file, kind in kinds.items() if kind != one)
        raise ValueError(f"column {name!r} holds {one} in {first}, and {other} in {second}") from error


def _merged(kinds: Sequence[pa.DataType], text: str | None) -> pa.DataType:
    """A type for values of several, which is a string where they have no other in common, and are not the text.

    Raises:
        TypeError: If the text has none.
    """
    kinds = [kind for kind in dict.fromkeys(kinds) if not pa.types.is_null(kind)]
    kinds = list(dict.fromkeys(map(plain, kinds))) or [pa.string()]
    if len(kinds) == 1:
        return kinds[0]
    if all(isinstance(kind, LISTS) for kind in kinds):
        return pa.list_(_merged([kind.value_type for kind in kinds], text))
    if all(map(pa.types.is_struct, kinds)):
        fields: dict[str, list[pa.DataType]] = {}
        for field in (field for kind in kinds for field in kind):
            fields.setdefault(field.name, []).append(field.type)
        return pa.struct([(name, _merged(some, "" if name == text else None)) for name, some in fields.items()])
    if text is not None:
        raise TypeError(kinds)
    return pa.string()


def _tables(parts: Parts, kinds: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
    for file, part in parts:
        for table in part.with_format("arrow").iter(BATCH):
            columns = {}
            for name, kind in kinds.items():
                try:
                    there = name in part.column_names
                    columns[name] = _as(table.column(name), kind) if there else pa.nulls(len(table), kind)
                except (pa.ArrowException, ValueError, OverflowError) as error:
                    raise ValueError(f"{file}: {name!r} can't be brought to {kind}: leave the column out") from error
            yield pa.table(columns)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    try:
        return converted(column, kind)
    except pa.ArrowInvalid:  # bytes that are to be text, of which nobody says that they are
        return reshaped(column, kind)
