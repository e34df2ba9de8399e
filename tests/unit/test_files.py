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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, Value
from pyarrow import parquet

from clmkit import files
from clmkit.conversations import as_conversations
from clmkit.eli5 import load_eli5
from clmkit.files import describe_files, load_files, load_local
from clmkit.scale.text_files import stream_texts
from clmkit.texts import join_answers, split_rows
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
        {"data": {"train": ROWS}},
        {"train": ROWS[:2], "test": ROWS[2:]},
        {"text": TEXTS, "id": [1, 2, 3]},
        {"text": {"0": "One.", "1": "Two.", "2": "Three."}},
        {"columns": ["id", "text"], "index": [0, 1, 2], "data": [[n, text] for n, text in enumerate(TEXTS)]},
        {str(n): {"id": n, "text": text} for n, text in enumerate(TEXTS)},
        {f"q{n}": {"answers": {"text": [text]}} for n, text in enumerate(TEXTS)},
        dict(enumerate(TEXTS)),
        TEXTS,
        [{"answers": {"text": [text]}} for text in TEXTS],
        [{"answers": [{"text": text, "score": 1}]} for text in TEXTS],
        [{"messages": [{"role": "user", "content": text}]} for text in TEXTS],
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_rows_are_found_where_people_put_them(tmp_path: Path, whole: object, indent: int | None) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(whole, indent=indent))
    assert list(join_answers(load_local(path))["text"]) == TEXTS


@pytest.mark.parametrize("between", ["\n", "\r", ",\n", "\n\n", ""])
@pytest.mark.parametrize("indent", [None, 2])
def test_objects_may_stand_one_after_another(tmp_path: Path, between: str, indent: int | None) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(between.join(json.dumps(row, indent=indent) for row in ROWS).encode())
    assert list(join_answers(load_local(path))["text"]) == TEXTS


def test_a_text_deep_in_the_rows_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    parts = [{"context": "One.", "more": 1}, {"context": "Two.", "more": "x"}]
    for whole, word in (
        ({"data": [{"title": "A", "paragraphs": parts}]}, "paragraphs.context"),
        ([{"a": {"paragraphs": parts}}], "a.paragraphs.context"),
        ([{"a": [{"b": {"context": "One."}}, {"b": {"context": "Two."}}]}], "a.b.context"),
    ):
        path.write_text(json.dumps(whole))
        assert list(join_answers(load_local(path, text_column=word), word)["text"]) == ["One. Two."]
        assert [row["text"] for row in stream_texts([str(path)], word)] == ["One. Two."]


def test_keys_that_are_names_are_no_columns_and_a_sentence_names_twenty(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    rows = [{"title": f"Chat {n}.", "map": {f"id{n}-{m}": {"of": {"a": m}} for m in range(200)}} for n in range(20)]
    path.write_text(json.dumps(rows))
    loaded = load_local(path, text_column="title")
    assert loaded.features["map"] == Value("string")
    assert json.loads(loaded["map"][3]) == rows[3]["map"]
    path.write_text(json.dumps([{f"c{n}": "x" for n in range(500)}] * 2))
    with pytest.raises(ValueError, match=r"'c19' and 480 more\. Name yours: text_column='c0', or .*and 479 more$"):
        join_answers(load_local(path))


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


PARTS = [{"type": "text", "text": "One."}]
LATER = {"messages": [{"role": "user", "content": PARTS}, {"role": "assistant", "content": "Two."}]}


@pytest.mark.parametrize("first", [{"messages": None}, {"messages": []}, {"id": 1}])
def test_a_first_row_without_text_hides_no_column(tmp_path: Path, first: Row) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(as_jsonl([first, LATER]))
    rows = load_local(path)
    assert as_conversations(rows)["messages"][0][1]["content"] == "Two."
    assert join_answers(rows.select([1]))["text"][:] == ["One. Two."]


def test_texts_and_lists_of_texts_are_joined_as_in_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_jsonl([{"text": "a"}, {"text": ["b", "c"]}]))
    streamed = [row["text"] for row in stream_texts([str(path)])]
    assert join_answers(load_local(path))["text"][:] == streamed == ["a", "b c"]


