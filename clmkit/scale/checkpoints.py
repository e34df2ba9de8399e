"""Checkpoints that survive: each is marked when it is whole, and a run goes on from the last one that is."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from clmkit.messages import _
from clmkit.training.output_folder import read_json

MARK = "whole.json"  # written last; it names every file of the checkpoint with its size


def checkpoint_folder(output_dir: str | Path, step: int) -> Path:
    """Where the Trainer puts the checkpoint of a step."""
    return Path(output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"


def mark_whole(checkpoint: Path) -> None:
    """Note that a checkpoint is written; its files are on the disk before the note is.

    Raises:
        OSError: If the disk is full or the folder is gone.
    """
    sizes = sync_files(checkpoint)
    unfinished = checkpoint / f"{MARK}.unfinished"
    unfinished.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    _sync(unfinished)  # else older checkpoints could be gone before the mark is on the disk
    unfinished.replace(checkpoint / MARK)


def sync_files(folder: Path) -> dict[str, int]:
    """Wait until the files of a folder are on the disk.

    Returns:
        Their sizes in bytes, by their paths in the folder.

    Raises:
        OSError: If the disk is full or the folder is gone.
    """
    sizes = _sizes(folder)
    for name in sizes:
        _sync(folder / name)
    return sizes


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def unmark(checkpoint: Path) -> None:
    """Take the mark off a checkpoint that is about to be written over."""
    (checkpoint / MARK).unlink(missing_ok=True)


def missing_from(checkpoint: Path) -> list[str]:
    """The files that a checkpoint lacks, in whole or in part; the mark itself if it is not there or says nothing."""
    sizes = read_json(checkpoint / MARK)
    if sizes is None:
        return [MARK]
    found = _sizes(checkpoint)
    return [name for name, size in sizes.items() if found.get(name) != size]


def cut_files(folder: Path, sizes: Mapping[str, int]) -> list[str]:
    """The files of a finished model that are gone, or shorter than they were written.

    JSON that can be read is whole: somebody made it shorter.

    Args:
        folder: Where the model is.
        sizes: As ``sync_files`` gave them.
    """
    found = _sizes(folder)
    return [name for name, size in sizes.items() if found.get(name, -1) < size and not _is_json(folder / name)]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):  # ValueError: of JSON, and of bytes that are no text
        return False
    return True


def checkpoints(output_dir: str | Path) -> list[Path]:
    """The folders of all checkpoints, whole or not, the latest first."""
    folders = Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    return sorted((folder for folder in folders if folder.name.rpartition("-")[2].isdigit()), key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def last_whole(output_dir: str | Path) -> Path | None:
    """Find the last whole checkpoint, and print a line for each later one that is passed over."""
    for checkpoint in checkpoints(output_dir):
        missing = missing_from(checkpoint)
        if not missing:
            return checkpoint
        files = ", ".join(missing)
        print(_("Passing over {name}, which is half-written: it lacks {files}", name=checkpoint.name, files=files))
    return None


def remove_older(checkpoint: Path, keep: int | None, best: int | None = None) -> None:
    """Remove older checkpoints, now that this one is whole; the Trainer itself would remove them before.

    Args:
        checkpoint: The one that was just written.
        keep: How many to keep, this one among them; ``None``, 0 and less keep all, as with the Trainer.
        best: The step of one to keep besides.
    """
    written = [other for other in checkpoints(checkpoint.parent) if step_of(other) <= step_of(checkpoint)]
    for older in written[keep if keep and keep > 0 else len(written) :]:
        if step_of(older) != best:
            shutil.rmtree(older, ignore_errors=True)


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file() and not path.name.startswith(MARK))
    return {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
