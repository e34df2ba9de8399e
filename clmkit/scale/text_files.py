"""The texts of local files as a stream: of each file only the column with the text, a piece at a time."""

import codecs
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from typing import Any

import pyarrow as pa
from datasets import Features, IterableDataset, Value
from datasets.config import HF_DATASETS_CACHE
from pyarrow import parquet

from clmkit.files import check_encoding, csv_format, find_builder
from clmkit.json_rows import read_rows
from clmkit.packed import PACKED, UNPACKING_ERRORS, encoding_of, not_decoded, open_unpacked
from clmkit.saving import check_cache
from clmkit.scale.csv_texts import csv_texts
from clmkit.scale.json_lines import arrow_schema, fast_texts, join_row, texts_by_line, value_at
from clmkit.texts import BadRow, find_text_column, join_values, no_column

CHUNK = 2**20  # bytes of JSON Lines that are read at a time
ROWS = 1000  # of other files
HEAD = 100  # rows that tell where the text is, and of which type
TEXT = Features({"text": Value("string")})


@dataclass(frozen=True)
class Source:
    """How the texts of a file are read.

    Attributes:
        path: The file.
        kind: ``"lines"``, ``"json"``, ``"csv"`` or ``"parquet"``.
        column: The column with the text; of JSON that is read whole, ``None`` where it still has to be found.
        named: The encoding that was given, if one was.
        encoding: The encoding that it is read in.
        sep: What separates the columns of CSV.
        schema: Of what Arrow reads of JSON Lines.
    """

    path: Path
    kind: str
    column: str | None
    named: str | None
    encoding: str = "utf-8-sig"
    sep: str = ","
    schema: pa.Schema | None = None


def stream_texts(files: Sequence[str], text_column: str | None = None, encoding: str | None = None) -> IterableDataset:
    """Stream the joined texts of local files: what ``join_answers`` gives for rows of ``load_local``.

    Other columns are not read, so nothing in them matters. To go on costs no reading of what comes before in JSON Lines
    in UTF-8 that are not packed; other files are read again from their beginning.

    Args:
        files: JSON, JSON Lines, CSV and Parquet files, as they are or packed.
        text_column: The column with the text; without it ``find_text_column`` decides, for each file.
        encoding: Of JSON and CSV files; by default UTF-8, or UTF-16 where a mark says so.

    Returns:
        Rows of ``text`` (string), file by file; in later epochs the files come in another order.

    Raises:
        ValueError: If a file's type or encoding is unknown, it is empty, or its beginning has no text column; and when
            rows are read, if one can't be or has no text, with file and line, or row.
        OSError: If a file or the cache of Datasets, where it locks what it streams, can't be opened.
    """
    check_cache(HF_DATASETS_CACHE)
    sources = [look(Path(file), text_column, encoding) for file in files]
    pieces = IterableDataset.from_generator(_pieces, gen_kwargs={"sources": sources})
    names = ["source", "start", "end", "texts"]
    return pieces.map(_read_pieces, batched=True, batch_size=1, remove_columns=names, features=TEXT)


def look(path: Path, text_column: str | None, named: str | None) -> Source:
    """Find out from a file's beginning how it is read.

    Raises:
        ValueError: As ``stream_texts``.
    """
    builder = find_builder(path)
    if named is not None:
        check_encoding(named, path, builder)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty: there are no rows in it to train on")
    source = Source(path, builder, text_column, named)
    with _by_file(source):
        if builder == "parquet":
            return _look_at_parquet(source)
        source = replace(source, encoding=_encoding(path, named))
    with _by_file(source):
        if builder == "json":
            return _look_at_json(source)
        sep, columns = csv_format(path, source.encoding)
        return replace(source, sep=sep, column=_find_column(path, dict.fromkeys(columns), text_column))