def test_a_nought_beside_the_text_stays(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(as_jsonl([{"messages": [{"role": "user", "content": PARTS, "weight": 0, "tool_calls": []}]}]))
    (message,) = load_local(path)[0]["messages"]
    assert (message["weight"], message["tool_calls"]) == ("0", None)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_csv_file_as_a_spreadsheet_writes_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes('id,text\r\n1,"It\u2019s ""dry"",\nhere."\r\n2,Second; answer\r\n'.encode(encoding))
    assert list(load_local(path)["text"]) == ['It\u2019s "dry",\nhere.', "Second; answer"]
    assert list(load_local(path, encoding=encoding.removesuffix("-sig"))["text"]) == list(load_local(path)["text"])
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
    with pytest.raises(ValueError, match=rf"^{path}: not a whole {packed} file: "):
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", 'id;text\n1;One, two.\n2;"Three; four."\n'),
        ("rows.csv", '\n\r\nid;text\n1;One, two.\n2;"Three; four."\n'),
        ("rows.csv", 'sep=;\r\nid;text\r\n1;One, two.\r\n2;"Three; four."\r\n'),
        ("rows.csv", '"id"\t"text"\n1\tOne, two.\n2\tThree; four.\n'),
        ("rows.tsv", 'id,text\n1,"One, two."\n2,Three; four.\n'),
        ("rows.csv", 'a;b;c,id,text\n,1,"One, two."\n,2,Three; four.\n'),
    ],
)
def test_the_header_shows_what_separates_columns(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert join_answers(load_local(path))["text"][:] == ["One, two.", "Three; four."]


@pytest.mark.parametrize(
    ("content", "line", "fields"), [("a;text\n1;x\n\n2\n", 4, 1), ("sep=;\na;text\n1;x;y\n", 3, 3)]
)
def test_a_row_with_another_number_of_fields_than_such_a_header_is_named(
    tmp_path: Path, content: str, line: int, fields: int
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"rows\.csv, line {line}: {fields} fields, and the header names 2"):
        load_local(path)


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


def write_parquet(path: Path, **columns: pa.Array) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


STRINGS = pa.array(TEXTS)
MAPS = pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64()))
ODD_COLUMNS = {
    "map": MAPS,
    "list of structs of maps": pa.ListArray.from_arrays([0, 1, 2, 3], pa.StructArray.from_arrays([MAPS], ["of"])),
    "duration": pa.array([1, 2, None], pa.duration("ns")),
    "fixed binary": pa.array([b"0" * 16] * 3, pa.binary(16)),
    "time": pa.array([1, 2, 3], pa.time64("ns")),
}
if hasattr(pa, "uuid"):
    ODD_COLUMNS["uuid"] = pa.array([b"0" * 16] * 3, pa.uuid())


@pytest.mark.parametrize("odd", ODD_COLUMNS)
def test_no_type_of_a_column_that_nobody_needs_stops_a_parquet_file(tmp_path: Path, odd: str) -> None:
    loaded = load_local(write_parquet(tmp_path / "odd.parquet", text=STRINGS, odd=ODD_COLUMNS[odd]))
    assert loaded.column_names == ["text", "odd"]
    assert len(loaded.to_list()) == 3  # can be looked at
    assert list(join_answers(loaded)["text"]) == TEXTS


def test_a_map_is_kept_as_text_and_what_is_no_text_at_all_is_left_out_with_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = pa.array([b"\xff", b"a", b"b"]).view(pa.string())
    path = write_parquet(tmp_path / "some.parquet", text=STRINGS, map=MAPS, broken=broken)
    for _ in range(2):  # the second time from what was kept
        assert load_local(path)["map"][:] == ['[["a", 1]]', "[]", None]
        assert capsys.readouterr().out == "some.parquet: left out what can't be read: broken\n"
    with pytest.raises(ValueError, match=r"some\.parquet, row 0: what 'broken' holds is no UTF-8 text"):
        load_local(path, text_column="broken")


