"""Whose an output folder is: training writes among its own files alone, and one training at a time does."""

import hashlib
import json
import tempfile
import warnings
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from clmkit.hub.download import MODEL_FILES
from clmkit.hub.weights import PICKLES, is_model
from clmkit.tracks import FULL, MODEL_NAME, OWN, QUICK

RECORD = "run.json"  # what a run of `train` leaves
TUNED_ON = "tuned_on"  # of a tuned model's configuration: what it depends on
LOCK = ".clmkit.lock"
# What people put beside models, and what lies there under names that no training writes over.
HARMLESS: tuple[str, ...] = ("unfinished-*", ".*", "*.log", "*.out", "*.err", "*.yaml", "*.yml", "runs")
HARMLESS += ("logs", "wandb", "mlruns", "desktop.ini", "Thumbs.db")
# What training leaves, and people may have too: it is ours where the folder is.
WRITTEN = (*MODEL_FILES, *PICKLES, "adapter_*", "tf_model.h5", "checkpoint*", "training_args.bin", "trainer_state.json")
WRITTEN += ("losses.png", "held_out.parquet", "*_results.json")
CARDS = ("of a course on causal language", "library_name: peft")  # clmkit's cards, and that of an adapter's checkpoint
COURSE = {Path(track.output_dir).parent.name for track in (QUICK, FULL, OWN)} | {"tf_keras", "keras_hub"}

_held: dict[Path, BaseFileLock] = {}  # by this process


def read_json(path: Path) -> Any:
    """What a file of JSON says; ``None`` if it is not there, or broken: a loss of power can leave it so."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError:
        return None


def _says(path: Path, *names: str) -> bool:
    value = read_json(path)
    return isinstance(value, dict) and all(name in value for name in names)


def is_record(path: Path) -> bool:
    """Whether a file is the JSON of a run of ours, of this version of clmkit or of an earlier one."""
    return _says(path, "status", "versions") or _says(path, "status", "options")


def foreign_files(folder: Path) -> list[str]:
    """The names of what lies in a folder, is none of training's own files, and could be written over by it.

    A folder is ours if it holds the record of a run, or a model that says what it was tuned on. In a folder of the
    course's own name, or where a training of ours began, half of what training writes is ours.
    """
    if is_record(folder / RECORD) or _says(folder / "config.json", TUNED_ON):
        return []
    began = (folder / LOCK).exists() or _is_named_by_course(folder)
    half = began and not is_model(folder)  # a whole one that does not say what it was tuned on may be anyone's
    own = (*HARMLESS, *(name for name in WRITTEN if half and name != "README.md"))
    names = sorted(path for path in folder.iterdir() if not any(fnmatch(path.name, pattern) for pattern in own))
    return [path.name for path in names if not _is_own(path, began)]


def _is_own(path: Path, began: bool) -> bool:
    if path.name == RECORD and path.is_file():  # a loss of power can leave it empty, or with its beginning alone
        empty = not path.read_bytes().strip(b"\0 \n")
        return empty or (read_json(path) is None and (began or any(map(_is_checkpoint, path.parent.iterdir()))))
    if path.name == "README.md" and path.is_file():
        return any(words in path.read_text(encoding="utf-8", errors="replace") for words in CARDS)
    return _is_checkpoint(path)


def _is_checkpoint(path: Path) -> bool:
    """Whether a checkpoint is of a training by clmkit: another Trainer's are not."""
    return fnmatch(path.name, "checkpoint-*") and _says(path / "config.json", TUNED_ON)


def _is_named_by_course(folder: Path) -> bool:
    folder = folder.absolute()
    return folder.name.startswith(MODEL_NAME) and folder.parent.name in COURSE


def check_free(folder: Path, *models: str, option: str = "output_dir", run: bool = False) -> None:
    """Raise a ValueError if training would write over what is not its own.

    Args:
        folder: The output folder, which is there.
        models: Where the model to start from may lie: folders, or ids on the Hub.
        option: What the folder is called where it was named.
        run: Whether it is for a run of ``train``, which goes on where an earlier one stopped.

    Raises:
        ValueError: If the folder is the model's own, or its checkpoints', or holds files that are not of a training,
            or what another kind of training left.
    """
    name = folder.as_posix()
    for model in map(Path, filter(None, models)):
        if model.is_dir() and folder.samefile(model):
            raise ValueError(
                f"the output folder {name!r} is that of the model to start from, which would be written over: "
                f"choose another {option}"
            )
        if model.name.startswith("checkpoint-") and model.is_dir() and folder.samefile(model.resolve().parent):
            raise ValueError(
                f"the model to start from is {model.name} in the output folder {name!r}, where older checkpoints are "
                f"removed: choose another {option}"
            )
    if not run and is_record(folder / RECORD):
        raise ValueError(
            f"the output folder {name!r} holds a run of `python -m clmkit train`: choose another {option}, or go on "
            "with that command"
        )
    if run and not (folder / RECORD).exists() and is_model(folder):
        raise ValueError(
            f"the output folder {name!r} holds other files (a model without {RECORD}), which training could write "
            f"over: choose another {option}"
        )
    if others := foreign_files(folder):
        raise ValueError(
            f"the output folder {name!r} holds other files ({name_some(others)}), which training "
            f"could write over: name an empty one, such as {option} {(folder / 'run').as_posix()}"
        )


def name_some(names: list[str]) -> str:
    """Three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def is_held(folder: Path) -> bool:
    """Whether this process has the folder."""
    return folder.resolve() in _held


def hold(folder: Path, remedy: str) -> None:
    """Have a folder for this process alone, until ``release`` or its end.

    Args:
        folder: Where the lock is put, so that every user and every machine sees it.
        remedy: What else to do, for the error.

    Raises:
        OSError: If another process has it, or it was another user's.
    """
    folder = folder.resolve()
    for path in (folder / LOCK, _lock_elsewhere(folder)):
        lock = FileLock(path, mode=0o666)  # of a folder that a group shares
        try:
            with warnings.catch_warnings():  # that filelock takes a file for a lock, which would outlive its process
                warnings.filterwarnings("ignore", "flock not supported on this filesystem")
                lock.acquire(blocking=False)
        except Timeout as error:
            raise OSError(
                f"the output folder {folder.as_posix()!r} is in use by another run: wait for it, or {remedy}"
            ) from error
        except PermissionError as error:
            raise OSError(f"{path.as_posix()!r}, by which runs keep apart, is another user's: {remedy}") from error
        except (OSError, NotImplementedError):  # not every kind of file system has locks
            continue
        if not isinstance(lock, SoftFileLock):
            _held[folder] = lock
            return
        lock.release()


def release(folder: Path) -> None:
    """Give a folder back that ``hold`` took."""
    if lock := _held.pop(folder.resolve(), None):
        lock.release()


def _lock_elsewhere(folder: Path) -> Path:
    """For a file system without locks, such as Google Drive in Colab: one that this machine alone sees."""
    name = hashlib.sha256(f"{Path.home()} {folder}".encode()).hexdigest()
    return Path(tempfile.gettempdir(), f"clmkit-{name[:32]}.lock")
