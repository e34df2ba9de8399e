"""Load ELI5 or a learner's own file, split its rows, and join the answers of a row into one text."""

import glob
import gzip
import hashlib
import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, DatasetDict, Features, IterableDataset, List, Value, load_dataset
from datasets.exceptions import DatasetGenerationError

from clmkit.download import download, download_gzip
from clmkit.hub_client import HUB_ERRORS, explain, is_disk_full, is_silence
from clmkit.messages import translate
from clmkit.tracks import DATA_FILES, DATA_REVISIONS, HUB_DATA, Track, check_data_file

Rows = TypeVar("Rows", Dataset, DatasetDict, IterableDataset)

# The file that the data set's authors publish; the loading script that datasets no longer runs read this one.
AUTHORS_FILE = "https://jingshensn2.github.io/eli5c/datasets/eli5-category-train.json.gz"

# The sources in the order in which they are tried, by their revisions, in the words of the model card.
SOURCE_NAMES = {
    DATA_REVISIONS[0]: f"the Hub repository {HUB_DATA}",
    DATA_REVISIONS[1]: f"{HUB_DATA}, revision {DATA_REVISIONS[1]}",
    None: f"the authors' file {AUTHORS_FILE}",
}

# Columns and types as the Hub serves them.
ELI5_FEATURES = Features(
    {
        "q_id": Value("string"),
        "title": Value("string"),
        "selftext": Value("string"),
        "category": Value("string"),
        "subreddit": Value("string"),
        "answers": {
            "a_id": List(Value("string")),
            "text": List(Value("string")),
            "score": List(Value("int32")),
            "text_urls": List(List(Value("string"))),
        },
        "title_urls": List(Value("string")),
        "selftext_urls": List(Value("string")),
    }
)

SPLIT_SEED = 42

BUILDERS = {".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet"}


def load_eli5(track: Track) -> Dataset:
    """Load the track's rows and print where they came from (the guide's step "Load ELI5 dataset").

    A local file is read as it is. ELI5-Category comes from the first of three sources that can serve it: the Hub
    repository, its ``refs/convert/parquet`` revision, and the file that the authors publish. Of the Hub's files only
    the training split's are downloaded, each checked by its hash.

    Args:
        track: What to load, and how many rows of it.

    Returns:
        The rows, in their stored order. ELI5's have the columns and types of ``ELI5_FEATURES``. Where they came from,
        with the commit or the file's hash, stands in ``info.description``, for the model card.

    Raises:
        ValueError: If a local file is of an unknown type, malformed or empty.
        FileNotFoundError: If a local file is not there.
        ConnectionError: If no source could serve the rows; the message gives the reason of each.
        OSError: If the disk is full.
    """
    if track.data != HUB_DATA:
        dataset = load_local(track.data, track.rows)
        print(translate("{rows:,} rows from {source}", rows=len(dataset), source=Path(track.data).name))
        return dataset
    return _load_from_first_source(track)


def _load_from_first_source(track: Track) -> Dataset:
    problems: list[OSError] = []
    for revision in SOURCE_NAMES:
        if revision and problems and is_silence(problems[-1]):
            continue  # the same Hub would be as silent
        try:
            dataset, version = _load_parquet(track, revision) if revision else _load_authors_file(track)
        except OSError as error:
            if is_disk_full(error):
                raise  # the next source would need as much room
            problems.append(error)
            print(translate("Not from {source}: {error}", source=_name_source(revision), error=str(error)))
            continue
        print(translate("{rows:,} rows from {source}", rows=len(dataset), source=_name_source(revision)))
        dataset.info.description = f"{SOURCE_NAMES[revision]}, {version}, the first {len(dataset):,} rows"
        return dataset
    raise ConnectionError(
        translate("ELI5-Category could not be loaded from any of its three sources:")
        + "".join(f"\n  {problem}" for problem in problems)
        + "\n"
        + translate("Check the network, or take the bundled sample: choose_track('quick')")
    ) from problems[-1]


def _name_source(revision: str | None) -> str:
    """A source in the learner's language."""
    if revision is None:
        return translate("the authors' file {address}", address=AUTHORS_FILE)
    if revision == DATA_REVISIONS[0]:
        return translate("the Hub repository {name}", name=HUB_DATA)
    return translate("{name}, revision {revision}", name=HUB_DATA, revision=revision)


def _load_parquet(track: Track, revision: str) -> tuple[Dataset, str]:
    """The rows of one revision of the Hub's repository, and its commit."""
    folder = download(HUB_DATA, [DATA_FILES], required=[DATA_FILES], repo_type="dataset", revision=revision)
    # The converted revision has default/train/0000.parquet: the pattern is one of whole paths.
    paths = [path for path in sorted(folder.rglob("*")) if fnmatch(path.relative_to(folder).as_posix(), DATA_FILES)]
    files = [glob.escape(str(path)) for path in paths]
    return _load_first_rows(track, "parquet", files), f"commit {folder.name}"