TEXTS_BY_TYPE = {
    "large": STRINGS.cast(pa.large_string()),
    "dictionary": STRINGS.dictionary_encode(),
    "bytes": STRINGS.cast(pa.binary()),
    "large lists": pa.array([[text] for text in TEXTS], pa.large_list(pa.large_string())),
    "lists of dictionary": pa.array([[text] for text in TEXTS], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "lists of one": pa.array([[text] for text in TEXTS], pa.list_(pa.string(), 1)),
    "view": pa.array(TEXTS, pa.string_view()),
    "lists of views": pa.array([[text] for text in TEXTS], pa.list_(pa.string_view())),
    "view of lists": pa.array([[text] for text in TEXTS], pa.list_view(pa.string())),
}


@pytest.mark.parametrize("kind", TEXTS_BY_TYPE)
def test_every_kind_of_string_and_list_that_arrow_has_is_text(tmp_path: Path, kind: str) -> None:
    try:
        path = write_parquet(tmp_path / "mine.parquet", text=TEXTS_BY_TYPE[kind])
    except pa.ArrowNotImplementedError:
        pytest.skip("this pyarrow does not write it")
    assert list(join_answers(load_local(path))["text"]) == TEXTS


@pytest.mark.parametrize("kind", ["Image", "Audio", "Hologram"])
def test_what_another_library_noted_of_a_column_is_not_needed(tmp_path: Path, kind: str) -> None:
    note = {"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "odd": {"_type": kind}}}}
    odd = pa.array([{"bytes": b"none", "path": None}] * 3)
    table = pa.table({"text": STRINGS, "odd": odd}).replace_schema_metadata({"huggingface": json.dumps(note)})
    parquet.write_table(table, tmp_path / "noted.parquet")
    loaded = load_local(tmp_path / "noted.parquet")
    assert loaded[0] == {"text": "One.", "odd": {"bytes": b"none", "path": None}}  # nothing was decoded


def test_columns_of_one_name_are_told_apart_unless_it_is_the_texts(tmp_path: Path) -> None:
    parquet.write_table(pa.table([STRINGS] * 3, names=["text", "id", "id"]), tmp_path / "two.parquet")
    (tmp_path / "two.csv").write_text("text,id,id,\nOne.,1,2,3\n")
    assert load_local(tmp_path / "two.parquet").column_names == ["text", "id", "id.1"]
    assert load_local(tmp_path / "two.csv").column_names == ["text", "id", "id.1", "Unnamed: 3"]
    parquet.write_table(pa.table([STRINGS] * 2, names=["text", "text"]), tmp_path / "two.parquet")
    (tmp_path / "two.csv").write_text("text,text\nOne.,1\n")
    for name in ("two.parquet", "two.csv"):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}.*: 2 columns have the name 'text': rename all but"):
            load_local(tmp_path / name)


@pytest.mark.parametrize("depth", [600, 1200, 100_000])
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_json_that_is_nested_too_deep_is_refused_by_line_and_ends_no_process(
    tmp_path: Path, kind: str, depth: int
) -> None:
    path = tmp_path / f"deep.{kind}"
    rows = ['{"text": "One. [[["}', f'{{"text": "Two.", "deep": {"[" * depth}{"]" * depth}}}']
    path.write_text("\n".join(rows) if kind == "jsonl" else f"[{rows[0]},\n{rows[1]}]")
    with pytest.raises(ValueError, match=rf"deep\.{kind}, line 2: more than 500 lists and objects within each other"):
        load_local(path)


def test_json_that_is_nested_line_by_line_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text('{"text": "One."}\n' + "[\n" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.jsonl, line 2: malformed JSON"):
        load_local(path)


def test_a_column_that_is_nested_deep_and_a_number_that_is_none_are_kept_as_text(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    deep, digits = "[" * 300 + "]" * 300, "9" * 5000
    rows = [f'{{"text": "One.", "deep": {deep}, "number": {digits}}}', '{"text": "[[", "deep": [], "number": 1}']
    path.write_text("\n".join(rows))
    assert load_local(path).to_list() == [
        {"text": "One.", "deep": deep, "number": digits},
        {"text": "[[", "deep": "[]", "number": "1"},
    ]


def test_half_a_character_is_refused_in_a_text_by_line_and_kept_as_its_escape_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text('{"text": "One \\ud83d\\ude00.", "x": "a"}\n{"text": "Two.", "x": {"\\udc00": 1}}\n')
    assert load_local(path).to_list()[0]["text"] == "One \U0001f600."
    assert load_local(path)["x"][1] == '{"\\udc00": 1}'
    for text in ("Half \\ud83d.", "Half \\ude00."):
        path.write_text(f'{{"text": "One.", "x": 1}}\n{{"text": "{text}", "x": "b"}}\n')
        with pytest.raises(ValueError, match=r"half\.jsonl, line 2, row 1: 'text' holds half of a character"):
            load_local(path)


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("encoding", ["utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf16_and_utf32_are_read_by_their_mark_or_are_to_be_named(tmp_path: Path, kind: str, encoding: str) -> None:
    path = tmp_path / f"rows.{kind}"
    path.write_bytes({"json": '[{"text": "é"}]', "jsonl": '{"text": "é"}\n', "csv": "text\né\n"}[kind].encode(encoding))
    if encoding != "utf-32":
        said = rf"rows\.{kind}, line 1: byte [12] is 0x00, as in {encoding.upper()}, .*: encoding='{encoding}'"
        with pytest.raises(ValueError, match=said):
            load_local(path)
        assert load_local(path, encoding=encoding)["text"][:] == ["é"]
    else:
        assert load_local(path)["text"][:] == ["é"]


def test_a_codec_that_is_no_encoding_of_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text\nhere\n")
    with pytest.raises(ValueError, match="Python knows no encoding 'rot13'"):
        load_local(path, encoding="rot13")


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("text,id\rOne.,1\rTwo.,2\r", ["One.", "Two."]),
        ("\n\ntext,id\n\nOne.,1\n\n\nTwo.,2", ["One.", "Two."]),
        ("text,id\nOne.\nTwo.,2,,\n", ["One.", "Two."]),
        ("id, text \n1,One.\n", ["One."]),
        ("text,id\nOn\0e.,1\n", ["On\0e."]),
        ('text,id\n5" pipe,1\n', ['5" pipe']),
        ('"a; b",text\n"c; d","One; two"\n', ["One; two"]),
        ("text,id\n" + "x" * 200_000 + ",1\n", ["x" * 200_000]),
    ],
    ids=["CR", "blank lines", "short and long rows", "spaces", "NUL", "inches", "semicolons", "a long cell"],
)
def test_csv_as_people_have_it(tmp_path: Path, content: str, texts: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode())
    loaded = load_local(path)
    assert list(loaded["text"]) == texts
    assert all(cell is None or isinstance(cell, str) for row in loaded for cell in row.values())
    assert csv.field_size_limit() == 131_072  # as it was


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('text,id\n"One,1\nTwo,2\n', "line 2: a quotation mark opens a text here, and none closes it"),
        ('text,id\n"a\nb",1\n"He said "no" twice",2\n', r'line 4: in a text .* a quotation mark .* twice \(""\)'),
    ],
)
def test_quotation_marks_that_are_not_in_pairs_are_refused_by_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(ValueError, match=rf"rows\.csv, {said}"):
        load_local(tmp_path / "rows.csv")


def test_files_of_other_types_are_read_together_where_their_text_is_alike(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "One.", "id": "x", "score": 1}\n{"text": "Two.", "id": "y", "score": 2}\n'
    )
    write_parquet(tmp_path / "b.parquet", text=pa.array(["Three."], pa.large_string()), id=pa.array([1]), map=MAPS[:1])
    (tmp_path / "c.csv").write_text("score,text\n9,Four.\n")
    loaded = load_files([str(tmp_path / name) for name in ("a.jsonl", "b.parquet", "c.csv")])
    assert list(join_answers(loaded)["text"]) == ["One.", "Two.", "Three.", "Four."]
    assert loaded["id"][:] == ["x", "y", "1", None]
    assert loaded["score"][:] == ["1", "2", None, "9"]
    (tmp_path / "d.csv").write_text("body\nFive.\n")
    with pytest.raises(ValueError, match=r"d\.csv: no text column.*text_column='body'"):
        load_files([str(tmp_path / name) for name in ("a.jsonl", "d.csv")])
    (tmp_path / "e.jsonl").write_text('{"text": ["Five."]}\n{"text": ["Six."]}\n')
    with pytest.raises(ValueError, match=r"column 'text' holds string in .*a\.jsonl, and list.* in .*e\.jsonl"):
        load_files([str(tmp_path / name) for name in ("a.jsonl", "e.jsonl")])


