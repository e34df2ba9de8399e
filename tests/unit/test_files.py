"""A learner's own files, of every type, packed or not."""

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset
from pyarrow import parquet

from clmkit.eli5 import load_eli5
from clmkit.files import load_local
from clmkit.texts import join_answers
from clmkit.tracks import choose_track

Row = dict[str, Any]


def as_json(rows: list[Row]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def as_jsonl(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: list[Row]) -> bytes:
    buffer = io.BytesIO()
    Dataset.from_list(rows).to_parquet(buffer)
    return buffer.getvalue()


WRITERS = {".json": as_json, ".jsonl": as_jsonl, ".ndjson": as_jsonl, ".csv": as_csv, ".parquet": as_parquet}
FLAT = [{"text": "السماء زرقاء 🌈"}, {"text": 'He said "no", twice.'}, {"text": "Three\nlines\nlong."}]
NESTED = [{"answers": {"text": ["One.", "Two."]}, "id": 1}, {"answers": {"text": ["Three."]}, "id": 2}]


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("suffix", WRITERS)
def test_load_local_reads_every_type_gzipped_or_not(tmp_path: Path, suffix: str, gz: str) -> None:
    content = WRITERS[suffix](FLAT)
    path = tmp_path / f"my.rows{suffix}{gz}"
    path.write_bytes(gzip.compress(content) if gz else content)
    assert load_local(path).to_list() == FLAT
    assert join_answers(load_local(str(path))).to_list() == FLAT


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_load_local_reads_nested_answers(tmp_path: Path, suffix: str, gz: str) -> None:
    content = WRITERS[suffix](NESTED)
    path = tmp_path / f"nested{suffix}{gz}"
    path.write_bytes(gzip.compress(content) if gz else content)
    assert load_local(path).to_list() == NESTED
    assert join_answers(load_local(path))["text"][:] == ["One. Two.", "Three."]


def test_load_local_does_not_mind_the_case_of_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "ROWS.JSONL"
    path.write_bytes(as_jsonl(FLAT))
    assert load_local(path).to_list() == FLAT


@pytest.mark.parametrize("name", ["my rows [1].jsonl", "50%-*.jsonl", "سماء.jsonl"])
def test_load_local_takes_the_name_of_the_file_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(as_jsonl(FLAT))
    assert load_local(tmp_path / name).to_list() == FLAT


def test_load_local_keeps_the_first_rows_and_no_more_than_there_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_jsonl(FLAT))
    assert load_local(path, 2).to_list() == FLAT[:2]
    assert load_local(path, 99).to_list() == FLAT


def test_load_local_keeps_where_the_rows_came_from(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_jsonl(FLAT))
    sha256 = hashlib.sha256(as_jsonl(FLAT)).hexdigest()
    assert load_local(path, 2).info.description.startswith(f"rows.jsonl, sha256 {sha256}")


def test_load_local_sees_that_a_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for rows in (FLAT, FLAT[:1]):
        path.write_bytes(as_jsonl(rows))
        assert load_local(path).to_list() == rows


def test_load_local_keeps_other_columns_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_jsonl(NESTED))
    assert load_local(path).column_names == ["answers", "id"]


@pytest.mark.parametrize("text", ["007", "2026-01-01", "true", "NA", "null", "1e5"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, suffix: str, text: str) -> None:
    rows = [text] * 3
    path = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        path.write_text("id,text\n" + "".join(f"{number},{row}\n" for number, row in enumerate(rows)))
    else:
        path.write_text("".join(json.dumps({"id": number, "text": row}) + "\n" for number, row in enumerate(rows)))
    assert list(join_answers(load_local(path))["text"]) == rows


def test_a_column_that_nobody_needs_stops_no_load(tmp_path: Path) -> None:
    odd: list[object] = [1, "one", None, {"a": 1}, [2], True, 2.5]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"Row {n}.", "odd": value}) + "\n" for n, value in enumerate(odd)))
    loaded = load_local(path)
    assert list(loaded["text"]) == [f"Row {n}." for n in range(len(odd))]
    assert set(loaded.column_names) == {"text", "odd"}
    late = tmp_path / "late.jsonl"
    late.write_text('{"text": "One."}\n{"text": "Two.", "late": {"deep": []}}\n{"text": "Three.", "late": "x"}\n')
    assert list(join_answers(load_local(late))["text"]) == ["One.", "Two.", "Three."]
    table = tmp_path / "rows.csv"
    table.write_text("text,code\n" + "".join(f"Row {n}.,{n}\n" for n in range(3000)) + "Last.,A-17\n")
    assert load_local(table)[3000] == {"text": "Last.", "code": "A-17"}


