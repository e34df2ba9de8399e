"""Load ELI5-Category, from the first of three sources that can serve it, or a learner's own file in its place."""

import glob
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from datasets import Dataset, Features, List, Value, load_dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import ArrowInvalid

from clmkit.columns import holds_text, name_text_column
from clmkit.files import READING_ERRORS, load_files
from clmkit.hub.client import HUB_ERRORS, explain, is_disk_full, is_silence
from clmkit.hub.data_sets import download_hub_files, find_hub_files, open_hub_data
from clmkit.hub.download import download, download_gzip, files_of
from clmkit.messages import _, ngettext
from clmkit.paths import find_files
from clmkit.tracks import DATA_FILES, DATA_REVISIONS, HUB_DATA, Track

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


def load_eli5(track: Track) -> Dataset:
    """Load the track's rows and print where they came from (the guide's step "Load ELI5 dataset").

    Local files are read as they are, and so is another data set of the Hub. ELI5-Category comes from the first of
    three sources that can serve it: the Hub repository, its ``refs/convert/parquet`` revision, and the file that the
    authors publish. Of the Hub's files only the training split's are downloaded, each checked by its hash.

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
    if track.data == HUB_DATA and track.data_revision is None and track.data_config is None:
        return _load_from_first_source(track)
    files = find_files(track.data)
    dataset = load_files(files, track.rows, track.text_column, track.encoding) if files else _load_hub_data(track)
    if len(files) > 1:
        print(
            ngettext(
                "{count:,} row from {files} files", "{count:,} rows from {files} files", len(dataset), files=len(files)
            )
        )
    else:
        name = Path(files[0]).name if files else track.data
        print(ngettext("{count:,} row from {name}", "{count:,} rows from {name}", len(dataset), name=name))
    return to_hub_schema(dataset)


def _load_hub_data(track: Track) -> Dataset:
    name, revision, config = str(track.data), track.data_revision, track.data_config
    found = None
    try:
        rows, source = open_hub_data(name, revision, config=config)
        if _has_guessed(rows, track.text_column):
            found = find_hub_files(name, revision, config=config)
    except READING_ERRORS as error:  # a column of several types, for one, which need not be the text's
        found = None if isinstance(error.__cause__, HUB_ERRORS) else find_hub_files(name, revision, config=config)
        if found is None:
            raise
    if found:
        rows, source = load_files(download_hub_files(found.files), track.rows, track.text_column), found.source
    rows = rows.select(range(min(track.rows or len(rows), len(rows))))
    rows.info.description = f"{source}, the first {len(rows):,} rows"
    return rows


def _has_guessed(rows: Dataset, text_column: str | None) -> bool:
    """Whether texts of a CSV file were taken for something else: digits for numbers, and NA for nothing."""
    column = name_text_column(rows.features, text_column)
    if rows.info.builder_name != "csv" or column not in rows.column_names:
        return False
    return not holds_text(rows.features, column) or rows.data.column(column).null_count > 0


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
            print(_say_failed(revision, error))
            continue
        print(_say_loaded(revision, len(dataset)))
        dataset.info.description = f"{SOURCE_NAMES[revision]}, {version}, the first {len(dataset):,} rows"
        return dataset
    raise ConnectionError(
        "ELI5-Category could not be loaded from any of its three sources:"
        + "".join(f"\n  {problem}" for problem in problems)
        + "\nCheck the network, or take the bundled sample: choose_track('quick')"
    ) from problems[-1]


def _say_failed(revision: str | None, error: OSError) -> str:
    if revision is None:
        return _("Not from the authors' file {address}: {error}", address=AUTHORS_FILE, error=error)
    if revision == DATA_REVISIONS[0]:
        return _("Not from the Hub repository {name}: {error}", name=HUB_DATA, error=error)
    return _("Not from {name}, revision {revision}: {error}", name=HUB_DATA, revision=revision, error=error)


def _say_loaded(revision: str | None, count: int) -> str:
    if revision is None:
        return ngettext(
            "{count:,} row from the authors' file {address}",
            "{count:,} rows from the authors' file {address}",
            count,
            address=AUTHORS_FILE,
        )
    if revision == DATA_REVISIONS[0]:
        return ngettext(
            "{count:,} row from the Hub repository {name}",
            "{count:,} rows from the Hub repository {name}",
            count,
            name=HUB_DATA,
        )
    return ngettext(
        "{count:,} row from {name}, revision {revision}",
        "{count:,} rows from {name}, revision {revision}",
        count,
        name=HUB_DATA,
        revision=revision,
    )


def _load_parquet(track: Track, revision: str) -> tuple[Dataset, str]:
    """The rows of one revision of the Hub's repository, and its commit."""
    folder = download(HUB_DATA, [DATA_FILES], required=[DATA_FILES], repo_type="dataset", revision=revision)
    return _load_first_rows(track, "parquet", files_of(folder, [DATA_FILES]).values()), f"commit {folder.name}"


def _load_authors_file(track: Track) -> tuple[Dataset, str]:
    """The rows of the file that the authors publish, which has no versions."""
    path = download_gzip(AUTHORS_FILE)
    version = f"read on {date.fromtimestamp(path.stat().st_mtime)}"
    return _load_first_rows(track, "json", [path]), version


def _load_first_rows(track: Track, builder: str, paths: Iterable[Path]) -> Dataset:
    files = [glob.escape(str(path)) for path in paths]
    try:
        dataset = load_dataset(builder, data_files=files, split="train")
    except (*HUB_ERRORS, DatasetGenerationError, ArrowInvalid) as error:
        raise explain(error, f"reading {', '.join(files)}", "Run this again") from error
    return to_hub_schema(dataset.select(range(min(track.rows or len(dataset), len(dataset)))))


def to_hub_schema(dataset: Dataset) -> Dataset:
    """Bring ELI5's columns to the Hub's types; leave other data as they are.

    The authors' file wraps the links of a title in ``{"url": [...]}``, where the Hub has a plain list.
    """
    if set(dataset.column_names) != set(ELI5_FEATURES):
        return dataset
    for column in ("title_urls", "selftext_urls"):
        if isinstance(dataset.features[column], dict):
            plain = [links["url"] for links in dataset[column]]
            dataset = dataset.remove_columns(column).add_column(column, plain)
    # cast() fixes the columns that rows show to today's (datasets 5.2), which would hide those that flatten() makes.
    return dataset.select_columns(list(ELI5_FEATURES)).cast(ELI5_FEATURES).with_format(None)