def test_an_object_without_keys_within_another_is_no_hindrance_beside_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n{"text": "Two.", "id": {"a": null, "b": {}}}\n')
    (tmp_path / "b.json").write_text('[{"text": "Three."}]')
    loaded = load_files([str(tmp_path / name) for name in ("a.jsonl", "b.json")])
    assert list(join_answers(loaded)["text"]) == ["One.", "Two.", "Three."]
    assert loaded["id"][:] == [None, {"a": None, "b": {}}, None]


def test_a_bad_row_is_named_by_its_file_and_its_row_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n' * 20)
    (tmp_path / "b.jsonl").write_text('{"text": "Two."}\n' * 7 + '{"text": null}\n' + '{"text": "Two."}\n' * 7)
    rows = load_files([str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")])
    said = r"b\.jsonl, row 7, answer 1 of 'text' is null"
    for some in (rows, rows.shuffle(seed=1), split_rows(rows), rows.filter(lambda row: row["text"] != "One.")):
        with pytest.raises(ValueError, match=said):
            join_answers(some)
    # A part of the table, whose rows have other numbers: of them it can't be told.
    with pytest.raises(ValueError, match=r"b\.jsonl: row 2 of the 10 that were given, answer 1 of 'text' is null"):
        join_answers(rows.select(range(25, 35)))
    assert len(load_files([str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")], 22)) == 22


def test_the_word_that_reads_a_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    message = {"role": "user", "content": "Why?"}
    for row, word in (({"chat": [message]}, "chat.content"), ({"paragraphs": ["One."]}, "paragraphs")):
        path.write_text(json.dumps([row, row]))
        with pytest.raises(ValueError, match=rf"no text column.*Name yours: text_column='{word}'"):
            join_answers(load_local(path))
        assert len(join_answers(load_local(path, text_column=word), word)) == 2
    path.write_text(json.dumps({"meta": {"version": 1}, "items": ROWS}))
    with pytest.raises(ValueError, match=r"not a list of rows.*or name their text: text_column='items\.text'"):
        load_local(path)
    assert list(join_answers(load_local(path, text_column="items.text"), "items.text")["text"]) == TEXTS


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_text_of_messages_is_read_where_it_is_plain(tmp_path: Path, kind: str) -> None:
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "arguments": '{"a": 1}'}]}
    rows = [
        {"messages": [{"role": "user", "content": parts}, call]},
        {"messages": [{"role": "user", "content": parts}]},
    ]
    path = tmp_path / f"chat.{kind}"
    path.write_bytes(WRITERS[f".{kind}"](rows))
    assert list(join_answers(load_local(path))["text"]) == ["One. Two."] * 2


def test_contents_that_are_now_text_and_now_parts_are_read_beside_arguments_of_any_type(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"arguments": {"a": 1}}, {"arguments": "b"}]}
    parts = {"role": "user", "content": [{"type": "text", "text": "One."}]}
    said, nothing = {"role": "assistant", "content": "Two.", "tool_calls": []}, {"role": "user", "content": None}
    path = tmp_path / "chat.jsonl"
    path.write_bytes(as_jsonl([{"messages": [parts, call, said]}, {"messages": [said, parts]}]))
    assert list(join_answers(load_local(path))["text"]) == ["One. Two.", "Two. One."]
    path.write_bytes(as_jsonl([{"messages": [parts, said]}, {"messages": [nothing, said]}]))
    with pytest.raises(ValueError, match=r"chat\.jsonl, row 1, answer 1 of 'messages\.content' is null"):
        join_answers(load_local(path))
    image = {"role": "user", "content": [{"type": "image", "text": "none"}]}
    path.write_bytes(as_jsonl([{"messages": [image]}, {"messages": [parts]}]))
    with pytest.raises(ValueError, match=r"chat\.jsonl, line 1, row 0: 'messages' holds a part of the type 'image'"):
        load_local(path)


