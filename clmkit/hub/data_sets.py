"""Open a data set of the Hub, by the commit that it is at; offline as it was last downloaded."""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

from datasets import load_dataset, load_dataset_builder
from datasets.utils.file_utils import xopen
from huggingface_hub import HfApi

from clmkit.hub.client import HUB_ERRORS, few_retries, hub_step, status_of
from clmkit.hub.download import download
from clmkit.messages import _

NOT_CACHED: tuple[type[Exception], ...] = (*HUB_ERRORS, ValueError)  # what Datasets raises of it
AGAIN = "What has arrived is kept: run this again"
SEPARATOR_OF = {"csv": ",", "tsv": "\t"}
SUFFIXES = {
    "json": ("json", "jsonl", "ndjson"),
    "csv": tuple(SEPARATOR_OF),
    "parquet": ("parquet",),
}  # of which builder
# What a builder is told that changes nothing of how a file is read to the text.
NO_READING = ("name", "version", "data_dir", "data_files", "description", "features", "sep", "delimiter")


class HubFile:
    """A file of a data set on the Hub, with what readers need of a ``Path``; it is read over the network.

    Attributes:
        repository: The data set's id.
        commit: Which version of it.
        path: Where the file is in the repository.
        name: The last part of it.
        suffix: The last suffix.
        suffixes: All of them.
    """

    def __init__(self, repository: str, commit: str, path: str) -> None:
        self.repository, self.commit, self.path = repository, commit, path
        parts = PurePosixPath(path)
        self.name, self.suffix, self.suffixes = parts.name, parts.suffix, parts.suffixes

    def __str__(self) -> str:
        return f"hf://datasets/{self.repository}@{self.commit}/{self.path}"

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the file, to read it from anywhere; Datasets reads again for minutes where the way to the Hub breaks."""
        return cast(BinaryIO, xopen(str(self), mode))


class HubFiles(NamedTuple):
    """The files of a data set's training rows, and their source: its id with the commit."""

    files: list[HubFile]
    source: str


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
        The rows, a ``Dataset`` or an ``IterableDataset``, and their source: the id with the commit. Where the Hub does
        not answer, the rows that an earlier call downloaded, with a line that says so.

    Raises:
        PermissionError: If the Hub wants a login, or another one.
        ConnectionError: If the Hub, or the way to it, fails.
        OSError: If the disk is full.
    """
    which = _which(name, config)
    try:
        commit = _find_commit(name, revision)
    except ConnectionError as error:
        found = None if streaming or status_of(error) else _open_cached(name, config)
        if found is None or revision not in (None, found[1]):
            raise
        rows, commit = found
        values = {"problem": str(error).partition(". ")[0], "name": which, "commit": commit}
        print(_("{problem}. Taking what was downloaded before: {name}, commit {commit}", **values))
        return rows, f"{which}, commit {commit}"
    with hub_step(f"loading {name}", AGAIN):
        rows = load_dataset(name, config, split="train", revision=commit, streaming=streaming)
    return rows, f"{which}, commit {commit}"


def find_hub_files(name: str, revision: str | None = None, *, config: str | None = None) -> HubFiles | None:
    """Find the files that hold the training rows of a data set on the Hub.

    Datasets reads all columns of them, and gives none where the type of one changes.

    Args:
        name: The data set's id.
        revision: A branch, tag or commit; by default the newest.
        config: Which of its configurations, if it has several.

    Returns:
        The files; ``None`` if they are not JSON, JSON Lines, CSV or Parquet, or its page says how to read them
        otherwise than such files are.

    Raises:
        PermissionError: As ``open_hub_data``.
        ConnectionError: As ``open_hub_data``.
    """
    commit = _find_commit(name, revision)
    with hub_step(f"asking the Hub for the files of {name}", "Run this again"):
        builder = load_dataset_builder(name, config, revision=commit)
    kind, beginning = type(builder).__module__.rpartition(".")[2], f"hf://datasets/{name}@{commit}/"
    addresses = [str(address) for address in (builder.config.data_files or {}).get("train", [])]
    if not addresses or not all(address.startswith(beginning) for address in addresses):
        return None
    files = [HubFile(name, commit, address.removeprefix(beginning)) for address in addresses]
    plain = all(_is_read_plainly(file, kind, builder.config) for file in files)
    return HubFiles(files, f"{_which(name, config)}, commit {commit}") if plain else None


def _is_read_plainly(file: HubFile, kind: str, config: Any) -> bool:
    suffix = next((one[1:].lower() for one in file.suffixes if one[1:].lower() in SUFFIXES.get(kind, ())), None)
    defaults = type(config)()
    others = [field.name for field in dataclasses.fields(config) if field.name not in NO_READING]
    return (
        suffix is not None
        and all(getattr(config, name) == getattr(defaults, name) for name in others)
        and getattr(config, "sep", None) == SEPARATOR_OF.get(suffix)
    )


def download_hub_files(files: Sequence[HubFile]) -> list[str]:
    """Download files of one data set, or find them in the cache.

    Returns:
        Where they are on this machine.

    Raises:
        PermissionError: As ``open_hub_data``.
        ConnectionError: As ``open_hub_data``.
        OSError: As ``open_hub_data``.
    """
    names = [glob.escape(file.path) for file in files]
    folder = download(files[0].repository, names, required=names, repo_type="dataset", revision=files[0].commit)
    return [str(folder / file.path) for file in files]


def _which(name: str, config: str | None) -> str:
    return f"{name}, configuration {config}" if config else name


def _find_commit(name: str, revision: str | None) -> str:
    with hub_step(f"asking the Hub for {name}", "Check the name, or name a local file"):
        return str(HfApi().dataset_info(name, revision=revision).sha)


def _open_cached(name: str, config: str | None) -> tuple[Any, str] | None:
    """The rows that were last downloaded, and their commit; ``None`` if there are none.

    Datasets keeps them in a folder that is named by the commit.
    """
    try:
        with few_retries():
            rows = load_dataset(name, config, split="train")
    except NOT_CACHED:
        return None
    return rows, Path(rows.cache_files[0]["filename"]).parent.name
