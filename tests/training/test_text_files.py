"""What is read of files as a stream: the text, whatever stands beside it, or one sentence with file and line."""

import bz2
import gzip
import io
import json
import lzma
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import load_dataset
from pyarrow import parquet

from clmkit.scale import text_files
from clmkit.scale.text_files import stream_texts
from clmkit.texts import join_answers


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read little at a time, so that small files have many pieces."""
    for module, name, size in ((text_files, "CHUNK", 64), (text_files, "ROWS", 3)):
        monkeypatch.setattr(module, name, size)


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, row_group_size=2)
    return file.getvalue()


def read(path: Path, content: str | bytes, **how: Any) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [row["text"] for row in stream_texts([str(path)], **how)]


ODD = ["NA", "007", "2026-01-01", "true", "null", "1e5", "a\u2028b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "id,text\n" + "".join(f"{number},{text}\n" for number, text in enumerate(ODD))),
        ("rows.tsv", "id\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(ODD))),
        ("rows.jsonl", lines([{"id": number, "text": text} for number, text in enumerate(ODD)])),
        ("rows.json", json.dumps([{"text": text} for text in ODD], indent=1)),
        ("rows.json", json.dumps({"data": [{"text": text} for text in ODD]})),
        ("rows.parquet", as_parquet(id=range(len(ODD)), text=ODD)),
        ("rows.parquet", as_parquet(text=pa.array(ODD).dictionary_encode())),
        ("rows.parquet", as_parquet(text=pa.array(ODD, pa.large_string()))),
        ("rows.parquet", as_parquet(text=ODD, more=pa.array([[("k", 1)]] * len(ODD), pa.map_(pa.string(), pa.int8())))),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_text_stays_text_whatever_it_looks_like(name: str, content: str | bytes, tmp_path: Path) -> None:
    assert read(tmp_path / name, content) == ODD


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_packed_files_are_unpacked(suffix: str, kind: str, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(20)]
    plain = {
        "jsonl": lines([{"text": text} for text in texts]).encode(),
        "csv": "\n".join(["text,more", *(f"{text},1" for text in texts)]).encode(),
        "parquet": as_parquet(text=texts),
    }[kind]
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(suffix)
    packed = pack(plain) if pack else pa.compress(plain, codec="zstd", asbytes=True)
    assert read(tmp_path / f"rows.{kind}{suffix}", packed) == texts


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("utf-8", None),
        ("utf-8", "UTF8"),
        ("utf-8-sig", None),
        ("utf-8-sig", "utf-8"),
        ("utf-16", None),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_a_file_is_read_in_its_encoding(kind: str, written: str, named: str | None, tmp_path: Path) -> None:
    texts = [f"{number} étés à Noël" for number in range(9)]
    rows = [{"text": text, "more": 1} for text in texts]
    content = {
        "jsonl": lines(rows),
        "json": json.dumps(rows, ensure_ascii=False),
        "csv": "\n".join(["text,more", *(f"{text},1" for text in texts)]),
    }[kind]
    assert read(tmp_path / f"rows.{kind}", content.encode(written), encoding=named) == texts


def test_no_other_column_stops_a_stream(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [{"n": 1}] * 50 + [{"n": "one"}, {"n": {"k": [1]}}, {"n": None, "new": 1}, {}]
    others += [{"n": [{"a": 1}, 2]}, {"new": {"k": {}}}]
    rows = [{**other, "text": f"text {number}"} for number, other in enumerate(others)]
    assert read(tmp_path / "rows.jsonl", lines(rows)) == [row["text"] for row in rows]
    nan = '{"n": NaN, "text": "a"}\n{"n": 1' + "0" * 400 + '.5, "text": "b"}\n\n{"text": "x", "text": "c"}\n'
    assert read(tmp_path / "odd.jsonl", nan) == ["a", "b", "c"]
    big = '{"n": ' + "9" * 5000 + ', "text": "a"}\n\n{"n": 1, "text": "b"}\n'
    assert read(tmp_path / "big.jsonl", big) == ["a", "b"]


TALK = {"messages": [{"role": "user", "content": "a"}, {"content": "b"}], "id": 1}


@pytest.mark.parametrize(
    ("rows", "column", "texts"),
    [
        ([{"answers": {"text": ["a", "b"], "score": [1]}}, {"answers": {"text": ["c"]}}], None, ["a b", "c"]),
        ([{"answers": [{"text": "a"}, {"text": "b", "score": 2}]}, {"answers": [{"text": "c"}]}], None, ["a b", "c"]),
        ([{"answers.text": ["a", "b"]}, {"answers.text": ["c"]}], None, ["a b", "c"]),
        ([TALK, TALK], None, ["a b", "a b"]),
        ([TALK, TALK], "messages.content", ["a b", "a b"]),
        ([{"one": {"two": {"three": "a"}}}, {"one": {"two": {"three": "b"}, "x": 1}}], "one.two.three", ["a", "b"]),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_texts_within_lists_and_objects_are_joined(
    rows: list[dict[str, Any]], column: str | None, texts: list[str], kind: str, tmp_path: Path
) -> None:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), file)
    content = {"jsonl": lines(rows), "json": json.dumps(rows), "parquet": file.getvalue()}[kind]
    assert read(tmp_path / f"rows.{kind}", content, text_column=column) == texts


def test_rows_of_json_lines_may_be_texts_and_lists_of_them(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": ["b", "c"]}, {"text": "d"}]
    assert read(tmp_path / "rows.jsonl", lines(rows)) == ["a", "b c", "d"]


GOOD = lines([{"text": "good"}] * 30)
CELLS = "text,more\n" + 'good,1\n"two\nlines",2\n' * 10


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", GOOD + '{"text": "cut"\n' + GOOD, ", line 31: malformed JSON: Expecting ',' delimiter"),
        ("a.jsonl", '{"text": }\n' + GOOD, ", line 1: malformed JSON: Expecting value"),
        ("a.jsonl", GOOD + "\n\n[1]\n", ", line 33: a row must be a JSON object, not list"),
        ("a.jsonl", GOOD + '\n{"text": null}\n', ", line 32, answer 1 of 'text' is null; it must be a string"),
        ("a.jsonl", GOOD + '{"text": 5}\n', ", line 31, answer 1 of 'text' is 5; it must be a string"),
        ("a.jsonl", GOOD + '{"text": " "}\n', ", line 31, answer 1 of 'text' is empty"),
        ("a.jsonl", GOOD + '{"text": "\\ud83d"}\n', r", line 31: '\ud83d' in 'text' is half a character: mend"),
        ("a.jsonl", GOOD.encode() + b'{"text": "\xe9"}\n', ", line 31: the byte 0xe9 is not UTF-8 text: save the file"),
        ("a.jsonl", (GOOD + '{"text": 5}\n').encode("utf-16"), ", line 31, answer 1 of 'text' is 5"),
        ("a.jsonl", GOOD.encode("utf-16")[:-1], ", line 30: the byte 0x0a is not UTF-16 text: save the file"),
        (
            "a.jsonl.gz",
            gzip.compress((GOOD + "{\n").encode(), mtime=0),
            ", line 31: malformed JSON: Expecting property name",
        ),
        (
            "a.jsonl.gz",
            gzip.compress(GOOD.encode(), mtime=0)[:-9],
            ": can't be read as json: Compressed file ended before",
        ),
        ("a.jsonl", lines([{"body": "x"}] * 2), ": no text column: expected 'answers.text' or 'text', found 'body'"),
        (
            "a.jsonl",
            lines([{"messages": [{"content": "x"}]}, {"messages": "x"}]),
            ", line 2, answer 1 of 'messages.content' is null",
        ),
        (
            "a.jsonl",
            GOOD + '{"text": ' + "[" * 9000 + "]" * 9000 + "}\n",
            ", line 31: lists and objects are nested",
        ),
        ("a.jsonl", "\n\n", ": there are no rows in it to train on"),
        ("a.jsonl", "", ": the file is empty: there are no rows in it to train on"),
        ("a.json", '[{"text": "a"},\n{"text": }]', ", line 2: malformed JSON: Expecting value"),
        ("a.json", '[{"text": "a"}, {"text": 5}]', ", row 1, answer 1 of 'text' is 5"),
        (
            "a.json",
            '{"foo": {"a": 1}, "bar": 2}',
            ": the file is one JSON object ('foo': dict, 'bar': int), not a",
        ),
        ("a.csv", CELLS + "good,1,2\n", ", line 32: 3 fields, and the header names 2. A text in which ',' stands"),
        ("a.csv", CELLS + ",1\n", ", line 32, answer 1 of 'text' is empty; it must be a string that is not empty"),
        (
            "a.csv",
            CELLS + '"good,1\ngood,2\n',
            ", line 32: a quotation mark opens a text here, and none closes it",
        ),
        ("a.csv", CELLS.encode() + b"\xe9,1\n", ", line 32: the byte 0xe9 is not UTF-8 text: save the file"),
        ("a.csv", "text;more\nx;1\ny\n", ", line 3: 1 fields, and the header names 2, separated by ';'"),
        ("a.csv", "text,more\n", ": there are no rows in it to train on"),
        ("a.parquet", as_parquet(text=["a", "b", "c", "d", None]), ", row 4, answer 1 of 'text' is null"),
        ("a.parquet", as_parquet(text=pa.array([], pa.string())), ": there are no rows in it to train on"),
        ("a.parquet", b"PAR1 and no more", ": can't be read as parquet: Parquet magic bytes not found"),
        ("a.txt", "a", ": unknown file type; it must end in one of .json, .jsonl"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_line(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / name) + said)):
        read(tmp_path / name, content)


def test_a_column_that_is_not_there_is_told_before_a_row_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD)
    (tmp_path / "b.csv").write_text("body,more\nx,1\n")
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.csv")]
    with pytest.raises(ValueError, match=r"b\.csv: no column 'text': there are 'body', 'more'"):
        stream_texts(files, "text")
    with pytest.raises(ValueError, match=r"b\.csv: no column 'body.inner': there are 'body', 'more'"):
        stream_texts(files[1:], "body.inner")
    with pytest.raises(ValueError, match=r"a\.jsonl: Python knows no encoding 'utf-7.5'"):
        stream_texts(files, "text", "utf-7.5")


def test_files_of_several_kinds_are_one_stream(tmp_path: Path) -> None:
    (tmp_path / "a [1].jsonl").write_text(GOOD)
    (tmp_path / "b é.csv").write_text("text\nx\n")
    assert [row["text"] for row in stream_texts([str(path) for path in sorted(tmp_path.iterdir())])] == [
        *["good"] * 30,
        "x",
    ]


def test_a_row_of_a_shuffled_stream_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines([{"id": f"q{number}", "text": "" if number == 17 else "t"} for number in range(40)]))
    stream = load_dataset("json", data_files=str(path), split="train", streaming=True).shuffle(seed=1, buffer_size=30)
    place = [row["id"] for row in stream].index("q17")
    assert place != 17
    said = rf"row {place}, answer 1 of 'text' is empty.*this one is {{'id': 'q17', 'text': ''}}"
    with pytest.raises(ValueError, match=said):
        list(join_answers(stream))