@pytest.mark.parametrize("text", ["0", "true", "null", '"a"', "[1]"])
def test_a_text_that_looks_like_json_is_that_text_beside_parts_too(text: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    parts = [{"type": "text", "text": text}]
    path.write_bytes(as_jsonl([{"messages": [{"role": "user", "content": content}]} for content in (text, parts)]))
    assert list(join_answers(load_local(path))["text"]) == [text, text]


def test_what_describes_files_depends_on_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    content = bytearray(b"x" * (2**20 + 2**22))
    path.write_bytes(content)
    before = describe_files([str(path)])
    content[2**21] = 0
    path.write_bytes(content)
    assert describe_files([str(path)]) != before
    # Of very large files that are streamed, samples are read, and that is said.
    monkeypatch.setattr(files, "WHOLE", 2**20)
    monkeypatch.setattr(files, "SAMPLE", 2**10)
    sampled = describe_files([str(path)])
    assert sampled.endswith(" of samples")
    content[-1] = 0
    path.write_bytes(content)
    assert describe_files([str(path)]) != sampled
    assert not describe_files([str(path)], whole=True).endswith("samples")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", True)]
)
def test_a_packed_file_whose_name_does_not_say_so_is_read(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(pack(WRITERS[suffix](FLAT)))
    texts = [row["text"] for row in FLAT]
    assert join_answers(load_local(path))["text"][:] == texts
    assert [row["text"] for row in stream_texts([str(path)])] == texts


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "is Git LFS's pointer to the file"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", "is a zip archive, as .xlsx files are too"),
        (b"\n<!DOCTYPE html>\n<html><head>", "is a page in HTML, not the data"),
    ],
)
def test_what_stands_in_the_place_of_data_is_named(tmp_path: Path, suffix: str, content: bytes, said: str) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content)
    for read in (load_local, lambda path: stream_texts([str(path)])):
        with pytest.raises(ValueError, match=re.escape(f"{path}: {said}")):
            read(path)
