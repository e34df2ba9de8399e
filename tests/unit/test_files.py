"""A learner's own files, of every type, gzipped or not."""

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from clmkit.files import load_local
from clmkit.texts import join_answers

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