TEXTS = ["One.", "Two.", "Three."]
ROWS = [{"text": text} for text in TEXTS]


@pytest.mark.parametrize(
    "whole",
    [
        ROWS,
        {"data": ROWS, "version": "1.0"},
        {"train": ROWS[:2], "test": ROWS[2:]},
        {"text": TEXTS, "id": [1, 2, 3]},
        {"text": {"0": "One.", "1": "Two.", "2": "Three."}},
        [{"answers": {"text": [text]}} for text in TEXTS],
        [{"answers": [{"text": text, "score": 1}]} for text in TEXTS],
        [{"messages": [{"role": "user", "content": text}]} for text in TEXTS],
    ],
    ids=["list", "data", "splits", "columns", "pandas", "answers", "list of answers", "messages"],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_rows_are_found_where_people_put_them(tmp_path: Path, whole: object, indent: int | None) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(whole, indent=indent))
    assert list(join_answers(load_local(path))["text"]) == TEXTS


def test_an_object_of_another_shape_is_described(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"meta": {"a": 1}, "items": [1, 2]}))
    with pytest.raises(ValueError, match=r"one JSON object \('meta': dict, 'items': list\), not a list of rows"):
        load_local(path)


def test_a_file_in_the_place_of_another_is_read_anew_whatever_its_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for text in ("Old.", "New."):
        path.write_text(json.dumps({"text": text}) + "\n")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert load_local(path)["text"][0] == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_csv_file_as_a_spreadsheet_writes_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes('id,text\r\n1,"It\u2019s ""dry"",\nhere."\r\n2,Second; answer\r\n'.encode(encoding))
    assert list(load_local(path)["text"]) == ['It\u2019s "dry",\nhere.', "Second; answer"]
    path.write_bytes("id,text\r\n1,First\r\n2,It\u2019s\r\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"rows.csv, line 3: the byte 0x92 is not UTF-8 text: save the file"):
        load_local(path)


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"text": "One.", "tags": ["a", "b"], "more": {"deep": 1}}, ["One."]),
        ({"text": "One.", "data": [{"id": 1}, {"id": 2}]}, ["One."]),
        ({"answers": {"text": ["One.", "Two."]}, "links": []}, ["One. Two."]),
        ({"messages": [{"role": "user", "content": "One."}, {"role": "assistant", "content": "Two."}]}, ["One. Two."]),
    ],
)
def test_a_file_of_one_row_is_one_row(tmp_path: Path, row: dict[str, object], texts: list[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    assert list(join_answers(load_local(path))["text"]) == texts


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
PACKERS["zst"] = lambda content: pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_packed_file_is_unpacked_whatever_packed_it(tmp_path: Path, kind: str, packed: str) -> None:
    plain = tmp_path / f"rows.{kind}"
    table = Dataset.from_list(ROWS)
    {"jsonl": table.to_json, "csv": table.to_csv, "parquet": table.to_parquet}[kind](plain)
    path = tmp_path / f"rows.{kind}.{packed}"
    path.write_bytes(PACKERS[packed](plain.read_bytes()))
    assert list(load_local(path)["text"]) == TEXTS
    path.write_bytes(PACKERS[packed](plain.read_bytes())[:-9])
    with pytest.raises(ValueError, match=rf"^{path}: "):
        load_local(path)


@pytest.mark.parametrize("packed", PACKERS)
def test_the_line_of_a_packed_file_is_that_of_the_file_in_it(tmp_path: Path, packed: str) -> None:
    path = tmp_path / f"rows.jsonl.{packed}"
    path.write_bytes(PACKERS[packed](b'{"text": "One."}\n{"text": Two}\n'))
    with pytest.raises(ValueError, match=rf"^{path}, line 2: malformed JSON"):
        load_local(path)


def write_table(path: Path, separator: str) -> None:
    lines = [f"id{separator}text", *(f'{number}{separator}"{text}"' for number, text in enumerate(TEXTS))]
    path.write_text("\n".join(lines))


def test_columns_are_separated_by_tabs_in_a_tsv_file(tmp_path: Path) -> None:
    for name in ("rows.tsv", "ROWS.TSV", "a.csv.tsv"):
        write_table(tmp_path / name, "\t")
        assert list(load_local(tmp_path / name)["text"]) == TEXTS
    write_table(tmp_path / "a.tsv.csv", ",")
    assert list(load_local(tmp_path / "a.tsv.csv")["text"]) == TEXTS


@pytest.mark.parametrize(
    ("text", "line", "fields"),
    [
        ("id,text\n1,Hello, world\n2,Bye, you\n", 2, 3),
        ("id,text\n1,Hello\n2,Bye, you\n", 3, 3),
        ('id,text\n1,"two\nlines"\n2,Bye, you\n', 4, 3),
        ("text\nHello, world\n", 2, 2),
    ],
)
def test_a_comma_in_a_text_without_quotation_marks_is_found_and_nothing_is_lost(
    tmp_path: Path, text: str, line: int, fields: int
) -> None:
    path = tmp_path / "texts.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"texts\.csv, line {line}: {fields} fields, and the header names \d"):
        load_local(path)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_named(tmp_path: Path, separator: str) -> None:
    write_table(tmp_path / "rows.csv", separator)
    said = f"rows.csv, line 1: the columns are separated by {separator!r}, not by ',': save the file with commas"
    with pytest.raises(ValueError, match=re.escape(said)):
        load_local(tmp_path / "rows.csv")


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("encoding", ["cp1252", "shift_jis", "utf-16-be"])
def test_a_file_in_another_encoding_is_read_by_its_name(tmp_path: Path, kind: str, encoding: str) -> None:
    texts = ["\u65e5\u672c\u8a9e"] if encoding == "shift_jis" else ["It\u00e9s \u00a0 here", "\u00fcber"]
    rows = [{"text": text} for text in texts]
    content = {
        "json": json.dumps(rows, ensure_ascii=False),
        "jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "csv": "text\n" + "\n".join(texts),
    }[kind]
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(content.encode(encoding))
    assert list(load_local(path, encoding=encoding)["text"]) == texts
    if encoding != "utf-16-be":
        with pytest.raises(ValueError, match=r"is not UTF-8 text.*encoding='cp1252', for example"):
            load_local(path)


def test_an_encoding_that_python_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text\nhere\n")
    with pytest.raises(ValueError, match=r"mine\.csv: Python knows no encoding 'utf-7.5': 'cp1252' and"):
        load_local(path, encoding="utf-7.5")


def test_an_encoding_that_a_file_is_not_in_is_not_called_utf8(tmp_path: Path) -> None:
    for name, content in {"mine.csv": "text\nété\n", "mine.jsonl": '{"text": "été"}\n'}.items():
        path = tmp_path / name
        path.write_bytes(content.encode("cp1252"))
        with pytest.raises(ValueError, match=rf"{name}, line \d: the byte 0x.. is no text in ascii \(ordinal"):
            load_local(path, encoding="ascii")


def test_the_encoding_of_a_parquet_file_is_not_to_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    parquet.write_table(pa.table({"text": ["here"]}), path)
    with pytest.raises(ValueError, match=r"mine\.parquet: the text of a Parquet file is UTF-8 always"):
        load_local(path, encoding="cp1252")


def test_a_track_reads_all_its_files_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_bytes(f"text\nété {name}\n".encode("cp1252"))
    track = choose_track("quick", data=str(tmp_path / "*.csv"), encoding="cp1252")
    assert list(load_eli5(track)["text"]) == ["été a", "été b"]
    with pytest.raises(ValueError, match="encoding='cp1252' is for local JSON and CSV files"):
        choose_track("quick", encoding="cp1252")


def test_the_value_that_is_named_is_the_odd_one_and_not_a_number_among_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    rows = [{"answers": {"text": ["a"], "score": [1]}}, {"answers": {"text": ["b", 3], "score": [2.5]}}]
    path.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"row 1.*answers\.text.*must be a string"):
        join_answers(load_local(path))
    rows[1]["answers"] = {"text": ["b"], "score": ["many"]}
    path.write_text(json.dumps({"data": rows}))
    assert list(join_answers(load_local(path))["text"]) == ["a", "b"]
