"""Files as Hypothesis thinks of them: their text comes out token for token, or a sentence says where not."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from datasets import disable_progress_bars, enable_progress_bars
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pyarrow import parquet
from transformers import PreTrainedTokenizerBase

from clmkit.chunking import chunk
from clmkit.files import load_files
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
MARKED = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]  # what is read without being named
NAMED = ["utf-16-le", "utf-16-be", "utf-32-be", "cp1252", "shift_jis"]
LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0")
LIKE_SOMETHING_ELSE = [
    "NA",
    "null",
    "007",
    "1e5",
    "true",
    "2026-01-01",
    "2026-01-01T10:00:00",
    "nan",
    "-",
    "[]",
    "{}",
    "{" * 600,
    '"',
    '\\"',
    "\\ud83d",
    "a,b;c\td",
    "\u2028x",
    "\ufeffx",
    "text",
]
TEXTS = st.one_of(st.text(LETTERS, min_size=1, max_size=20), st.sampled_from(LIKE_SOMETHING_ELSE), st.just("word " * 9))
TEXTS = TEXTS.filter(str.strip)
HALF = "half \ud83d"  # of a character
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from([HALF, "2026-01-01", 10**500]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "text"]), inner, max_size=2),
    max_leaves=6,
)
BAD_TEXTS = st.sampled_from([None, "", " ", 7, True, [], {"a": 1}, HALF])
KEYS = st.sampled_from(["id", "score", "meta", "messages2", "a.b", "é"])


class File(NamedTuple):
    """A file, and what it was made of."""

    name: str
    content: bytes
    encoding: str | None  # that has to be named


class Job(NamedTuple):
    """Files that are read together, and the text of each row; ``None`` where it is not known."""

    files: list[File]
    texts: list[Any] | None


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def shaped(draw: st.DrawFn, texts: list[Any], shape: str) -> dict[str, Any]:
    """A row with texts in one of the shapes that rows come in."""
    if shape == "text":
        return {"text": texts[0]}
    if shape == "answers":
        return {"answers": {"text": texts, "score": draw(st.lists(st.integers(0, 9), max_size=2))}}
    if shape == "list of answers":
        return {"answers": [{"text": text, "by": draw(VALUES)} for text in texts]}
    messages = [{"role": "user", "content": text} for text in texts]
    if draw(st.booleans()) and all(isinstance(text, str) for text in texts):
        messages[0]["content"] = [{"type": "text", "text": texts[0]}]
    if draw(st.booleans()):
        messages.append({"role": "assistant", "content": None, "tool_calls": [{"arguments": draw(VALUES)}]})
    return {"messages": messages}


@st.composite
def rows(draw: st.DrawFn, shape: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows with texts, and with columns that come and go and change their types; now and then a text is none."""
    number = 1 if shape == "text" else 3
    texts: list[list[Any]] = draw(st.lists(st.lists(TEXTS, min_size=1, max_size=number), min_size=1, max_size=6))
    bad = draw(st.integers(0, 9)) == 4  # the ends of a range come more often
    if bad:
        texts[draw(st.integers(0, len(texts) - 1))][0] = draw(BAD_TEXTS)
    found = [{**draw(st.dictionaries(KEYS, VALUES, max_size=3)), **shaped(draw, one, shape)} for one in texts]
    if draw(st.integers(0, 19)) == 7:
        found[-1]["meta"] = deep(draw(st.sampled_from([30, 200, 400])))
    return found, [None if bad else " ".join(one) for one in texts]


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """One file or some, of any kinds, all of the same shape; now and then one of them is damaged."""
    shape = draw(st.sampled_from(["text", "text", "answers", "list of answers", "messages"]))
    kinds = ["json", "jsonl", "parquet"] + ["csv", "tsv"] * (shape == "text")
    encoding = draw(st.sampled_from([None, None, None, *NAMED]))
    files, texts = [], []
    for number in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        kind = draw(st.sampled_from([one for one in kinds if encoding is None or one != "parquet"]))
        found, expected = draw(rows(shape))
        content = WRITERS[kind](draw, found, encoding or draw(st.sampled_from(MARKED)))
        if content is None:  # the encoding has no such letters
            encoding = encoding if files else None
            content = WRITERS[kind](draw, found, encoding or "utf-8")
        if content is None:
            continue
        packer = draw(st.sampled_from(sorted(PACKERS)))
        if kind in ("csv", "tsv"):  # whose cells are texts whatever they were
            expected = [("" if row["text"] is None else str(row["text"])) for row in found]
            expected = [text if text.strip() else None for text in expected]
        files.append(File(f"rows [{number}].{kind}{packer}", PACKERS[packer](content), encoding))
        texts += expected
    if files and draw(st.integers(0, 9)) == 4:
        files[0] = files[0]._replace(content=damaged(draw, files[0].content))
        return Job(files, None)
    return Job(files, texts)


