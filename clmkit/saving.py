"""Write files whole or not at all."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = "unfinished-clmkit-"  # how the folders begin that a kill can leave
# Each wins over HF_HOME.
CACHE_VARIABLES = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_METRICS_CACHE")
DRIVE = "/content/drive"  # where Colab mounts it


def check_output_dir(folder: str | Path) -> Path:
    """Make the folder if need be, and write a file in it, before hours go into a model that could not be saved.

    Raises:
        OSError: If the folder can't be made or written; the message says why.
    """
    folder = Path(folder)
    try:
        _write_in(folder)
    except OSError as error:
        raise OSError(
            f"the output folder {str(folder)!r} can't be written ({error.strerror}): choose another output_dir"
        ) from error
    return folder


def check_cache(folder: str | Path) -> None:
    """Write a file where Hugging Face's libraries keep theirs, which they would fail to with less to say.

    Args:
        folder: Below ``HF_HOME``, unless a variable of its own says otherwise; it is made if need be.

    Raises:
        OSError: If it can't be made or written; the message says why, and names ``HF_HOME``, or what stands for it.
    """
    try:
        _write_in(Path(folder))
    except OSError as error:
        raise OSError(
            f"the cache {str(folder)!r} can't be written ({error.strerror}): set {cache_variable(folder)} to a folder "
            "that can be, and start Python again"
        ) from error


def _write_in(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def cache_variable(folder: str | Path) -> str:
    """The variable of the environment that says where a folder of Hugging Face's caches lies."""
    places = {name: os.environ.get(name) for name in CACHE_VARIABLES}
    within = [name for name, place in places.items() if place and Path(folder).is_relative_to(_expanded(place))]
    return within[0] if within else "HF_HOME"


def _expanded(place: str) -> str:
    return os.path.expanduser(os.path.expandvars(place))


def work_in_drive(wanted: bool, folder: str = "causal-lm-course") -> None:
    """In Colab, work in a folder of your Google Drive, so that what is trained outlives the runtime.

    Args:
        wanted: Whether to; Drive asks for your permission.
        folder: Its name in Drive; it is made if need be.

    Raises:
        RuntimeError: If it is wanted, and this is not Colab.
    """
    if not wanted:
        return
    try:
        drive = importlib.import_module("google.colab.drive")
    except ModuleNotFoundError as error:
        raise RuntimeError("Google Drive is to be had in Colab alone; here files are kept anyway: False") from error
    drive.mount(DRIVE)
    os.chdir(check_output_dir(Path(DRIVE, "MyDrive", folder)))


@contextmanager
def write_whole(folder: str | Path) -> Iterator[Path]:
    """Put files in place when all are written, so that a write that fails leaves the old ones whole.

    Args:
        folder: Where the files are to be; it is made if need be.

    Yields:
        An empty folder to write them into.

    Raises:
        OSError: If the folder can't be made or written.
    """
    folder = check_output_dir(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as unfinished:
        yield Path(unfinished)
        for path in Path(unfinished).iterdir():
            path.replace(folder / path.name)
