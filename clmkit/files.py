"""Read a learner's own data, a JSON, JSON Lines, CSV or Parquet file with errors by file and line, or from the Hub."""

import glob
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import HfApi

from clmkit.hub.client import hub_step
from clmkit.tracks import check_data_file

BUILDERS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}


def load_local(path: str | os.PathLike[str], rows: int | None = None) -> Dataset:
    """Load a local JSON, JSON Lines, CSV or Parquet file, gzipped or not.

    Args:
        path: The file. JSON may be one list of objects, or one object a line.
        rows: How many rows to keep at most, from the first.

    Returns:
        The rows, in their order. ``info.description`` has the file's name and hash, for the model card.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If its type is unknown, it can't be parsed (with file and line), or it has no rows.
    """
    path = check_data_file(path)
    builder = find_builder(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty: there are no rows in it to train on")
    try:
        dataset = _read(path, builder)
    except (DatasetGenerationError, ValueError, OSError, EOFError, zlib.error) as error:
        if builder == "json":
            _check_json(path)
        problem = str(error.__cause__ or error)
        raise ValueError(f"{path}: can't be read as {builder}: {problem}") from error
    if dataset is None or len(dataset) == 0:
        raise ValueError(f"{path}: there are no rows in it to train on")
    dataset = dataset.select(range(min(rows or len(dataset), len(dataset))))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
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


def load_files(files: Sequence[str], rows: int | None = None) -> Dataset:
    """Load local files of equal columns as one data set.

    Args:
        files: Their paths.
        rows: How many rows to keep at most, from the first.

    Returns:
        The rows, file by file; where they came from stands in ``info.description``.

    Raises:
        FileNotFoundError: As ``load_local``.
        ValueError: As ``load_local``.
    """
    if len(files) == 1:
        return load_local(files[0], rows)
    joined = concatenate_datasets([load_local(file) for file in files])
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


def open_hub_data(name: str, revision: str | None = None, *, streaming: bool = False) -> tuple[Any, str]:
    """Open the training rows of a data set on the Hub.

    Args:
        name: The data set's id.
        revision: A branch, tag or commit; by default the newest.
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
        rows = load_dataset(name, split="train", revision=commit, streaming=streaming)
    return rows, f"{name}, commit {commit}"


def _read(path: Path, builder: str) -> Dataset | None:
    """Read a file by one of the Datasets library's builders; ``None`` where it holds no rows."""
    if builder == "parquet" and path.suffix.lower() == ".gz":  # the one type that Datasets does not unzip
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "rows.parquet"
            with gzip.open(path) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file)
            return _read(plain, builder)
    try:
        dataset = load_dataset(builder, data_files=glob.escape(str(path)), split="train")
    except (ValueError, StopIteration) as error:
        # What Datasets says of a file that can be read and has no rows: this text, or a bare StopIteration.
        if isinstance(error, StopIteration) or "corresponds to no data" in str(error):
            return None
        raise
    dataset.with_format("arrow")[:].validate(full=True)  # Arrow's JSON reader takes bytes that are no UTF-8 as they are
    return dataset


def _check_json(path: Path) -> None:
    """Raise a ValueError with file and line where a JSON or JSON Lines file is malformed."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            text = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from error
    if not text.strip():
        raise ValueError(f"{path}: there are no rows in it to train on")
    one_list = text.lstrip().startswith("[")
    for number, part in enumerate([text] if one_list else text.split("\n"), start=1):
        try:
            row = json.loads(part) if part.strip() else {}
        except json.JSONDecodeError as error:
            line = number + error.lineno - 1
            raise ValueError(f"{path}, line {line}: malformed JSON: {error.msg}") from error
        if not one_list and not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: a row must be a JSON object, not {type(row).__name__}")
