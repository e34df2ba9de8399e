"""Files as bytes: packed or not, and in which encoding."""

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa

PACKED: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path, mode: pa.CompressedInputStream(str(path), "zstd"),
}
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def open_unpacked(path: Path) -> Any:
    """The bytes of a file, unpacked."""
    return PACKED.get(path.suffix.lower(), open)(path, "rb")


def encoding_of(path: Path) -> str:
    """UTF-16 if a file begins with its mark; else UTF-8, with a mark or without."""
    with open_unpacked(path) as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def not_decoded(path: Path, error: UnicodeDecodeError, encoding: str | None) -> str:
    """Why a file is not text in the encoding that was named, or where it is not UTF-8, by line and byte."""
    if encoding is not None:
        return f"{path}: in {encoding} it is no text ({error.reason}): name the encoding that it was saved in"
    where, byte = "", error.object[error.start]
    with open_unpacked(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as found:
                where, byte = f", line {number}", line[found.start]
                break
    return (
        f"{path}{where}: the byte 0x{byte:02x} is not UTF-8 text: save the file in the encoding UTF-8, or say in which "
        "one it is: encoding='cp1252', for example"
    )
