"""Files as bytes: packed or not, and in which encoding."""

import bz2
import gzip
import io
import json
import lzma
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from clmkit.hub.data_sets import HubFile

DataFile: TypeAlias = Path | HubFile

PACKED: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda file, mode: io.BufferedReader(pa.CompressedInputStream(file, "zstd")),
}
PACKED_BEGINS = {b"\x1f\x8b": ".gz", b"BZh91AY&SY": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
# What is found in the place of data, by its first bytes in lower case.
NO_DATA = {
    b"version https://git-lfs": "is Git LFS's pointer to the file, not the file itself: get that by git lfs pull",
    b"pk\x03\x04": "is a zip archive, as .xlsx files are too: unpack it, or save the table as CSV",
    b"<!doctype html": "is a page in HTML, not the data: download the file itself",
    b"<html": "is a page in HTML, not the data: download the file itself",
}
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
UTF8 = "utf-8-sig"  # with a mark or without


def open_unpacked(path: DataFile) -> Any:
    """The bytes of a file, unpacked."""
    unpack = PACKED.get(packer_of(path))
    if unpack is None:
        return path.open("rb")
    return unpack(str(path) if isinstance(path, Path) else path.open("rb"), "rb")


def packer_of(path: DataFile) -> str:
    """The suffix for how a file is packed, by its name, or by its first bytes if it has another; empty if it is not."""
    if path.suffix.lower() in PACKED or not isinstance(path, Path):
        return path.suffix.lower() if path.suffix.lower() in PACKED else ""
    with path.open("rb") as file:
        start = file.read(10)
    return next((suffix for begins, suffix in PACKED_BEGINS.items() if start.startswith(begins)), "")


def suffix_of(path: DataFile) -> str:
    """The last suffix that says of what type a file is, in lower case; an empty one if there is none."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix.lower() not in PACKED), "").lower()


def check_content(path: DataFile) -> None:
    """Raise a ValueError if a file is empty, or its first bytes show that it is something else than data."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ValueError(f"{path}: the file is empty: there are no rows in it to train on")
    if what := next((what for begins, what in NO_DATA.items() if start.lstrip().lower().startswith(begins)), None):
        raise ValueError(f"{path}: {what}")


def encoding_of(path: DataFile) -> str:
    """UTF-16 or UTF-32 if a file begins with the mark of one; else UTF-8, with a mark or without.

    Raises:
        ValueError: If it begins as UTF-16 or UTF-32 do, without a mark.
    """
    with open_unpacked(path) as file:
        start = file.read(4)
    found = json.detect_encoding(start)  # by the marks, and by where 0x00 stands in the first four bytes
    if found.startswith("utf-8") or len(start) < 2:
        return UTF8
    if found in ("utf-16", "utf-32"):
        return found
    raise ValueError(
        f"{path}, line 1: byte {start.index(0) + 1} is 0x00, as in {found.upper()}, and there is no mark at the "
        f"beginning that says so: say it yourself: encoding={found!r}"
    )


def not_decoded(path: DataFile, encoding: str | None) -> str:
    """Where a file is not text in the encoding that was named, or in the one that it seems to be in, by line and byte.

    Args:
        path: A file that could not be decoded.
        encoding: What was named; ``None`` if nothing was.
    """
    tried = encoding or encoding_of(path)
    where, byte, reason = "", "a byte", ""
    with open_unpacked(path) as file:
        try:
            file.read().decode(tried)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode(tried, "ignore")
            line = 1 + (before.count("\n") or before.count("\r"))
            where, byte, reason = f", line {line}", f"the byte 0x{error.object[error.start]:02x}", f" ({error.reason})"
        except UNPACKING_ERRORS as error:  # what was read before this was found out could not be decoded
            return not_whole(path, error)
    if encoding is not None:
        return f"{path}{where}: {byte} is no text in {encoding}{reason}: name the encoding that it was saved in"
    name = "UTF-8" if tried == UTF8 else tried.upper()
    return (
        f"{path}{where}: {byte} is not {name} text: save the file in the encoding UTF-8, or say in which one it is: "
        "encoding='cp1252', for example"
    )


def not_whole(path: DataFile, error: BaseException) -> str:
    """Why a file can't be unpacked."""
    return f"{path}: not a whole {packer_of(path)[1:]} file: {error}"
