"""Read a learner's own data, a JSON, JSON Lines, CSV or Parquet file with errors by file and line, or from the Hub."""

import codecs
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datasets import Dataset, Features, load_dataset
from datasets.config import HF_DATASETS_CACHE
from datasets.exceptions import DatasetGenerationError
from datasets.utils import logging
from pyarrow import ArrowException

from clmkit.aligned import align
from clmkit.columns import holds_text, name_text_column
from clmkit.csv_rows import read_csv
from clmkit.hub.client import is_disk_full
from clmkit.json_rows import is_plain_json_lines, read_json
from clmkit.kept import fits, kept_file
from clmkit.packed import (
    PACKED,
    UNPACKING_ERRORS,
    DataFile,
    check_content,
    not_decoded,
    not_whole,
    open_unpacked,
    packer_of,
    suffix_of,
)
from clmkit.parquet_rows import read_parquet
from clmkit.paths import check_data_file
from clmkit.row_places import note_files
from clmkit.saving import check_cache, write_whole
from clmkit.tracks import check_whole_number

BUILDERS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
# What the Datasets library and Arrow raise of a file that they can't read.
READING_ERRORS = (
    ValueError,
    StopIteration,
    ImportError,
    NotImplementedError,
    TypeError,
    RecursionError,
    ArrowException,
    DatasetGenerationError,
)
WHOLE = 2**30  # bytes of files that are read whole for what describes them, if it need not be; of more, samples
SAMPLES, SAMPLE = 64, 2**16  # of a file, evenly spread, and the bytes in each


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
        ValueError: If its type or the encoding is unknown, it can't be parsed (with file and line), or it has no rows;
            or if ``rows`` is no whole number of 1 or more.
        OSError: If the cache can't be written.
    """
    if rows is not None:
        check_whole_number("rows", rows)
    if not isinstance(text_column, str | None):
        raise ValueError(f"text_column must be the name of one column, not {text_column!r}")
    path = check_data_file(path)
    builder = find_builder(path)
    if encoding is not None:
        check_encoding(encoding, path, builder)
        encoding = None if codecs.lookup(encoding).name == "utf-8" else encoding  # which may begin with a mark
    check_content(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        dataset = _read(path, builder, sha256, text_column, encoding)
    except UnicodeDecodeError as error:
        raise ValueError(not_decoded(path, encoding)) from error
    except (*READING_ERRORS, *UNPACKING_ERRORS) as error:
        if str(error).startswith(str(path)) or is_disk_full(error):
            raise  # it says where and what already
        check_cache(HF_DATASETS_CACHE)
        if isinstance(error, UNPACKING_ERRORS) and packer_of(path):
            raise ValueError(not_whole(path, error)) from error
        raise ValueError(f"{path}: can't be read as {builder}: {error.__cause__ or error}") from error
    if dataset is None or len(dataset) == 0:
        raise ValueError(f"{path}: there are no rows in it to train on")
    dataset = dataset.select(range(min(rows or len(dataset), len(dataset))))
    dataset.info.description = f"{path.name}, sha256 {sha256}, the first {len(dataset):,} rows"
    note_files(dataset, {str(path): len(dataset)})
    return dataset


def check_encoding(encoding: str, path: DataFile, builder: str) -> None:
    """Raise a ValueError unless a file can be read in an encoding as far as its type goes."""
    if builder == "parquet":
        raise ValueError(f"{path}: the text of a Parquet file is UTF-8 always: leave encoding={encoding!r} out")
    try:
        " ".encode(encoding)
    except LookupError as error:  # rot13 and base64 too, which Python knows, but not as encodings of text
        raise ValueError(
            f"{path}: Python knows no encoding {encoding!r}: 'cp1252' and 'utf-16' are two of them"
        ) from error


def find_builder(path: DataFile) -> str:
    """The name of the Datasets library's builder for a file, by its suffix.

    Raises:
        ValueError: If its type is unknown.
    """
    builder = BUILDERS.get(suffix_of(path))
    if builder is None:
        known, packed = ", ".join(BUILDERS), ", ".join(PACKED)
        raise ValueError(f"{path}: unknown file type; it must end in one of {known}, each also with {packed}")
    return builder


def load_files(
    files: Sequence[str], rows: int | None = None, text_column: str | None = None, encoding: str | None = None
) -> Dataset:
    """Load local files as one data set; of their columns, only the text's has to be alike.

    Args:
        files: Their paths.
        rows: How many rows to keep at most, from the first.
        text_column: As in ``load_local``.
        encoding: As in ``load_local``.

    Returns:
        The rows, file by file; where they came from stands in ``info.description``.

    Raises:
        FileNotFoundError: As ``load_local``.
        ValueError: As ``load_local``, or if the text's column has other names or types in some of the files.
    """
    if len(files) == 1:
        return load_local(files[0], rows, text_column, encoding)
    parts = [(file, load_local(file, text_column=text_column, encoding=encoding)) for file in files]
    joined = align(parts, text_column)
    joined = joined.select(range(min(rows or len(joined), len(joined))))
    joined.info.description = f"{describe_files(files, whole=True)}, the first {len(joined):,} rows"
    left, noted = len(joined), {}
    for file, part in parts:
        noted[file] = min(left, len(part))
        left -= noted[file]
    note_files(joined, noted)
    return joined


def describe_files(files: Sequence[str], whole: bool = False) -> str:
    """Names of files, and a hash of names, sizes and contents.

    Args:
        files: Their paths.
        whole: Whether to read all of them whatever their size. Else of more than a GiB together, which would take long
            where they are streamed over a network, samples are read, and what is said tells so.
    """
    paths = list(map(Path, files))
    sizes = [path.stat().st_size for path in paths]
    whole = whole or sum(sizes) <= WHOLE
    described = [(path.name, size, _digest(path, size, whole)) for path, size in zip(paths, sizes, strict=True)]
    names = paths[0].name if len(paths) == 1 else f"{len(paths)} files, {paths[0].name} to {paths[-1].name}"
    sha256 = hashlib.sha256(json.dumps(described).encode()).hexdigest()
    return f"{names}, {sum(sizes):,} bytes, sha256 {sha256}{'' if whole else ' of samples'}"


def _digest(path: Path, size: int, whole: bool) -> str:
    """The hash of a file, or of pieces of it: its beginning, its end, and some between."""
    with path.open("rb") as file:
        if whole or size <= SAMPLES * SAMPLE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for sample in range(SAMPLES):
            file.seek((size - SAMPLE) * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def _read(path: Path, builder: str, sha256: str, text_column: str | None, encoding: str | None) -> Dataset | None:
    """Read a file, or what was kept of one with the same hash; ``None`` where it holds no rows."""
    place = kept_file(sha256, suffix_of(path), text_column, encoding)
    if builder == "parquet":
        return read_parquet(path, _unpack(path, builder, sha256), text_column, place)
    if builder == "csv":
        return read_csv(path, text_column, encoding, place)
    rows = _read_fast(path, sha256, text_column) if encoding is None and is_plain_json_lines(path) else None
    return read_json(path, text_column, encoding, place) if rows is None else rows


def _read_fast(path: Path, sha256: str, text_column: str | None) -> Dataset | None:
    """Read JSON Lines by the Datasets library, as they are often large; ``None`` where it does not find sound text."""
    files = glob.escape(str(_unpack(path, "json", sha256)))
    try:
        with _unlogged():
            rows = load_dataset("json", f"file-{sha256[:32]}", data_files=files, split="train")
        rows.with_format("arrow")[:].validate(full=True)  # Arrow's JSON reader takes any bytes as they are
    except READING_ERRORS:
        return None
    return rows if len(rows) > 1 and _has_text(rows.features, text_column) else None


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
    packer = packer_of(path)
    if not packer or (packer != ".zst" and builder != "parquet"):
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
    """Whether there is text, and no column that is nested too deep to go through."""
    found = holds_text(features, name_text_column(features, text_column))
    return found and all(fits(kind) for kind in features.arrow_schema.types)
