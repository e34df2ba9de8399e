"""Write files whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_output_dir(folder: str | Path) -> Path:
    """Make the folder if need be, and write a file in it, before hours go into a model that could not be saved.

    Raises:
        OSError: If the folder can't be made or written; the message says why.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"the output folder {str(folder)!r} can't be written ({error.strerror}): choose another output_dir"
        ) from error
    return folder


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
    with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-") as unfinished:
        yield Path(unfinished)
        for path in Path(unfinished).iterdir():
            path.replace(folder / path.name)
