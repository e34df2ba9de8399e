"""Files as Hypothesis thinks of them: their text comes out token for token, or a sentence says where not."""

import bz2
import csv
import gzip
import json
import lzma
import os
import re
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import disable_progress_bars, enable_progress_bars
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pyarrow import parquet
from transformers import PreTrainedTokenizerBase

from clmkit.chunking import chunk
from clmkit.files import load_local
from clmkit.texts import join_answers
from clmkit.tokenization import tokenize

BLOCK_SIZE = 4
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}
LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0")
LIKE_SOMETHING_ELSE = [
    "NA",
    "null",
    "007",
    "1e5",
    "true",
    "2026-01-01",
    "nan",
    "-",
    "[]",
    "{}",
    '"',
    "a,b;c\td",
    "\u2028x",
]
TEXTS = st.one_of(st.text(LETTERS, min_size=1, max_size=20), st.sampled_from(LIKE_SOMETHING_ELSE), st.just("word " * 9))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "text"]), inner, max_size=2),
    max_leaves=4,
)
BAD_TEXTS = st.sampled_from([None, "", " ", 7, True, [], {"a": 1}])
PARQUET_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]

OTHER_TYPES = [pa.int64(), pa.date32(), pa.decimal128(9, 2), pa.binary(), pa.duration("s"), pa.null()]


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with a text, and with columns that come and go and change their types; now and then a text is none."""
    texts = draw(st.lists(TEXTS.filter(str.strip), min_size=1, max_size=6))
    others = st.dictionaries(st.sampled_from(["id", "score", "meta"]), VALUES, max_size=3)
    found = [{"text": text, **draw(others)} for text in texts]
    if draw(st.integers(0, 9)) == 0:
        found[draw(st.integers(0, len(found) - 1))]["text"] = draw(BAD_TEXTS)
    return found


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes, list[Any]]:
    """A file's name, its bytes, and the texts that were put in."""
    found = draw(rows())
    kind = draw(st.sampled_from(["json", "jsonl", "csv", "tsv", "parquet"]))
    tables = {"csv": partial(as_table, delimiter=","), "tsv": partial(as_table, delimiter="\t")}
    write: Any = {"json": as_json, "jsonl": as_json_lines, "parquet": as_parquet, **tables}[kind]
    content = write(draw, found)
    packer = draw(st.sampled_from(sorted(PACKERS)))
    return f"rows.{kind}{packer}", PACKERS[packer](content), [row["text"] for row in found]


def as_json(draw: st.DrawFn, found: list[dict[str, Any]]) -> bytes:
    key = draw(st.sampled_from(["", "", "data", "train", "rows", "examples"]))
    text = json.dumps(
        {key: found} if key else found, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
    )
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))


def as_json_lines(draw: st.DrawFn, found: list[dict[str, Any]]) -> bytes:
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    ascii_only = draw(st.booleans())
    text = end.join(json.dumps(row, ensure_ascii=ascii_only) for row in found) + draw(st.sampled_from(["", end]))
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))


def as_table(draw: st.DrawFn, found: list[dict[str, Any]], delimiter: str) -> bytes:
    """Cells are texts; a text that is none comes back as the text that it is written as, unless that is empty."""
    for row in found:
        row["text"] = "" if row["text"] is None else str(row["text"]).replace("\r", "")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
        with path.open("w", encoding=encoding, newline="") as file:
            columns = list(dict.fromkeys(key for row in found for key in row))
            writer = csv.DictWriter(file, columns, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(found)
        return path.read_bytes()


def as_parquet(draw: st.DrawFn, found: list[dict[str, Any]]) -> bytes:
    """One type a column: texts that are no strings are null; other columns are what a chance makes them."""
    for row in found:
        row["text"] = row["text"] if isinstance(row["text"], str) else None
    texts = pa.array([row["text"] for row in found], pa.string())
    columns = {"text": texts.cast(draw(st.sampled_from(PARQUET_TYPES[:3])))}
    if draw(st.booleans()):
        columns["text"] = texts.dictionary_encode()
    other = draw(
        st.sampled_from([pa.int64(), pa.date32(), pa.decimal128(9, 2), pa.binary(), pa.duration("s"), pa.null()])
    )
    columns["other"] = pa.nulls(len(found), other)
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


@pytest.fixture
def _no_bars() -> Any:
    disable_progress_bars()
    yield
    enable_progress_bars()


def try_files(tokenizer: PreTrainedTokenizerBase, seconds: float) -> dict[str, int]:
    """Write and read files for so many seconds; how many were read, and how many refused."""
    counts = {"read": 0, "refused": 0}

    @given(file=files())
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def try_some(file: tuple[str, bytes, list[Any]]) -> None:
        name, content, texts = file
        sound = all(isinstance(text, str) and text.strip() for text in texts)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            problem = ""
            try:
                joined = join_answers(load_local(path))
            except ValueError as error:
                problem = str(error)
        if problem:
            assert not sound, problem
            assert re.search(rf"{re.escape(name)}|row \d+|column 'text' holds|no text column: .* found ", problem), (
                problem
            )
            counts["refused"] += 1
            return
        assert sound, f"{texts} was read as {joined['text']}"
        assert joined["text"] == texts
        tokens = tokenize(joined, tokenizer)
        ids = [token for row in tokens["input_ids"] for token in row]
        assert ids == [token for row in tokenizer(texts)["input_ids"] for token in row]
        if len(ids) >= BLOCK_SIZE:
            blocks = [token for row in chunk(tokens, BLOCK_SIZE)["input_ids"] for token in row]
            assert blocks == ids[: len(ids) // BLOCK_SIZE * BLOCK_SIZE]
        counts["read"] += 1

    began = time.monotonic()
    number = int(os.environ.get("CLMKIT_FUZZ_SEED", "0"))
    while time.monotonic() < began + seconds:
        seed(number)(try_some)()
        number += 1
    return counts


@pytest.mark.usefixtures("_no_bars")
@pytest.mark.parametrize("minutes", [1, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(3000)])])
def test_whatever_a_file_is_like_its_text_comes_out_token_for_token_or_a_sentence_says_where_not(
    minutes: int, tokenizer: PreTrainedTokenizerBase, record_property: Callable[[str, object], None]
) -> None:
    counts = try_files(tokenizer, 60 * minutes)
    record_property("files", counts)
    assert counts["read"] > 0
    assert counts["refused"] > 0
    print(f"{counts['read']} files read, {counts['refused']} refused")
