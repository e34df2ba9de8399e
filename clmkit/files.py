"""Read a learner's own data, a JSON, JSON Lines, CSV or Parquet file with errors by file and line, or from the Hub."""

import glob
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, Features, Value, concatenate_datasets, load_dataset
from datasets.config import HF_DATASETS_CACHE
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import HfApi

from clmkit.hub.client import hub_step
from clmkit.saving import check_cache
from clmkit.texts import find_text_column, holds_text
from clmkit.tracks import check_data_file

ROWS_UNDER = ("data", "train", "rows", "examples")
SPLITS = ("validation", "valid", "dev", "test")  # beside "train"; the course splits the rows of all itself
BUILDERS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}


def load_local(path: str | os.PathLike[str], rows: int | None = None, text_column: str | None = None) -> Dataset:
    """Load a local JSON, JSON Lines, CSV or Parquet file, gzipped or not.

    Only the text has to be sound: cells of a CSV file are text whatever they look like, and where the other columns of
    a JSON file do not fit one type, they become text too.

    Args:
        path: The file. JSON may be one list of objects, one object a line, or an object with the list under ``"data"``,
            ``"train"``, ``"rows"`` or ``"examples"``.
        rows: How many rows to keep at most, from the first.
        text_column: The column with the text; by default the one that ``find_text_column`` finds.

    Returns:
        The rows, in their order. ``info.description`` has the file's name and hash, for the model card.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If its type is unknown, it can't be parsed (with file and line), or it has no rows.
        OSError: If the cache can't be written.
    """
    path = check_data_file(path)
    builder = find_builder(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty: there are no rows in it to train on")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        dataset = _read(path, builder, sha256, text_column)
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(path, error)) from error
    except (DatasetGenerationError, ValueError, OSError, EOFError, zlib.error) as error:
        if str(error).startswith(str(path)):
            raise  # it says where and what already
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise ValueError(_not_utf8(path, error.__cause__)) from error
        check_cache(HF_DATASETS_CACHE)
        raise ValueError(f"{path}: can't be read as {builder}: {error.__cause__ or error}") from error
    if dataset is None or len(dataset) == 0:
        raise ValueError(f"{path}: there are no rows in it to train on")
    dataset = dataset.select(range(min(rows or len(dataset), len(dataset))))
    dataset.info.description = f"{path.name}, sha256 {sha256}, the first {len(dataset):,} rows"
    return dataset