def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut short, or with other bytes in one place."""
    place = draw(st.integers(0, len(content)))
    return content[:place] + draw(st.sampled_from([b"", b"\xff" + content[place + 1 :], b'"\n' + content[place:]]))


def encoded(text: str, encoding: str) -> bytes | None:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None


def as_json(draw: st.DrawFn, found: list[dict[str, Any]], encoding: str) -> bytes | None:
    key = draw(st.sampled_from(["", "", "data", "train", "rows", "examples"]))
    whole = {key: found, "version": 1} if key and draw(st.booleans()) else {key: found} if key else found
    ascii_only = draw(st.booleans()) or HALF in str(found) or "\\ud83d" in str(found)
    return encoded(json.dumps(whole, ensure_ascii=ascii_only, indent=draw(st.none() | st.just(1))), encoding)


def as_json_lines(draw: st.DrawFn, found: list[dict[str, Any]], encoding: str) -> bytes | None:
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    ascii_only = draw(st.booleans()) or HALF in str(found) or "\\ud83d" in str(found)
    text = end.join(json.dumps(row, ensure_ascii=ascii_only) for row in found) + draw(st.sampled_from(["", end]))
    return encoded(text, encoding)


def as_table(draw: st.DrawFn, found: list[dict[str, Any]], encoding: str, delimiter: str) -> bytes | None:
    """Cells are texts; what is none comes as the text that it is written as, unless that is empty."""
    columns = list(dict.fromkeys(key for row in found for key in row))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    how = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
    if any(sign in str(row) for row in found for sign in ("\\n", "\\r")):
        how = csv.QUOTE_ALL  # Python's writer leaves line ends that are not its own without quotation marks
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=how, lineterminator=end)
    writer.writerow([*columns, *draw(st.sampled_from([[], ["id", "id"], [""]]))])
    for row in found:
        cells = [row.get(column) for column in columns]
        writer.writerow(cells + draw(st.sampled_from([[], ["", ""]])))
        text.write(draw(st.sampled_from(["", "", end])))
    return encoded(text.getvalue(), encoding)


STRINGS: list[Any] = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.binary(),
]
LISTS: list[Callable[[Any], Any]] = [pa.list_, pa.large_list, pa.list_view]
MAPS = pa.map_(pa.string(), pa.int64())
OTHERS: list[tuple[Any, list[Any]]] = [
    (pa.int64(), [1, None]),
    (pa.date32(), [3]),
    (pa.decimal128(9, 2), [7]),
    (pa.binary(), [b"\xff", None]),
    (pa.duration("ns"), [2**62]),
    (pa.timestamp("ns"), [1]),
    (pa.null(), [None]),
    (MAPS, [[("a", 1)], [], None]),
    (pa.list_(pa.struct({"x": MAPS})), [[{"x": [("a", 1)]}], []]),
    (pa.list_view(pa.int64()), [[1], []]),
    (pa.struct({"a": pa.list_(pa.large_string())}), [{"a": ["x"]}, None]),
    (pa.list_(pa.float32(), 2), [[1.0, 2.0]]),
    (pa.float16(), [None]),
]


def parquet_type(value: Any, string: Any, make_list: Callable[[Any], Any]) -> Any:
    """A type for the texts of a row: each string in it is ``string``, each list what ``make_list`` makes."""
    if isinstance(value, dict):
        return pa.struct({key: parquet_type(inner, string, make_list) for key, inner in value.items()})
    if isinstance(value, list):
        return make_list(parquet_type(value[0], string, make_list) if value else pa.int64())
    return string


def as_parquet(draw: st.DrawFn, found: list[dict[str, Any]], encoding: str) -> bytes | None:
    """One type a column: text that is no string is null; other columns are what chance makes them."""
    (column,) = {"text", "answers", "messages"} & set(found[0])
    string, make_list = draw(st.sampled_from(STRINGS)), draw(st.sampled_from(LISTS))
    values = [only_strings(row[column]) for row in found]
    sample = next((value for value in values if value is not None), "text")
    if isinstance(sample, list):
        sample = [sample[0]]
    names, arrays = [column], []
    try:
        arrays.append(pa.array(values, parquet_type(sample, string, make_list)))
    except (pa.ArrowException, NotImplementedError):
        arrays.append(pa.array(values))
    for name in draw(st.lists(st.sampled_from(["id", "id", "meta", "a.b"]), max_size=3)):
        kind, some = draw(st.sampled_from(OTHERS))
        arrays.append(pa.array([some[number % len(some)] for number in range(len(found))], kind))
        names.append(name)
    if draw(st.integers(0, 3)) == 0:
        arrays.append(pa.array([b"\xff"] * len(found)).view(pa.string()))
        names.append("broken")
    note = {"info": {"features": {"id": {"_type": draw(st.sampled_from(["Image", "Audio", "Hologram"]))}}}}
    table = pa.table(arrays, names=names)
    if draw(st.booleans()):
        table = table.replace_schema_metadata({"huggingface": json.dumps(note)})
    sink = pa.BufferOutputStream()
    try:
        parquet.write_table(table, sink, row_group_size=draw(st.sampled_from([1, 2, 100])))
    except pa.ArrowNotImplementedError:  # of older versions of pyarrow
        return None
    return bytes(sink.getvalue())


def only_strings(value: Any, key: str = "text") -> Any:
    """A row's texts in one type: what is no string is null, parts and calls of tools are left out."""
    if isinstance(value, dict):
        keys = [one for one in ("text", "role", "content") if one in value]
        return {one: only_strings(value[one]) for one in keys} if keys else None
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and value[0].get("type") == "text":
            return only_strings(value[0]["text"])
        kept = [one for one in value if not (isinstance(one, dict) and "tool_calls" in one)]
        return [only_strings(one) for one in kept] or None
    return value if isinstance(value, str) and value != HALF else None