def _encoding(path: Path, named: str | None) -> str:
    found = encoding_of(path)
    if named is None or codecs.lookup(named).name == "utf-8":
        return found if named is None else "utf-8-sig"
    # Read piece by piece, UTF-16 without a mark is refused by Python; read whole, it is taken for this.
    return "utf-16-le" if codecs.lookup(named).name == "utf-16" and found != "utf-16" else named


def _look_at_parquet(source: Source) -> Source:
    with _open_parquet(source.path) as file:
        if file.metadata.num_rows == 0:
            raise ValueError(f"{source.path}: there are no rows in it to train on")
        return replace(source, column=_find_column(source.path, _shape_of(file.schema_arrow), source.column))


def _look_at_json(source: Source) -> Source:
    """Whether the file is JSON Lines, and where their text is."""
    with _open_text(source) as file:
        lines = islice((line for line in file if line.strip()), HEAD)
        first, rest = next(lines, "").strip(), list(lines)
    rows = [row for row in map(_parse, [first, *rest]) if isinstance(row, dict)]
    if not (first.startswith("{") and first.endswith("}") and rest):  # a list, an object over many lines, or one row
        return source
    column = _find_column(source.path, _examples(rows), source.column) if rows else source.column
    return replace(source, kind="lines", column=column, schema=arrow_schema(rows, column) if column else None)


