"""Whose an output folder is: a run writes among its own files alone, and is the only one there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clmkit.saving import check_output_dir
from clmkit.training.output_folder import check_free, hold, release

OPTION = "--output_dir"


@contextmanager
def own_folder(output_dir: str | Path, model: str, *, first: bool) -> Iterator[Path]:
    """Have a folder for one run alone, from here to the end of the block or of the process.

    Args:
        output_dir: The folder; it is made if need be.
        model: The model to start from.
        first: Whether this is the run's first process, which holds the folder for all of them.

    Yields:
        The folder.

    Raises:
        OSError: If the folder can't be written, or another run is at work in it.
        ValueError: If it is the model's own folder, or holds files that are not of a run.
    """
    folder = check_output_dir(output_dir)
    if not first:
        yield folder
        return
    check_free(folder, model, option=OPTION, run=True)
    hold(folder, f"choose another {OPTION}")
    try:
        yield folder
    finally:
        release(folder)
