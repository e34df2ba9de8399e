"""Whose an output folder is: a run writes among its own files alone, and is the only one there."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from filelock import FileLock, Timeout

from clmkit.saving import check_output_dir
from clmkit.scale.data import HELD_OUT
from clmkit.scale.record import RECORD

# What a run leaves before it has a record, and what people put beside runs, under names that no run writes.
HARMLESS = ("unfinished-*", HELD_OUT, ".*", "*.log", "*.out", "*.err", "*.yaml", "*.yml")


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
    try:
        held = FileLock(_lock_file(folder)).acquire(blocking=False)  # the system ends it with the process
    except Timeout as error:
        raise OSError(
            f"the output folder {folder.as_posix()!r} is in use by another run: wait for it, or choose another "
            "--output_dir"
        ) from error
    with held:
        _check_own(folder, model)
        yield folder


def _lock_file(folder: Path) -> Path:
    """Not in the folder itself, since not every kind of file system, such as Google Drive in Colab, has locks."""
    name = hashlib.sha256(f"{Path.home()} {folder.resolve()}".encode()).hexdigest()
    return Path(tempfile.gettempdir(), f"clmkit-{name[:32]}.lock")


def _check_own(folder: Path, model: str) -> None:
    if Path(model).is_dir() and folder.samefile(model):
        raise ValueError(
            f"the output folder {folder.as_posix()!r} is that of the model to start from, which would be written over: "
            "choose another --output_dir"
        )
    if (folder / RECORD).exists():
        return
    others = sorted(path.name for path in folder.iterdir() if not any(fnmatch(path.name, own) for own in HARMLESS))
    if others:
        names = ", ".join(others[:3]) + (f" and {len(others) - 3:,} more" if len(others) > 3 else "")
        raise ValueError(
            f"the output folder {folder.as_posix()!r} holds other files ({names}), which training "
            f"could write over: name an empty one, such as --output_dir {(folder / 'run').as_posix()}"
        )