def _examples(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each column the first value that is not empty, or an empty one."""
    examples: dict[str, Any] = {}
    for row in rows:
        examples |= {name: value for name, value in row.items() if not examples.get(name)}
    return examples


def _parse(line: str) -> Any:
    """What stands on a line; nothing where it is malformed, which is told when it is read."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _find_column(path: Path, columns: Mapping[str, Any], text_column: str | None) -> str:
    """The column with the text, which is there.

    Raises:
        ValueError: If it is not; with the file, and the columns there are.
    """
    try:
        column = text_column or find_text_column(columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if column not in columns and column.partition(".")[0] not in columns:
        raise ValueError(f"{path}: {no_column(column, columns)}")
    return column


def _shape_of(schema: Any) -> Any:
    """The columns of a Parquet file as ``find_text_column`` takes them: objects within lists, and types."""
    if isinstance(schema, pa.Schema | pa.StructType):
        return {field.name: _shape_of(field.type) for field in schema}
    return [_shape_of(schema.value_type)] if hasattr(schema, "value_type") else schema


def _pieces(sources: list[Source]) -> Iterator[dict[str, Any]]:
    """What is cheap to pass over when a run goes on: a place in a file, or where that can't be found again, texts."""
    for source in sources:
        piece = {"source": source, "start": 0, "end": 0, "texts": []}
        with _by_file(source):
            if source.kind == "lines" and source.encoding == "utf-8-sig" and not _is_packed(source.path):
                for start, end in _places(source.path):
                    yield {**piece, "start": start, "end": end}
            else:
                for texts in READERS[source.kind](source):
                    yield {**piece, "texts": texts}


def _read_pieces(pieces: dict[str, list[Any]]) -> dict[str, list[str]]:
    texts: list[str] = []
    for source, start, end, read in zip(*(pieces[name] for name in ("source", "start", "end", "texts")), strict=True):
        texts += read if end == 0 else _texts_at(source, start, end)
    return {"text": texts}


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in PACKED


def _places(path: Path) -> Iterator[tuple[int, int]]:
    """Where chunks of whole lines begin and end, in bytes."""
    end, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while (start := end) < size:
            file.seek(start + CHUNK)
            file.readline()
            end = min(file.tell(), size)
            yield start, end


def _texts_at(source: Source, start: int, end: int) -> list[str]:
    with source.path.open("rb") as file:
        file.seek(start)
        chunk = file.read(end - start)
    chunk = chunk.removeprefix(codecs.BOM_UTF8) if start == 0 else chunk
    return _texts_of_lines(source, chunk, lambda: _lines_before(source.path, start) + 1)


def _texts_of_lines(source: Source, chunk: bytes, first: Callable[[], int]) -> list[str]:
    texts = fast_texts(chunk, str(source.column), source.schema)
    if texts is None:
        return texts_by_line(chunk, source.path, first, str(source.column), source.named)
    return texts


def _lines_before(path: Path, start: int) -> int:
    lines = 0
    with path.open("rb") as file:
        while start:
            chunk = file.read(min(start, CHUNK))
            lines, start = lines + chunk.count(b"\n"), start - len(chunk)
    return lines


def _read_lines(source: Source) -> Iterator[list[str]]:
    """Texts of JSON Lines that have to be unpacked or decoded."""
    first = 1
    with _open_text(source) as file:
        while lines := file.readlines(CHUNK):
            yield _texts_of_lines(source, "".join(lines).encode(), partial(int, first))
            first += len(lines)


def _read_json(source: Source) -> Iterator[list[str]]:
    """Texts of JSON that is one value, and so has to be read whole."""
    rows = read_rows(source.path, source.column, source.named and source.encoding)
    if not rows:
        raise ValueError(f"{source.path}: there are no rows in it to train on")
    column = _find_column(source.path, _examples(rows), source.column)
    for start in range(0, len(rows), ROWS):
        texts = []
        for number, row in enumerate(rows[start : start + ROWS], start=start):
            try:
                texts.append(join_row(row, column))
            except BadRow as error:
                raise ValueError(f"{source.path}, row {number}{error.problem}") from error
        yield texts


def _read_csv(source: Source) -> Iterator[list[str]]:
    return csv_texts(source.path, str(source.column), source.sep, source.encoding)


def _read_parquet(source: Source) -> Iterator[list[str]]:
    column, done = str(source.column), 0
    with _open_parquet(source.path) as file:
        name = column if column in file.schema_arrow.names else column.partition(".")[0]
        for batch in file.iter_batches(ROWS, columns=[name]):
            rows = [{name: value} for value in batch.column(0).to_pylist()]
            try:
                texts = join_values([value_at(row, column) for row in rows], column)
            except BadRow as error:
                raise ValueError(f"{source.path}, row {done + error.row}{error.problem}") from error
            yield texts
            done += len(rows)


READERS: dict[str, Callable[[Source], Iterator[list[str]]]] = {
    "lines": _read_lines,
    "json": _read_json,
    "csv": _read_csv,
    "parquet": _read_parquet,
}


@contextmanager
def _open_text(source: Source) -> Iterator[io.TextIOWrapper]:
    """A file as text, whose lines end in nothing but line feeds."""
    with (
        open_unpacked(source.path) as packed,
        io.TextIOWrapper(packed, encoding=source.encoding, newline="\n") as file,
    ):
        yield file


@contextmanager
def _open_parquet(path: Path) -> Iterator[parquet.ParquetFile]:
    """A Parquet file; Parquet is read from its end, so one that is packed is unpacked into a temporary file."""
    if not _is_packed(path):
        with parquet.ParquetFile(path) as file:
            yield file
        return
    with tempfile.TemporaryFile() as plain:
        with open_unpacked(path) as packed:
            copyfileobj(packed, plain)
        with parquet.ParquetFile(plain) as file:
            yield file


@contextmanager
def _by_file(source: Source) -> Iterator[None]:
    """Raise what can't be read as a ValueError that names the file."""
    try:
        yield
    except UnicodeDecodeError as error:
        named = source.named or (source.encoding if source.encoding == "utf-16" else None)
        raise ValueError(not_decoded(source.path, error, named)) from error
    except (ValueError, pa.ArrowException, *UNPACKING_ERRORS) as error:
        if str(error).startswith(str(source.path)) or getattr(error, "errno", None):
            raise  # it says what is wrong already, or is trouble of the disk
        kind = source.kind if source.kind != "lines" else "json"
        raise ValueError(f"{source.path}: can't be read as {kind}: {error}") from error
