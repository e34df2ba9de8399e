"""The texts of local files as a stream: of each file only the column with the text, a piece at a time."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Features, IterableDataset, List, Value
from datasets.config import HF_DATASETS_CACHE

from clmkit.columns import examples_of
from clmkit.csv_rows import long_cells, open_csv
from clmkit.hub.data_sets import HubFile
from clmkit.json_rows import read_rows
from clmkit.kept import converted, plain
from clmkit.saving import check_cache
from clmkit.scale.json_lines import fast_texts, join_row, texts_by_line
from clmkit.scale.sources import Source, by_file, find_column, is_packed, look, open_parquet, open_text
from clmkit.texts import BadRow, join_values

CHUNK = 2**20  # bytes of JSON Lines that are read at a time
ROWS = 1000  # of other files
TEXT = Features({"text": Value("string")})
PIECE = Features(
    {"source": Value("int64"), "start": Value("int64"), "end": Value("int64"), "texts": List(Value("string"))}
)


def stream_texts(
    files: Sequence[str | HubFile], text_column: str | None = None, encoding: str | None = None
) -> IterableDataset:
    """Stream the joined texts of files: what ``join_answers`` gives for rows of ``load_local``.

    Other columns are not read, so nothing in them matters. To go on costs no reading of what comes before in JSON Lines
    in UTF-8 that are not packed; other files are read again from their beginning.

    Args:
        files: JSON, JSON Lines, CSV and Parquet files, as they are or packed; on this machine by their paths.
        text_column: The column with the text; without it ``find_text_column`` decides, for each file.
        encoding: Of JSON and CSV files; by default UTF-8, or UTF-16 where a mark says so.

    Returns:
        Rows of ``text`` (string), file by file; in later epochs the files come in another order.

    Raises:
        ValueError: If a file's type or encoding is unknown, it is empty, or its beginning has no text column; and when
            rows are read, if one can't be or has no text, with file and line, or row.
        ConnectionError: If the Hub, or the way to it, fails.
        OSError: If a file or the cache of Datasets, where it locks what it streams, can't be opened.
    """
    check_cache(HF_DATASETS_CACHE)
    # Of the Hub's files, which may be thousands, only the first is looked at before its turn comes.
    sources = [
        look(Path(file), text_column, encoding) if isinstance(file, str) else _look_on_hub(file, text_column, number)
        for number, file in enumerate(files)
    ]
    pieces = IterableDataset.from_generator(_pieces, PIECE, gen_kwargs={"sources": list(enumerate(sources))})
    how: dict[str, Any] = {"batched": True, "batch_size": 1, "remove_columns": list(PIECE), "features": TEXT}
    texts = pieces.with_format("arrow").map(_read_piece, **how, fn_kwargs={"sources": sources})  # no object a row
    return texts.with_format(None)


def _look_on_hub(file: HubFile, text_column: str | None, number: int) -> Source:
    return Source(file, "", text_column, None) if number else look(file, text_column, None)


def _pieces(sources: list[tuple[int, Source]]) -> Iterator[dict[str, Any]]:
    """What is cheap to pass over when a run goes on: a place in a file, or where that can't be found again, texts."""
    for number, source in sources:
        piece = {"source": number, "start": 0, "end": 0, "texts": []}
        with by_file(source):
            if source.kind == "":
                source = look(source.path, source.column, None)
            seekable = isinstance(source.path, Path) and not is_packed(source.path)
            if source.kind == "lines" and source.encoding == "utf-8-sig" and seekable:
                for start, end in _places(Path(str(source.path))):
                    yield {**piece, "start": start, "end": end}
            else:
                for texts in READERS[source.kind](source):
                    yield {**piece, "texts": texts}


def _read_piece(table: pa.Table, sources: list[Source]) -> pa.Table:
    ((number, start, end),) = zip(*(table.column(name).to_pylist() for name in ("source", "start", "end")), strict=True)
    if end == 0:
        return pa.table({"text": table.column("texts").combine_chunks().flatten()})
    return pa.table({"text": pa.array(_texts_at(sources[number], start, end), pa.string())})


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
    path = Path(str(source.path))
    with path.open("rb") as file:
        file.seek(start)
        chunk = file.read(end - start)
    chunk = chunk.removeprefix(codecs.BOM_UTF8) if start == 0 else chunk
    return _texts_of_lines(source, chunk, lambda: _lines_before(path, start) + 1)


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
    """Texts of JSON Lines that have to be downloaded, unpacked or decoded."""
    first = 1
    with open_text(source) as file:
        while lines := file.readlines(CHUNK):
            yield _texts_of_lines(source, "".join(lines).encode(), partial(int, first))
            first += len(lines)


def _read_json(source: Source) -> Iterator[list[str]]:
    """Texts of JSON that is one value, and so has to be read whole."""
    rows, where = read_rows(source.path, source.column, source.named and source.encoding)
    if not rows:
        raise ValueError(f"{source.path}: there are no rows in it to train on")
    column = find_column(source.path, examples_of(rows), source.column)
    for start in range(0, len(rows), ROWS):
        texts = []
        for number, row in enumerate(rows[start : start + ROWS], start=start):
            try:
                texts.append(join_row(row, column))
            except BadRow as error:
                raise ValueError(f"{source.path}, {where(number)}{error.problem}") from error
        yield texts


def _read_csv(source: Source) -> Iterator[list[str]]:
    column, found = str(source.column), False
    with open_csv(source.path, column, source.encoding) as (columns, rows):
        place = columns.index(column)
        while True:
            with long_cells():
                batch = list(islice(rows, ROWS))
            if not batch:
                break
            try:
                texts = join_values([cells[place] for _, cells in batch], column)
            except BadRow as error:
                raise ValueError(f"{source.path}, line {batch[error.row][0]}{error.problem}") from error
            yield texts
            found = True
    if not found:
        raise ValueError(f"{source.path}: there are no rows in it to train on")


def _join(rows: pa.Array, column: str, name: str) -> list[str]:
    """The texts of a column of this name, or for ``"answers.text"`` of what is under a key of its objects."""
    key = column[len(name) + 1 :]
    if pa.types.is_struct(rows.type) and rows.type.get_field_index(key) >= 0 and not rows.null_count:
        return join_values(pc.struct_field(rows, [key]).to_pylist(), column)
    return join_values(rows.to_pylist(), column, name)


def _read_parquet(source: Source) -> Iterator[list[str]]:
    column, done = str(source.column), 0
    with open_parquet(source.path) as file:
        name = column if column in file.schema_arrow.names else column.partition(".")[0]
        # Of an object the text alone: an object with other keys may have to be converted value by value.
        wanted = column if pa.types.is_struct(file.schema_arrow.field(name).type) else name
        for batch in file.iter_batches(ROWS, columns=[wanted]):
            values = converted(batch.column(0), plain(batch.column(0).type, column[len(name) + 1 :]))
            try:
                texts = _join(values, column, name)
            except BadRow as error:
                raise ValueError(f"{source.path}, row {done + error.row}{error.problem}") from error
            yield texts
            done += len(values)


READERS: dict[str, Callable[[Source], Iterator[list[str]]]] = {
    "lines": _read_lines,
    "json": _read_json,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
