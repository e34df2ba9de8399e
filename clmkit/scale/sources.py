"""What is known of a file before its texts are read as a stream: of which kind it is, and where its text stands."""

import codecs
import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from shutil import copyfileobj
from typing import Any

import pyarrow as pa
from datasets import Features
from pyarrow import parquet

from clmkit.columns import examples_of, find_text_column, no_column
from clmkit.csv_rows import open_csv
from clmkit.files import check_encoding, find_builder
from clmkit.hub.client import HUB_ERRORS, explain, is_hub_error
from clmkit.hub.data_sets import HubFile
from clmkit.kept import plain
from clmkit.packed import UNPACKING_ERRORS, DataFile, check_content, encoding_of, not_decoded, open_unpacked, packer_of
from clmkit.scale.json_lines import arrow_schema, parse

HEAD = 100  # rows that tell where the text is, and of which type


@dataclass(frozen=True)
class Source:
    """How the texts of a file are read.

    Attributes:
        path: The file.
        kind: ``"lines"``, ``"json"``, ``"csv"`` or ``"parquet"``; empty of one that was not looked at.
        column: The column with the text; of JSON that is read whole, ``None`` where it still has to be found.
        named: The encoding that was given, if it is not UTF-8.
        encoding: The encoding that it is read in.
        schema: Of what Arrow reads of JSON Lines.
    """

    path: DataFile
    kind: str
    column: str | None
    named: str | None
    encoding: str = "utf-8-sig"
    schema: pa.Schema | None = None


def look(path: DataFile, text_column: str | None, named: str | None) -> Source:
    """Find out from a file's beginning how it is read.

    Raises:
        ValueError: As ``stream_texts``.
    """
    builder = find_builder(path)
    if named is not None:
        check_encoding(named, path, builder)
        named = None if codecs.lookup(named).name == "utf-8" else named
    source = Source(path, builder, text_column, named)
    with by_file(source):
        check_content(path)
        if builder == "parquet":
            return _look_at_parquet(source)
        source = replace(source, encoding=_encoding(path, named))
    with by_file(source):
        if builder == "json":
            return _look_at_json(source)
        with open_csv(path, text_column, source.encoding) as (columns, _rows):
            return replace(source, column=find_column(path, dict.fromkeys(columns, "text"), text_column))


def _encoding(path: DataFile, named: str | None) -> str:
    if named and codecs.lookup(named).name == "utf-16":
        with open_unpacked(path) as file:  # without a mark Python takes it for this, but not where it is read in pieces
            return named if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-16-le"
    return named or encoding_of(path)


def _look_at_parquet(source: Source) -> Source:
    with open_parquet(source.path) as file:
        if file.metadata.num_rows == 0:
            raise ValueError(f"{source.path}: there are no rows in it to train on")
        kinds = pa.schema({field.name: plain(field.type, "") for field in file.schema_arrow})
        return replace(source, column=find_column(source.path, Features.from_arrow_schema(kinds), source.column))


def _look_at_json(source: Source) -> Source:
    """Whether the file is JSON Lines, and where their text is."""
    with open_text(source) as file:
        lines = islice((line for line in file if line.strip()), HEAD)
        first, rest = next(lines, "").strip(), list(lines)
    if not (first.startswith("{") and first.endswith("}") and rest):  # a list, an object over many lines, or one row
        return source
    rows = [row for row in map(_parse, [first, *rest]) if isinstance(row, dict)]
    column = find_column(source.path, examples_of(rows), source.column) if rows else source.column
    return replace(source, kind="lines", column=column, schema=arrow_schema(rows, column) if column else None)


def _parse(line: str) -> Any:
    """What stands on a line; nothing where it is malformed, which is told when it is read."""
    try:
        return parse(line)
    except (ValueError, RecursionError):
        return None


def find_column(path: DataFile, columns: Mapping[str, Any], text_column: str | None) -> str:
    """The column with the text, which is there.

    Raises:
        ValueError: If it is not; with the file, and the columns there are.
    """
    try:
        column = text_column or find_text_column(columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    outer = columns.get(column.partition(".")[0])
    if column not in columns and (outer is None or isinstance(outer, str)):
        raise ValueError(f"{path}: {no_column(column, columns)}")
    return column


def is_packed(path: DataFile) -> bool:
    """Whether a file has to be unpacked."""
    return packer_of(path) != ""


@contextmanager
def open_text(source: Source) -> Iterator[io.TextIOWrapper]:
    """A file as text, whose lines end in nothing but line feeds."""
    with (
        open_unpacked(source.path) as packed,
        io.TextIOWrapper(packed, encoding=source.encoding, newline="\n") as file,
    ):
        yield file


@contextmanager
def open_parquet(path: DataFile) -> Iterator[parquet.ParquetFile]:
    """A Parquet file; Parquet is read from its end, so one that is packed is unpacked into a temporary file."""
    if not is_packed(path):
        with path.open("rb") as whole, parquet.ParquetFile(whole) as file:
            yield file
        return
    with tempfile.TemporaryFile() as plain:
        with open_unpacked(path) as packed:
            copyfileobj(packed, plain)
        with parquet.ParquetFile(plain) as file:
            yield file


@contextmanager
def by_file(source: Source) -> Iterator[None]:
    """Raise what can't be read as a ValueError that names the file.

    Raises:
        PermissionError: If the Hub refuses the token.
        ConnectionError: If the Hub, or the way to it, fails.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(not_decoded(source.path, source.named)) from error
    except (ValueError, pa.ArrowException, *UNPACKING_ERRORS, *HUB_ERRORS) as error:
        if isinstance(source.path, HubFile) and is_hub_error(error) and not isinstance(error, ValueError):
            raise explain(error, f"reading {source.path}", "Run this again: it goes on from there") from error
        if str(error).startswith(str(source.path)) or getattr(error, "errno", None):
            raise  # it says what is wrong already, or is trouble of the disk
        kind = source.kind if source.kind != "lines" else "json"
        raise ValueError(f"{source.path}: can't be read as {kind}: {error}") from error