def _load_authors_file(track: Track) -> tuple[Dataset, str]:
    """The rows of the file that the authors publish, which has no versions."""
    path = download_gzip(AUTHORS_FILE)
    version = f"read on {date.fromtimestamp(path.stat().st_mtime)}"
    return _load_first_rows(track, "json", [glob.escape(str(path))]), version


def _load_first_rows(track: Track, builder: str, files: list[str]) -> Dataset:
    try:
        dataset = load_dataset(builder, data_files=files, split="train")
    except (*HUB_ERRORS, DatasetGenerationError) as error:
        step = translate("reading {name}", name=", ".join(files))
        raise explain(error, step, translate("Run this again")) from error
    return _to_hub_schema(dataset.select(range(min(track.rows or len(dataset), len(dataset)))))


def load_local(path: str | os.PathLike[str], rows: int | None = None) -> Dataset:
    """Load a local JSON, JSON Lines, CSV or Parquet file, gzipped or not.

    Args:
        path: The file. JSON may be one list of objects, or one object a line.
        rows: How many rows to keep at most, from the first.

    Returns:
        The rows, in their order. A file with ELI5's columns gets ``ELI5_FEATURES``.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If its type is unknown, it can't be parsed (with file and line), or it has no rows.
    """
    path = check_data_file(path)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    builder = BUILDERS.get(suffixes[-1] if suffixes else "")
    if builder is None:
        known = ", ".join(BUILDERS)
        raise ValueError(
            translate(
                "{path}: unknown file type; it must end in one of {known}, each also with .gz",
                path=str(path),
                known=known,
            )
        )
    if path.stat().st_size == 0:
        raise ValueError(translate("{path}: the file is empty: there are no rows in it to train on", path=str(path)))
    try:
        dataset = _read(path, builder)
    except (DatasetGenerationError, ValueError, OSError, EOFError, zlib.error) as error:
        if builder == "json":
            _check_json(path)
        problem = str(error.__cause__ or error)
        raise ValueError(
            translate("{path}: can't be read as {type}: {problem}", path=str(path), type=builder, problem=problem)
        ) from error
    if dataset is None or len(dataset) == 0:
        raise ValueError(translate("{path}: there are no rows in it to train on", path=str(path)))
    dataset = _to_hub_schema(dataset.select(range(min(rows or len(dataset), len(dataset)))))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    dataset.info.description = f"{path.name}, sha256 {sha256}, the first {len(dataset):,} rows"
    return dataset


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
        raise ValueError(
            translate("{path}: not a whole gzip file: {problem}", path=str(path), problem=str(error))
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(translate("{path}: not UTF-8 text: {problem}", path=str(path), problem=str(error))) from error
    if not text.strip():
        raise ValueError(translate("{path}: there are no rows in it to train on", path=str(path)))
    if text.lstrip().startswith("["):
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise _malformed(path, error.lineno, error) from error
        return
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else {}
        except json.JSONDecodeError as error:
            raise _malformed(path, number, error) from error
        if not isinstance(row, dict):
            raise ValueError(
                translate(
                    "{path}, line {line}: a row must be a JSON object, not {type}",
                    path=str(path),
                    line=number,
                    type=type(row).__name__,
                )
            )


def _malformed(path: Path, line: int, error: json.JSONDecodeError) -> ValueError:
    return ValueError(
        translate("{path}, line {line}: malformed JSON: {problem}", path=str(path), line=line, problem=error.msg)
    )


def _to_hub_schema(dataset: Dataset) -> Dataset:
    """Bring ELI5's columns to the Hub's types; leave other data as they are.

    The authors' file wraps the links of a title in ``{"url": [...]}``, where the Hub has a plain list.
    """
    if set(dataset.column_names) != set(ELI5_FEATURES):
        return dataset
    dataset = dataset.select_columns(list(ELI5_FEATURES))
    for column in ("title_urls", "selftext_urls"):
        if isinstance(dataset.features[column], dict):
            plain = [links["url"] for links in dataset[column]]
            dataset = dataset.remove_columns(column).add_column(column, plain)
    # cast() fixes the columns that rows show to today's (datasets 5.2), which would hide those that flatten() makes.
    return dataset.select_columns(list(ELI5_FEATURES)).cast(ELI5_FEATURES).with_format(None)


def split_rows(dataset: Dataset, test_size: float = 0.2, seed: int = SPLIT_SEED) -> DatasetDict:
    """Split rows into training and test rows, the same way every time.

    The guide splits without a seed, so its perplexity moves from run to run. Split rows, never blocks: two blocks of
    one document on the two sides of a split would leak the answer.

    Args:
        dataset: The rows.
        test_size: The share of rows to hold out, between 0 and 1.
        seed: Of the shuffle before the split.

    Returns:
        The rows under ``"train"`` and ``"test"``.

    Raises:
        ValueError: If a side would be empty.
    """
    held_out = 0 if math.isnan(test_size) else round(len(dataset) * test_size)
    if not 0 < held_out < len(dataset):
        raise ValueError(
            translate(
                "{rows} rows with test_size={test_size} leave {train} rows to train on and {test} to test on: "
                "both need at least 1",
                rows=len(dataset),
                test_size=test_size,
                train=max(len(dataset) - held_out, 0),
                test=max(held_out, 0),
            )
        )
    return dataset.train_test_split(test_size=held_out, seed=seed)


def find_text_column(features: Mapping[str, Any]) -> str:
    """Name the column that holds the text: ``answers.text``, flattened or nested, or ``text``.

    Args:
        features: Columns by name: a data set's ``features``, or a row.

    Raises:
        ValueError: If there is none; the message names the columns there are.
    """
    if isinstance(features.get("answers"), dict) and "text" in features["answers"]:
        return "answers.text"
    for column in ("answers.text", "text"):
        if column in features:
            return column
    raise ValueError(
        translate(
            "no text column: expected 'answers.text' or 'text', found {columns}. "
            "Name yours: join_answers(dataset, text_column=...)",
            columns=", ".join(map(repr, features)),
        )
    )


def no_column(column: str, columns: Iterable[str]) -> str:
    """What to say where a column is not there."""
    return translate("no column {column!r}: there are {columns}", column=column, columns=", ".join(map(repr, columns)))


def join_answers(dataset: Rows, text_column: str | None = None, num_proc: int | None = None) -> Rows:
    """Flatten, and join the answers of each row into one text (the guide's ``" ".join(x)``).

    Args:
        dataset: Rows with a text column: strings, or lists of strings; nested or flattened. They may be streamed.
        text_column: Its name; without it ``find_text_column`` decides.
        num_proc: How many processes to use; a stream takes one.

    Returns:
        As many rows, of the same kind, with the single column ``text`` (string).

    Raises:
        ValueError: If there are no rows, the column is not there or holds something else than text, or an answer is
            null, empty, missing or no string: with its row and number.
    """
    if isinstance(dataset, DatasetDict):
        return DatasetDict({side: join_answers(rows, text_column, num_proc) for side, rows in dataset.items()})
    if isinstance(dataset, IterableDataset):
        return _join_stream(dataset, text_column)
    if len(dataset) == 0:
        raise ValueError(translate("there are no rows: 0 texts to join"))
    dataset = dataset.flatten()
    column = text_column or find_text_column(dataset.features)
    if column not in dataset.features:
        raise ValueError(no_column(column, dataset.features))
    feature = dataset.features[column]
    item = getattr(feature, "feature", feature)
    # A column of mixed types is of Datasets' type Json; then the row that is no text is named below.
    if type(item).__name__ != "Json" and getattr(item, "dtype", None) not in ("string", "large_string"):
        raise ValueError(
            translate(
                "column {column!r} holds {feature}, not text: every answer must be a string",
                column=column,
                feature=str(feature),
            )
        )
    return dataset.map(
        _join_batch,
        batched=True,
        with_indices=True,
        fn_kwargs={"column": column},
        remove_columns=dataset.column_names,
        features=Features({"text": Value("string")}),
        num_proc=num_proc,
        desc=translate("Join answers"),
    )


def _join_stream(dataset: IterableDataset, text_column: str | None) -> IterableDataset:
    """``join_answers`` of a stream, whose types are not known before its rows come."""
    first = next(iter(dataset), None)
    if first is None:
        raise ValueError(translate("there are no rows: 0 texts to join"))
    column = text_column or find_text_column(first)
    return dataset.map(
        _join_batch,
        batched=True,
        with_indices=True,
        fn_kwargs={"column": column},
        remove_columns=list(first),
        features=Features({"text": Value("string")}),
    )


def _texts_of(batch: Mapping[str, list[Any]], column: str) -> list[Any]:
    """A column of a batch; ``answers.text`` may still be nested in ``answers``."""
    outer, _, inner = column.partition(".")
    if column in batch:
        return batch[column]
    if outer not in batch:
        raise ValueError(no_column(column, batch))
    return [row[inner] for row in batch[outer]]


def _join_batch(batch: dict[str, list[Any]], indices: list[int], column: str) -> dict[str, list[str]]:
    texts = []
    for index, answers in zip(indices, _texts_of(batch, column), strict=True):
        answers = answers if isinstance(answers, list) else [answers]
        if not answers:
            raise ValueError(
                translate(
                    "row {row} has no answer in {column!r}: remove the row, or give it a text", row=index, column=column
                )
            )
        for number, answer in enumerate(answers, start=1):
            if not isinstance(answer, str) or not answer.strip():
                what = translate("empty") if isinstance(answer, str) else "null" if answer is None else repr(answer)
                raise ValueError(
                    translate(
                        "row {row}, answer {number} of {column!r} is {what}; it must be a string that is not empty: "
                        "mend it, or remove the row",
                        row=index,
                        number=number,
                        column=column,
                        what=what,
                    )
                )
        texts.append(" ".join(answers))
    return {"text": texts}
