"""Read a learner's own data, a JSON, JSON Lines, CSV or Parquet file with errors by file and line, or from the Hub."""

import codecs
import csv
import glob
import hashlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, Features, Value, concatenate_datasets, load_dataset
from datasets.config import HF_DATASETS_CACHE
from datasets.exceptions import DatasetGenerationError
from datasets.utils import logging
from huggingface_hub import HfApi

from clmkit.hub.client import hub_step
from clmkit.json_rows import read_json
from clmkit.packed import PACKED, UNPACKING_ERRORS, encoding_of, not_decoded, open_unpacked
from clmkit.paths import check_data_file
from clmkit.saving import check_cache, write_whole
from clmkit.texts import find_text_column, holds_text

BUILDERS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
# What the Datasets library, pandas and Arrow raise of a file that they can't read.
READING_ERRORS = (
    ValueError,
    StopIteration,
    ImportError,
    NotImplementedError,
    TypeError,
    DatasetGenerationError,
    pd.errors.ParserWarning,
)
HEADER = 2**16  # bytes in which the first line of a CSV file ends


def load_local(
    path: str | os.PathLike[str],
    rows: int | None = None,
    text_column: str | None = None,
    encoding: str | None = None,
) -> Dataset:
    """Load a local JSON, JSON Lines, CSV or Parquet file, as it is or packed (gz, bz2, xz, zst).

    Only the text has to be sound: cells of a CSV file are text whatever they look like, and where the other columns of
    a JSON file do not fit one type, they become text too.

    Args:
        path: The file. JSON may be one list of objects, one object a line, or an object with the list under ``"data"``,
            ``"train"``, ``"rows"`` or ``"examples"``.
        rows: How many rows to keep at most, from the first.
        text_column: The column with the text; by default the one that ``find_text_column`` finds.
        encoding: Of a JSON or CSV file, as Python names it; by default UTF-8, or UTF-16 where the file's mark says so.

    Returns:
        The rows, in their order. ``info.description`` has the file's name and hash, for the model card.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If its type or the encoding is unknown, it can't be parsed (with file and line), or it has no rows.
        OSError: If the cache can't be written.
    """
    path = check_data_file(path)
    builder = find_builder(path)
    if encoding is not None:
        check_encoding(encoding, path, builder)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty: there are no rows in it to train on")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        dataset = _read(path, builder, sha256, text_column, encoding)
    except UnicodeDecodeError as error:
        raise ValueError(not_decoded(path, error, encoding)) from error
    except (DatasetGenerationError, ValueError, *UNPACKING_ERRORS) as error:
        if str(error).startswith(str(path)):
            raise  # it says where and what already
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise ValueError(not_decoded(path, error.__cause__, encoding)) from error
        check_cache(HF_DATASETS_CACHE)
        raise ValueError(f"{path}: can't be read as {builder}: {error.__cause__ or error}") from error
    if dataset is None or len(dataset) == 0:
        raise ValueError(f"{path}: there are no rows in it to train on")
    dataset = dataset.select(range(min(rows or len(dataset), len(dataset))))
    dataset.info.description = f"{path.name}, sha256 {sha256}, the first {len(dataset):,} rows"
    return dataset


def check_encoding(encoding: str, path: Path, builder: str) -> None:
    """Raise a ValueError unless a file can be read in an encoding as far as its type goes."""
    if builder == "parquet":
        raise ValueError(f"{path}: the text of a Parquet file is UTF-8 always: leave encoding={encoding!r} out")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise ValueError(
            f"{path}: Python knows no encoding {encoding!r}: 'cp1252' and 'utf-16' are two of them"
        ) from error


def find_builder(path: Path) -> str:
    """The name of the Datasets library's builder for a file, by its suffix.

    Raises:
        ValueError: If its type is unknown.
    """
    builder = BUILDERS.get(_suffix(path))
    if builder is None:
        known, packed = ", ".join(BUILDERS), ", ".join(PACKED)
        raise ValueError(f"{path}: unknown file type; it must end in one of {known}, each also with {packed}")
    return builder


