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
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
UTF8 = "utf-8-sig"  # with a mark or without


def open_unpacked(path: DataFile) -> Any:
    """The bytes of a file, unpacked."""
    unpack = PACKED.get(path.suffix.lower())
    if unpack is None:
        return path.open("rb")
    return unpack(str(path) if isinstance(path, Path) else path.open("rb"), "rb")


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
    return f"{path}: not a whole {path.suffix.lower()[1:]} file: {error}"