def find_builder(path: Path) -> str:
    """The name of the Datasets library's builder for a file, by its suffix.

    Raises:
        ValueError: If its type is unknown.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    builder = BUILDERS.get(suffixes[-1] if suffixes else "")
    if builder is None:
        known = ", ".join(BUILDERS)
        raise ValueError(f"{path}: unknown file type; it must end in one of {known}, each also with .gz")
    return builder


def load_files(files: Sequence[str], rows: int | None = None, text_column: str | None = None) -> Dataset:
    """Load local files of equal columns as one data set.

    Args:
        files: Their paths.
        rows: How many rows to keep at most, from the first.
        text_column: As in ``load_local``.

    Returns:
        The rows, file by file; where they came from stands in ``info.description``.

    Raises:
        FileNotFoundError: As ``load_local``.
        ValueError: As ``load_local``.
    """
    if len(files) == 1:
        return load_local(files[0], rows, text_column)
    joined = concatenate_datasets([load_local(file, text_column=text_column) for file in files])
    joined = joined.select(range(min(rows or len(joined), len(joined))))
    joined.info.description = f"{describe_files(files)}, the first {len(joined):,} rows"
    return joined


def describe_files(files: Sequence[str]) -> str:
    """Names of files, and a hash of names, sizes and beginnings: all of them would take long to read."""
    described = []
    for path in map(Path, files):
        with path.open("rb") as file:
            described.append((path.name, path.stat().st_size, hashlib.sha256(file.read(2**20)).hexdigest()))
    names = described[0][0] if len(files) == 1 else f"{len(files)} files, {described[0][0]} to {described[-1][0]}"
    sha256 = hashlib.sha256(json.dumps(described).encode()).hexdigest()
    return f"{names}, {sum(size for _, size, _ in described):,} bytes, sha256 {sha256}"


def open_hub_data(
    name: str, revision: str | None = None, *, config: str | None = None, streaming: bool = False
) -> tuple[Any, str]:
    """Open the training rows of a data set on the Hub.

    Args:
        name: The data set's id.
        revision: A branch, tag or commit; by default the newest.
        config: Which of its configurations, if it has several.
        streaming: Whether to read the rows as they are asked for, in place of downloading them.

    Returns:
        The rows, a ``Dataset`` or an ``IterableDataset``, and their source: the id with the commit.

    Raises:
        PermissionError: If the Hub wants a login, or another one.
        ConnectionError: If the Hub, or the way to it, fails.
        OSError: If the disk is full.
    """
    with hub_step(f"asking the Hub for {name}", "Check the name, or name a local file"):
        commit = HfApi().dataset_info(name, revision=revision).sha
    with hub_step(f"loading {name}", "What has arrived is kept: run this again"):
        rows = load_dataset(name, config, split="train", revision=commit, streaming=streaming)
    which = f", configuration {config}" if config else ""
    return rows, f"{name}{which}, commit {commit}"


def _read(path: Path, builder: str, sha256: str, text_column: str | None) -> Dataset | None:
    """Read a file by one of the Datasets library's builders; ``None`` where it holds no rows.

    What was read is kept under the file's hash: another file in its place is read anew, whatever its time.
    """
    if builder == "parquet" and path.suffix.lower() == ".gz":  # the one type that Datasets does not unzip
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "rows.parquet"
            with gzip.open(path) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file)
            return _read(plain, builder, sha256, text_column)
    # Without types and without words that stand for nothing, "007", "NA" and "2026-01-01" are the texts that they are.
    as_text = _csv_as_text(path) if builder == "csv" else {}
    try:
        files = glob.escape(str(path))
        dataset = load_dataset(builder, f"file-{sha256[:32]}", data_files=files, split="train", **as_text)
        dataset.with_format("arrow")[:].validate(full=True)  # Arrow's JSON reader takes any bytes as they are
    except (ValueError, StopIteration, DatasetGenerationError, ImportError, NotImplementedError, TypeError) as error:
        # What Datasets says of a file that can be read and has no rows: this text, or a bare StopIteration.
        if isinstance(error, StopIteration) or "corresponds to no data" in str(error):
            return None
        if builder == "json":
            return _read_json(path, text_column)
        raise
    if builder == "json" and (len(dataset) == 1 or not _has_text(dataset.features, text_column)):
        return _read_json(path, text_column) or dataset
    return dataset


def _has_text(features: Features, text_column: str | None) -> bool:
    try:
        return holds_text(features, text_column or find_text_column(features))
    except ValueError:
        return False


def _csv_as_text(path: Path) -> dict[str, Any]:
    """How to read every cell of a CSV file as the text that it is."""
    with _open(path, "rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    columns = pd.read_csv(path, nrows=0, encoding=encoding).columns
    features = Features({str(column): Value("string") for column in columns})
    return {"features": features, "keep_default_na": False, "encoding": encoding}


def _open(path: Path, mode: str, **how: Any) -> Any:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, mode, **how)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    """Where a file is not UTF-8, by line and byte."""
    where, byte = "", error.object[error.start]
    with _open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as found:
                where, byte = f", line {number}", line[found.start]
                break
    return f"{path}{where}: the byte 0x{byte:02x} is not UTF-8 text: save the file in the encoding UTF-8"


def _read_json(path: Path, text_column: str | None) -> Dataset | None:
    """Read a JSON file row by row: the text as it is, every other column as text."""
    rows = _json_rows(path, text_column)
    if not rows:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    examples = {key: next(row[key] for row in rows if key in row) for key in columns}
    try:
        column = text_column or find_text_column(examples)
    except ValueError:
        column = ""  # join_answers says which columns there are
    kept = column if column in columns else column.partition(".")[0]
    return Dataset.from_list([{key: _cell(row.get(key), key == kept) for key in columns} for row in rows])


def _cell(value: Any, keep: bool) -> Any:
    return value if keep or value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_rows(path: Path, text_column: str | None) -> list[dict[str, Any]]:
    """The rows of a JSON file of any of the shapes of ``load_local``.

    Raises:
        ValueError: If it is malformed, with file and line, or of another shape, with that shape.
    """
    try:
        with _open(path, "rt", encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(path, error)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from error
    try:
        found = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            raise ValueError(f"{path}, line {error.lineno}: malformed JSON: {error.msg}") from error
        return list(_json_lines(path, text))
    rows = found if isinstance(found, list) else _rows_of_object(path, found, text_column)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}, row {number - 1}: a row must be a JSON object, not {type(row).__name__}")
    return rows


def _json_lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: malformed JSON: {error.msg}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: a row must be a JSON object, not {type(row).__name__}")
        yield row


def _is_row(found: dict[str, Any], text_column: str | None) -> bool:
    """Whether an object is the one row of its file, and no table of columns or of parts."""
    try:
        column = text_column or find_text_column(found)
    except ValueError:
        return not any(isinstance(value, list | dict) for value in found.values())
    return isinstance(found.get(column), str) or (column not in found and "." in column)


def _rows_of_object(path: Path, found: Any, text_column: str | None) -> list[Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{path}: the file is one JSON {type(found).__name__}, not a list of rows")
    lists = [key for key, value in found.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if _is_row(found, text_column):
        return [found]
    if lists and set(lists) <= {*ROWS_UNDER, *SPLITS}:
        return [row for key in lists for row in found[key]]
    columns = [list(value.values()) if isinstance(value, dict) else value for value in found.values()]
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        return [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]  # as pandas writes it
    shape = ", ".join(f"{key!r}: {type(value).__name__}" for key, value in found.items())
    raise ValueError(
        f"{path}: the file is one JSON object ({shape}), not a list of rows: write the rows as a list, one a line, or "
        f"under one of {', '.join(map(repr, ROWS_UNDER))}"
    )
