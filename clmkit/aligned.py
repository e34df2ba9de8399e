"""Rows of several files as one data set: only the text has to be alike."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from clmkit.kept import converted, fits, keep, kept_file, plain
from clmkit.texts import find_text_column, no_column

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
    text = _check_text(parts, text_column)
    kinds = {name: _common(parts, name, name == text) for part in rows for name in part.column_names}
    place = kept_file("aligned", text_column, *((part.info.description, str(part.features)) for part in rows))
    aligned = keep(place, _tables(rows, kinds))
    assert aligned is not None  # no part is empty
    return aligned


def _check_text(parts: Parts, text_column: str | None) -> str:
    """The column that all files have their text in; an empty name if none has any, which join_answers tells."""
    found: dict[str, str] = {}
    for file, part in parts:
        try:
            column = text_column or find_text_column(part.features)
        except ValueError as error:
            column = ""
            if any(found):
                raise ValueError(f"{file}: {error}") from error
        outer = column if column in part.column_names else column.partition(".")[0]
        if outer and outer not in part.column_names:
            raise ValueError(f"{file}: {no_column(column, part.column_names)}")
        found.setdefault(outer, file)
        if len(found) > 1:
            (one, first), (other, second) = found.items()
            raise ValueError(
                f"the text is in the column {one!r} of {first}, and in {other!r} of {second}: give all files the same"
            )
    return next(iter(found))


def _common(parts: Parts, name: str, is_text: bool) -> pa.DataType:
    """A type that holds what a column holds in all files."""
    kinds = {file: part.features.arrow_schema.field(name).type for file, part in parts if name in part.column_names}
    schemas = [pa.schema({name: kind}) for kind in kinds.values()]
    try:
        kind = plain(pa.unify_schemas(schemas, promote_options="permissive").field(0).type)
    except pa.ArrowException as error:
        if is_text:
            one, other = list(dict.fromkeys(kinds.values()))[:2]
            names = [next(file for file, kind in kinds.items() if kind == wanted) for wanted in (one, other)]
            raise ValueError(f"column {name!r} holds {one} in {names[0]}, and {other} in {names[1]}") from error
        return pa.string()
    return kind if fits(kind) else pa.string()


def _tables(rows: Sequence[Dataset], kinds: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
    for part in rows:
        for table in part.with_format("arrow").iter(1000):
            columns = {
                name: converted(table.column(name), kind) if name in part.column_names else pa.nulls(len(table), kind)
                for name, kind in kinds.items()
            }
            yield pa.table(columns)