WRITERS: dict[str, Callable[[st.DrawFn, list[dict[str, Any]], str], bytes | None]] = {
    "json": as_json,
    "jsonl": as_json_lines,
    "csv": lambda draw, found, encoding: as_table(draw, found, encoding, ","),
    "tsv": lambda draw, found, encoding: as_table(draw, found, encoding, "\t"),
    "parquet": as_parquet,
}


@pytest.fixture
def _no_bars() -> Any:
    disable_progress_bars()
    yield
    enable_progress_bars()


def try_job(job: Job, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Write and read files; whether they were read, and not refused. Fails where that is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        for file in job.files:
            Path(folder, file.name).write_bytes(file.content)
        try:
            paths = [str(Path(folder, file.name)) for file in job.files]
            joined = join_answers(load_files(paths, encoding=job.files[0].encoding))
            problem = ""
        except ValueError as error:
            problem = str(error)
    if problem:
        assert job.texts is None or None in job.texts, problem
        assert any(file.name in problem for file in job.files), problem
        return False
    assert job.texts is None or None not in job.texts, f"{job.texts} was read as {joined['text'][:]}"
    texts = joined["text"][:]
    if job.texts is not None:
        assert texts == job.texts
    tokens = tokenize(joined, tokenizer)
    ids = [token for row in tokens["input_ids"] for token in row]
    assert ids == [token for row in tokenizer(texts)["input_ids"] for token in row]
    if len(ids) >= BLOCK_SIZE:
        blocks = [token for row in chunk(tokens, BLOCK_SIZE)["input_ids"] for token in row]
        assert blocks == ids[: len(ids) // BLOCK_SIZE * BLOCK_SIZE]
    return True


def try_files(tokenizer: PreTrainedTokenizerBase, seconds: float) -> dict[str, int]:
    """Write and read files for so many seconds; how many were read, and how many refused."""
    counts = {"read": 0, "refused": 0}

    @given(job=jobs().filter(lambda job: job.files))
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def try_some(job: Job) -> None:
        counts["read" if try_job(job, tokenizer) else "refused"] += len(job.files)

    began = time.monotonic()
    number = int(os.environ.get("CLMKIT_FUZZ_SEED", "0"))
    while time.monotonic() < began + seconds:
        seed(number)(try_some)()
        number += 1
    return counts


@pytest.mark.usefixtures("_no_bars")
@pytest.mark.parametrize("minutes", [1 / 3, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(3000)])])
def test_whatever_a_file_is_like_its_text_comes_out_token_for_token_or_a_sentence_says_where_not(
    minutes: float, tokenizer: PreTrainedTokenizerBase, record_property: Callable[[str, object], None]
) -> None:
    counts = try_files(tokenizer, 60 * minutes)
    record_property("files", counts)
    assert counts["read"] > 0
    assert counts["refused"] > 0
    print(f"{counts['read']} files read, {counts['refused']} refused")
