"""Find the local files that ``data=`` names."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clmkit.hub.models import HUB_ID
from clmkit.messages import _

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # also as Path leaves it, with one slash
FILE_SUFFIX = re.compile(r"\.[A-Za-z]+$")


def expand_home(path: str | os.PathLike[str]) -> str:
    """A path with the home in place of ``~``, which only a shell puts there, unless there is something of that name."""
    path = os.fspath(path)
    return path if os.path.lexists(path) else os.path.expanduser(path)


def words_of(data: object) -> tuple[str, ...]:
    """The paths, patterns and ids that ``data=`` names.

    Raises:
        ValueError: If it is something else, or names nothing.
    """
    words: list[Any] = [data] if isinstance(data, str | os.PathLike) else []
    if isinstance(data, list | tuple | set | Iterator):
        words = list(data)
    if not words or not all(isinstance(word, str | os.PathLike) and os.fspath(word) for word in words):
        given = repr(data) if isinstance(data, str | list | tuple | set) else f"a {type(data).__name__}"
        raise ValueError(
            f"data must be a path, a pattern, an id on the Hub, or a list of such, not {given:.80}. What is in memory "
            "can be written to a file: Dataset.from_list([{'text': ...}]).to_json('texts.jsonl')"
        )
    return tuple(map(expand_home, words))


def check_data_file(path: str | os.PathLike[str]) -> Path:
    """Raise a FileNotFoundError that says what is there instead, unless ``path`` is a file."""
    if ADDRESS.match(str(path)):
        raise FileNotFoundError(
            f"{str(path)!r} is an address, not a file here: download it first, and name the file. For a data set on "
            "the Hub, name its id: owner/name"
        )
    path = Path(expand_home(path))
    if path.is_dir():
        hub = (
            ". For the data set of that name on the Hub, work in another folder" if HUB_ID.fullmatch(str(path)) else ""
        )
        raise FileNotFoundError(f"{str(path)!r} is a folder here: name a data file in it, or a pattern of such{hub}")
    if not path.is_file():
        raise FileNotFoundError(f"data file {str(path)!r} is not there; the working folder is {Path.cwd()}")
    return path


def say_folder(model: str) -> list[str]:
    """A sentence that says so where a folder here is taken for a model whose name may be meant as that on the Hub."""
    if not HUB_ID.fullmatch(model) or not Path(model).is_dir():
        return []
    return [_("{name} is the folder here, not a model on the Hub.", name=model)]


def find_files(data: str | Sequence[str]) -> list[str]:
    """The local files that a track's data stand for, a pattern's sorted by name; none if it is one id of the Hub.

    Raises:
        FileNotFoundError: If a path or a pattern stands for no file.
    """
    words = [data] if isinstance(data, str) else data
    one = words[0] if len(words) == 1 else ""
    if HUB_ID.fullmatch(one) and not FILE_SUFFIX.search(one) and not Path(one).exists():  # nothing here can be meant
        return []
    files: list[str] = []
    for word in words:
        # Brackets may be part of a name.
        found = [] if Path(word).is_file() else glob.glob(word) or glob.glob(word.replace("[", "[[]"))
        matches = sorted(filter(os.path.isfile, found))
        files += matches or [str(check_data_file(word))]
    return files
