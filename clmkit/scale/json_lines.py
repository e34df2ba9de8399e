"""Texts of JSON Lines, a chunk at a time: by Arrow's reader where it can, else line by line with errors by line."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import pyarrow as pa
from pyarrow import json as arrow_json

from clmkit.columns import split_column
from clmkit.json_rows import number_of
from clmkit.packed import DataFile, not_decoded
from clmkit.texts import BadRow, join_values

TOO_DEEP = ": lists and objects are nested too deep to be read: flatten them, or remove the row"

Utf8: TypeAlias = bytes


def fast_texts(chunk: Utf8, column: str, schema: pa.Schema | None) -> list[str] | None:
    """The joined texts of whole lines by Arrow's reader, which passes over all other columns.

    Args:
        chunk: The lines, in UTF-8.
        column: The column with the text, as ``join_answers`` takes it.
        schema: Of what Arrow has to read, as ``arrow_schema`` gives it.

    Returns:
        The texts; ``None`` where it takes ``texts_by_line`` to read the lines, or to say what is wrong with them.
    """
    if schema is None:
        return None
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    read = arrow_json.ReadOptions(use_threads=False, block_size=len(chunk) + 1)
    try:
        table = arrow_json.read_json(pa.BufferReader(chunk), parse_options=parse, read_options=read)
        if len(table) != chunk.count(b"\n") + (not chunk.endswith(b"\n")):
            return None  # lines that are blank, or hold several objects
        return join_values(table.column(0).to_pylist(), column, schema.names[0])
    except (pa.ArrowException, UnicodeDecodeError, BadRow):
        return None


def texts_by_line(
    chunk: Utf8, path: DataFile, first: Callable[[], int], column: str, encoding: str | None = None
) -> list[str]:
    """The joined texts of whole lines, of which each that is not blank holds an object.

    Args:
        chunk: The lines, in UTF-8.
        path: Their file, for errors.
        first: Counts the number of the first line, where there is an error to tell.
        column: The column with the text, as ``join_answers`` takes it.
        encoding: What the user says that the file is in, if they do.

    Raises:
        ValueError: If a line is malformed, or its text can't be joined; with file and line.
    """
    texts = []
    for number, line in enumerate(chunk.split(b"\n")):
        if line.strip():
            try:
                texts.append(join_row(json_object(line), column))
            except UnicodeDecodeError as error:
                raise ValueError(not_decoded(path, encoding)) from error
            except BadRow as error:
                raise ValueError(f"{path}, line {first() + number}{error.problem}") from error
    return texts


def json_object(line: Utf8) -> dict[str, Any]:
    """The object on a line.

    Raises:
        BadRow: If the line is malformed, or holds something else.
        UnicodeDecodeError: If it is not UTF-8.
    """
    text = line.decode()
    try:
        row = parse(text)
    except json.JSONDecodeError as error:
        raise BadRow(0, f": malformed JSON: {error.msg}") from error
    except RecursionError as error:
        raise BadRow(0, TOO_DEEP) from error
    if not isinstance(row, dict):
        raise BadRow(0, f": a row must be a JSON object, not {type(row).__name__}")
    return row


def parse(text: str) -> Any:
    """Parse JSON; a number of more digits than Python takes for one stays text, as it may stand beside the text."""
    return json.loads(text, parse_int=number_of)


def join_row(row: dict[str, Any], column: str) -> str:
    """The text of one row.

    Raises:
        BadRow: If it can't be joined, or is no text that could be written.
    """
    outer, _ = split_column(column, row)
    try:
        text = join_values([row.get(outer)], column, outer)[0]
        text.encode()
    except RecursionError as error:
        raise BadRow(0, TOO_DEEP) from error
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise BadRow(0, f": {half} in {column!r} is half a character: mend the text, or remove the row") from error
    return text


def arrow_schema(rows: Iterable[dict[str, Any]], column: str) -> pa.Schema | None:
    """How Arrow has to read the column and nothing else, as far as some rows tell; ``None`` if they do not."""
    for row in rows:
        name = column if column in row else column.partition(".")[0]
        if kind := _arrow_type(row.get(name), column[len(name) + 1 :]):
            return pa.schema([(name, kind)])
    return None


def _arrow_type(value: Any, column: str) -> pa.DataType | None:
    if isinstance(value, str) and not column:
        return pa.string()
    if isinstance(value, list) and value:
        inner = _arrow_type(value[0], column)
        return inner and pa.list_(inner)
    if isinstance(value, dict) and column:
        name = column if column in value else column.partition(".")[0]
        inner = _arrow_type(value.get(name), column[len(name) + 1 :])
        return inner and pa.struct([(name, inner)])
    return None
