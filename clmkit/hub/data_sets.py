"""Open a data set of the Hub, by the commit that it is at; offline as it was last downloaded."""

from pathlib import Path
from typing import Any

from datasets import load_dataset
from huggingface_hub import HfApi

from clmkit.hub.client import HUB_ERRORS, few_retries, hub_step, status_of
from clmkit.messages import _

NOT_CACHED: tuple[type[Exception], ...] = (*HUB_ERRORS, ValueError)  # what Datasets raises of it


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
    which = f"{name}, configuration {config}" if config else name
    try:
        with hub_step(f"asking the Hub for {name}", "Check the name, or name a local file"):
            commit = HfApi().dataset_info(name, revision=revision).sha
    except ConnectionError as error:
        found = None if streaming or status_of(error) else _open_cached(name, config)
        if found is None or revision not in (None, found[1]):
            raise
        rows, commit = found
        values = {"problem": str(error).partition(". ")[0], "name": which, "commit": commit}
        print(_("{problem}. Taking what was downloaded before: {name}, commit {commit}", **values))
        return rows, f"{which}, commit {commit}"
    with hub_step(f"loading {name}", "What has arrived is kept: run this again"):
        rows = load_dataset(name, config, split="train", revision=commit, streaming=streaming)
    return rows, f"{which}, commit {commit}"


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
