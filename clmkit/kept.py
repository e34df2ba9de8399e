"""Rows that are kept in the cache as Arrow files, and values of any type as text."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, config

from clmkit.saving import check_cache, write_whole

FORM = 3  # of what is kept: one more where a file is to be read otherwise than before
BATCH = 1000  # rows that are written at a time
LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.ListViewType, pa.LargeListViewType)
BINARIES = (pa.binary(), pa.large_binary(), pa.binary_view())
DEEP = 20  # what is nested deeper becomes text: Datasets goes through a type by calls within calls


def kept_file(*key: object) -> Path:
    """Where the rows are kept that are read from a content, and in a way, that the key tells."""
    digest = hashlib.sha256(json.dumps([FORM, *key]).encode()).hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "clmkit" / digest[:32] / "rows.arrow"


def keep(place: Path, tables: Iterable[pa.Table]) -> Dataset | None:
    """Write rows, a table at a time, unless they are there already.

    Args:
        place: A ``kept_file``.
        tables: All with the columns of the first, of types that ``fits`` takes.

    Returns:
        The rows, which are read from the disk as they are needed; ``None`` if there are none.

    Raises:
        OSError: If the cache can't be written.
    """
    if not place.is_file():
        filled = (table for table in tables if len(table))
        first = next(filled, None)
        if first is None:
            return None
        check_cache(place.parent)
        schema = Features.from_arrow_schema(first.schema).arrow_schema
        with write_whole(place.parent) as folder, pa.ipc.new_stream(str(folder / place.name), schema) as writer:
            for table in chain([first], filled):
                # Not cast(), which breaks objects in lists that have a key without a value anywhere (pyarrow 18 to 26).
                writer.write_table(pa.table(table.columns, schema=schema))
    return Dataset.from_file(str(place))


def fits(kind: pa.DataType) -> bool:
    """Whether Datasets has a type for one of Arrow's, and is not in danger of going too deep into it."""
    if str(kind).count("<") > DEEP:
        return False
    try:
        return bool(Features.from_arrow_schema(pa.schema({"column": kind})))
    except (ValueError, AttributeError):  # the latter of datasets 4.0, for some lists
        return False


def plain(kind: pa.DataType, text: str | None = None) -> pa.DataType:
    """The type with one kind of string and of list for all that Arrow has, and strings for what Datasets has not.

    Args:
        kind: Of a column.
        text: Which key of its objects is the text, whose bytes are strings; empty if all of it is.
    """
    types, deep = pa.types, str(kind).count("<") > DEEP
    if types.is_dictionary(kind):
        return plain(kind.value_type, text)
    if types.is_large_string(kind) or types.is_string_view(kind) or (text == "" and kind in BINARIES):
        return pa.string()
    if isinstance(kind, LISTS) and not deep:
        return pa.list_(plain(kind.value_type, text))
    if types.is_struct(kind) and not deep:
        return pa.struct(
            [pa.field(field.name, plain(field.type, "" if field.name == text else None)) for field in kind]
        )
    return kind if fits(kind) and not types.is_null(kind) else pa.string()


def converted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column in the ``plain`` type that belongs to its own.

    Raises:
        pa.ArrowInvalid: If a string is not UTF-8, or a value is beyond what Python or Arrow can take.
        ValueError: As before.
    """
    if kind != column.type:
        try:
            if "view" in str(column.type) or "struct" in str(column.type):  # some casts give broken lists (pyarrow 26)
                raise pa.ArrowNotImplementedError
            column = column.cast(kind)
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError):  # the latter of objects with other keys
            column = reshaped(column, kind)
    column.validate(full=True)
    return column


def reshaped(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column value by value in another type, with text wherever that has a string.

    Raises:
        pa.ArrowInvalid: If a value is beyond what the type can take.
    """
    values = pa.array([shaped(value, kind) for value in column.to_pylist()], _stored(kind))
    return values.cast(kind) if values.type != kind else values


def _stored(kind: pa.DataType) -> pa.DataType:
    """How Arrow stores a type: it makes no array of Python's values in an extension's, which Datasets' Json is."""
    if isinstance(kind, LISTS):
        return pa.list_(_stored(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _stored(field.type)) for field in kind])
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def shaped(value: Any, kind: pa.DataType) -> Any:
    """A value with text wherever a type has a string."""
    if value is None:
        return None
    if isinstance(kind, LISTS):
        return [shaped(inner, kind.value_type) for inner in value]
    if pa.types.is_struct(kind):
        return {field.name: shaped(value.get(field.name), field.type) for field in kind}
    return as_text(value) if pa.types.is_string(kind) else value


def as_text(value: Any) -> str | None:
    """A value as text: JSON but for strings; half a character, which no text has, as its escape."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()


def texts(values: Iterable[Any]) -> pa.Array:
    """Values as a column of texts."""
    return pa.array(map(as_text, values), pa.string())


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once, as pandas has them: a second ``id`` is ``id.1``, no name ``Unnamed: 0``."""
    found: list[str] = []
    for place, name in enumerate(names):
        name = name or f"Unnamed: {place}"
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}.{number}"
        found.append(free)
    return found