def _suffix(path: Path) -> str:
    """The last suffix that says of what type a file is, in lower case; an empty one if there is none."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix.lower() not in PACKED), "").lower()


def load_files(
    files: Sequence[str], rows: int | None = None, text_column: str | None = None, encoding: str | None = None
) -> Dataset:
    """Load local files of equal columns as one data set.

    Args:
        files: Their paths.
        rows: How many rows to keep at most, from the first.
        text_column: As in ``load_local``.
        encoding: As in ``load_local``.

    Returns:
        The rows, file by file; where they came from stands in ``info.description``.

    Raises:
        FileNotFoundError: As ``load_local``.
        ValueError: As ``load_local``.
    """
    if len(files) == 1:
        return load_local(files[0], rows, text_column, encoding)
    joined = concatenate_datasets([load_local(file, text_column=text_column, encoding=encoding) for file in files])
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


def _read(path: Path, builder: str, sha256: str, text_column: str | None, encoding: str | None) -> Dataset | None:
    """Read a file by one of the Datasets library's builders; ``None`` where it holds no rows.

    What was read is kept under the file's hash: another file in its place is read anew, whatever its time.
    """
    unpacked = _unpack(path, builder, sha256)
    # Without types and without words that stand for nothing, "007", "NA" and "2026-01-01" are the texts that they are.
    as_text = _csv_as_text(path, encoding) if builder == "csv" else {}
    try:
        if builder == "json" and (encoding or encoding_of(path) == "utf-16"):
            raise ValueError("Arrow's reader takes UTF-8 alone")
        files = glob.escape(str(unpacked))
        with _unlogged(), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas would drop what stands beyond the columns
            dataset = load_dataset(builder, f"file-{sha256[:32]}", data_files=files, split="train", **as_text)
        dataset.with_format("arrow")[:].validate(full=True)  # Arrow's JSON reader takes any bytes as they are
    except READING_ERRORS as error:
        # What Datasets says of a file that can be read and has no rows: this text, or a bare StopIteration.
        if isinstance(error, StopIteration) or "corresponds to no data" in str(error):
            return None
        if builder == "json":
            return read_json(path, text_column, encoding)
        if builder == "csv" and (problem := _too_long_a_row(path, as_text)):
            raise ValueError(problem) from error
        raise
    if builder == "json" and (len(dataset) == 1 or not _has_text(dataset.features, text_column)):
        return read_json(path, text_column, encoding) or dataset
    return dataset


@contextmanager
def _unlogged() -> Iterator[None]:
    """Let Datasets not log a failure that it raises too, and that may be none: what Arrow can't read, clmkit may."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _unpack(path: Path, builder: str, sha256: str) -> Path:
    """The file, or where Datasets does not unpack its kind, a copy that is unpacked once and kept in the cache."""
    suffix = path.suffix.lower()
    if suffix not in PACKED or (suffix != ".zst" and builder != "parquet"):
        return path
    plain = Path(HF_DATASETS_CACHE) / "clmkit" / f"{sha256}.{builder}"
    if not plain.is_file():
        with (
            write_whole(plain.parent) as folder,
            open_unpacked(path) as packed,
            (folder / plain.name).open("wb") as file,
        ):
            shutil.copyfileobj(packed, file)
    return plain


def _has_text(features: Features, text_column: str | None) -> bool:
    try:
        return holds_text(features, text_column or find_text_column(features))
    except ValueError:
        return False


def csv_format(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """The separator of a CSV file, and the names of its columns.

    Raises:
        ValueError: If the columns are separated by another character than its suffix says.
    """
    how = _csv_as_text(path, encoding)
    return how["sep"], list(how["features"])


def _csv_as_text(path: Path, encoding: str | None) -> dict[str, Any]:
    """How to read every cell of a CSV file as the text that it is."""
    encoding, sep = encoding or encoding_of(path), "\t" if _suffix(path) == ".tsv" else ","
    with open_unpacked(path) as file:
        header = file.read(HEADER).decode(encoding, "replace").partition("\n")[0]
    if other := next((one for one in ";\t" if one in header and sep not in header), None):
        raise ValueError(
            f"{path}, line 1: the columns are separated by {other!r}, not by {sep!r}: save the file with commas as "
            ".csv, or with tabs as .tsv"
        )
    how = {"sep": sep, "encoding": encoding}
    with open_unpacked(path) as file:
        columns = pd.read_csv(file, nrows=0, **how).columns
    features = Features({str(column): Value("string") for column in columns})
    # Else a row with more fields than the header has names would make its first field a name of the row.
    return {"features": features, "keep_default_na": False, "index_col": False, **how}


def _too_long_a_row(path: Path, how: Mapping[str, Any]) -> str | None:
    """Where a CSV file has more fields in a row than columns, in a sentence; ``None`` if that is not the trouble."""
    with open_unpacked(path) as file:
        text = file.read().decode(how["encoding"], "replace")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=how["sep"])
    try:
        columns = len(next(rows))
        line, fields = next((rows.line_num, len(row)) for row in rows if len(row) > columns)
    except (StopIteration, csv.Error):
        return None
    return (
        f"{path}, line {line}: {fields} fields, and the header names {columns}. A text in which {how['sep']!r} stands "
        "has to be in quotation marks"
    )
