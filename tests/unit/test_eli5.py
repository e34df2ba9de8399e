import csv
import errno
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, List, Value
from datasets.exceptions import DatasetGenerationError
from huggingface_hub.errors import HfHubHTTPError

from clmkit import eli5
from clmkit.eli5 import AUTHORS_FILE, ELI5_FEATURES, load_eli5
from clmkit.files import load_local
from clmkit.hub import download as module
from clmkit.texts import find_text_column, join_answers, split_rows
from clmkit.tracks import HUB_DATA, Track, choose_track

Row = dict[str, Any]


def hub_row(number: int) -> Row:
    """A made-up row in the shape that the Hub serves."""
    return {
        "q_id": f"q{number}",
        "title": f"Why {number}?",
        "selftext": "",
        "category": "Physics",
        "subreddit": "explainlikeimfive",
        "answers": {
            "a_id": [f"a{number}", f"b{number}"],
            "text": [f"Because {number}.", "For another reason."],
            "score": [number, 1],
            "text_urls": [[], ["http://example.org/b"]],
        },
        "title_urls": [],
        "selftext_urls": ["http://example.org/q"],
    }


def authors_row(number: int) -> Row:
    """The same row in the shape of the authors' file, whose columns come in another order."""
    row = hub_row(number)
    row |= {"title_urls": {"url": row["title_urls"]}, "selftext_urls": {"url": row["selftext_urls"]}}
    return dict(reversed(row.items()))


HUB_ROWS = [hub_row(number) for number in range(5)]
COMMIT = "c" * 40
AUTHORS = "the authors' file"
AUTHORS_GZIP = gzip.compress(json.dumps([authors_row(number) for number in range(5)]).encode())


def hub_dataset(rows: list[Row] = HUB_ROWS) -> Dataset:
    return Dataset.from_list(rows, features=ELI5_FEATURES)


def parquet(rows: list[Row] = HUB_ROWS) -> bytes:
    buffer = io.BytesIO()
    hub_dataset(rows).to_parquet(buffer)
    return buffer.getvalue()


class Sources:
    """Attributes:
    folder: Where downloads arrive.
    files: By revision, the files that the Hub has, or an error; and the authors' file by ``AUTHORS``.
    asked: Which of them were asked for, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, bytes] | BaseException] = {
            "main": NO_SUCH,
            "refs/convert/parquet": NO_SUCH,
            AUTHORS: NO_SUCH,
        }
        self.asked: list[str] = []

    def fetch(self, name: str) -> Path:
        self.asked.append(name)
        files = self.files[name]
        if isinstance(files, BaseException):
            raise files
        for path, content in files.items():
            (self.folder / name / COMMIT / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name / COMMIT / path).write_bytes(content)
        return self.folder / name / COMMIT

    def download(self, repo_id: str, patterns: list[str], *, revision: str = "main", **options: object) -> Path:
        assert (repo_id, patterns) == (HUB_DATA, ["*train*.parquet"])
        assert options == {"required": ["*train*.parquet"], "repo_type": "dataset"}
        return self.fetch(revision)

    def get(self, url: str) -> bytes:
        assert url == AUTHORS_FILE
        return (self.fetch(AUTHORS) / "rows.json.gz").read_bytes()


NO_SUCH = ConnectionError("downloading failed: the Hub has no such thing")


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sources:
    """Stand in for the three sources of ELI5; none has anything at first."""
    sources = Sources(tmp_path / "my [cache] 50%")
    monkeypatch.setattr(eli5, "download", sources.download)
    monkeypatch.setattr(module, "_get", sources.get)
    monkeypatch.setattr(module, "PATIENCE", -1)
    monkeypatch.setattr(module.constants, "HF_HOME", str(tmp_path))
    return sources


@pytest.fixture
def full(capsys: pytest.CaptureFixture[str]) -> Track:
    track = replace(choose_track("quick"), name="full", data=HUB_DATA, rows=5)
    capsys.readouterr()
    return track


def test_the_first_source_is_the_hub_repository(
    full: Track, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    sources.files["main"] = {"data/train-0.parquet": parquet()}
    dataset = load_eli5(full)
    assert sources.asked == ["main"]
    assert dataset.to_list() == HUB_ROWS
    assert dataset.features == ELI5_FEATURES
    assert capsys.readouterr().out == f"5 rows from the Hub repository {HUB_DATA}\n"
    assert dataset.info.description.startswith(f"the Hub repository {HUB_DATA}, commit {COMMIT}")


@pytest.mark.parametrize(("rows", "expected"), [(None, 5), (3, 3), (99, 5)])
def test_as_many_rows_are_loaded_as_the_track_says_or_all(
    full: Track, sources: Sources, rows: int | None, expected: int
) -> None:
    sources.files["main"] = {"data/train-0.parquet": parquet()}
    assert load_eli5(replace(full, rows=rows)).to_list() == HUB_ROWS[:expected]


def test_the_rows_of_several_files_come_in_the_files_order_and_another_splits_do_not(
    full: Track, sources: Sources
) -> None:
    sources.files["main"] = {
        "data/train-00001-of-00002.parquet": parquet(HUB_ROWS[3:]),
        "data/train-00000-of-00002.parquet": parquet(HUB_ROWS[:3]),
        "data/validation1-00000-of-00001.parquet": parquet([hub_row(99)]),
    }
    assert load_eli5(replace(full, rows=None)).to_list() == HUB_ROWS
    assert load_eli5(replace(full, rows=4)).to_list() == HUB_ROWS[:4]


def test_other_rows_of_a_later_commit_are_not_taken_from_an_earlier_run(full: Track, sources: Sources) -> None:
    for rows in (HUB_ROWS, HUB_ROWS[::-1]):
        sources.files["main"] = {"data/train-0.parquet": parquet(rows)}
        assert load_eli5(full).to_list() == rows


def test_the_second_source_is_the_converted_revision_and_the_refusal_of_the_first_is_printed(
    full: Track, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    sources.files["refs/convert/parquet"] = {"default/train/0000.parquet": parquet()}
    # The converter names the folder after the split, and the file by a number.
    dataset = load_eli5(full)
    assert dataset.to_list() == HUB_ROWS
    assert sources.asked == ["main", "refs/convert/parquet"]
    assert capsys.readouterr().out.splitlines() == [
        f"Not from the Hub repository {HUB_DATA}: {NO_SUCH}",
        f"5 rows from {HUB_DATA}, revision refs/convert/parquet",
    ]
    assert dataset.info.description.startswith(f"{HUB_DATA}, revision refs/convert/parquet, commit {COMMIT}")


def test_the_third_source_is_the_authors_file_brought_to_the_hubs_schema(
    full: Track, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    sources.files[AUTHORS] = {"rows.json.gz": AUTHORS_GZIP}
    dataset = load_eli5(full)
    assert sources.asked == ["main", "refs/convert/parquet", AUTHORS]
    assert dataset.features == ELI5_FEATURES
    assert dataset.column_names == list(ELI5_FEATURES)
    assert dataset.to_list() == HUB_ROWS
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"Not from {HUB_DATA}, revision refs/convert/parquet: {NO_SUCH}",
        f"5 rows from the authors' file {AUTHORS_FILE}",
    ]
    assert dataset.info.description.startswith(f"the authors' file {AUTHORS_FILE}, read on {date.today()}")


def test_no_source_is_an_error_with_the_three_reasons_and_what_to_do(full: Track, sources: Sources) -> None:
    sources.files["main"] = PermissionError("the Hub wants a login")
    sources.files["refs/convert/parquet"] = ConnectionError("the revision is gone")
    sources.files[AUTHORS] = httpx2.ConnectError("no route")
    with pytest.raises(ConnectionError) as caught:
        load_eli5(full)
    message = str(caught.value)
    for part in ("the Hub wants a login", "the revision is gone", f"reading {AUTHORS_FILE} failed: ConnectError: no"):
        assert part in message
    assert "choose_track('quick')" in message


@pytest.mark.parametrize("content", [b"", b"PAR1 is no Parquet file PAR1", parquet()[:-9]], ids=["0", "text", "cut"])
def test_files_that_cannot_be_read_are_left_for_the_second_source(
    full: Track, sources: Sources, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    sources.files["main"] = {"data/train-0.parquet": content}
    sources.files["refs/convert/parquet"] = {"default/train/0000.parquet": parquet()}
    assert load_eli5(full).to_list() == HUB_ROWS
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"Not from the Hub repository {HUB_DATA}: reading ")
    assert "train-0.parquet failed: " in first


@pytest.mark.parametrize(
    "problem",
    [
        OSError("disk"),
        TimeoutError("slow"),
        HfHubHTTPError("503", response=httpx2.Response(503, request=httpx2.Request("GET", "http://127.0.0.1"))),
        # What the clients let through where a download is dropped; neither is an OSError.
        httpx2.RemoteProtocolError("peer closed connection"),
        httpx2.ConnectError("connection refused"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_whatever_the_network_does_to_the_authors_file_is_said(
    full: Track, sources: Sources, problem: Exception
) -> None:
    sources.files[AUTHORS] = problem
    with pytest.raises(ConnectionError, match=rf"reading {AUTHORS_FILE} failed: .*\. Run this again"):
        load_eli5(full)


def full_disk() -> Exception:
    error = DatasetGenerationError("An error occurred")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("name", "problem"),
    [("main", OSError(errno.ENOSPC, "the disk is full")), (AUTHORS, OSError(errno.ENOSPC, "the disk is full"))],
    ids=["from the Hub", "from the authors"],
)
def test_a_full_disk_is_an_error_at_once_since_the_next_source_would_need_as_much_room(
    full: Track, sources: Sources, name: str, problem: Exception
) -> None:
    sources.files[name] = problem
    with pytest.raises(OSError, match="the disk is full") as caught:
        load_eli5(full)
    assert caught.value.errno == errno.ENOSPC
    assert sources.asked[-1] == name


def test_a_disk_that_is_full_while_rows_are_read_is_said_too(
    full: Track, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(*arguments: object, **options: object) -> Dataset:
        raise full_disk()

    sources.files["main"] = {"data/train-0.parquet": parquet()}
    monkeypatch.setattr(eli5, "load_dataset", load_dataset)
    with pytest.raises(OSError, match="the disk is full"):
        load_eli5(full)
    assert sources.asked == ["main"]


def test_a_hub_that_is_silent_is_not_asked_for_its_second_revision(
    full: Track, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    sources.files["main"] = TimeoutError("timed out")
    sources.files[AUTHORS] = {"rows.json.gz": AUTHORS_GZIP}
    assert len(load_eli5(full)) == 5
    assert sources.asked == ["main", AUTHORS]


def test_the_authors_file_is_asked_for_once(full: Track, sources: Sources) -> None:
    sources.files[AUTHORS] = {"rows.json.gz": AUTHORS_GZIP}
    assert load_eli5(full).to_list() == load_eli5(full).to_list() == HUB_ROWS
    assert sources.asked.count(AUTHORS) == 1


@pytest.mark.parametrize("content", [AUTHORS_GZIP[:-9], b"<html>", b"", AUTHORS_GZIP[:99] + b"x" + AUTHORS_GZIP[100:]])
def test_an_authors_file_that_is_not_whole_is_not_kept(full: Track, sources: Sources, content: bytes) -> None:
    sources.files[AUTHORS] = {"rows.json.gz": content}
    with pytest.raises(ConnectionError, match="what arrived is no whole gzip file"):
        load_eli5(full)
    sources.files[AUTHORS] = {"rows.json.gz": AUTHORS_GZIP}
    assert load_eli5(full).to_list() == HUB_ROWS


@pytest.mark.parametrize("name", ["main", AUTHORS])
def test_a_bug_is_not_taken_for_a_source_that_is_down(full: Track, sources: Sources, name: str) -> None:
    sources.files[name] = TypeError("a bug")
    with pytest.raises(TypeError, match="a bug"):
        load_eli5(full)


def test_a_local_track_loads_its_file_and_says_so(quick: Track, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    dataset = load_eli5(quick)
    assert len(dataset) == 12
    assert dataset.features == ELI5_FEATURES
    assert capsys.readouterr().out == "12 rows from eli5_sample.jsonl\n"


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


def test_splitting_and_joining_keep_where_the_rows_came_from(quick: Track) -> None:
    rows = load_eli5(quick)
    joined = join_answers(split_rows(rows), num_proc=2)
    assert {side.info.description for side in (join_answers(rows), *joined.values())} == {rows.info.description}


def test_load_local_sees_that_a_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for rows in (FLAT, FLAT[:1]):
        path.write_bytes(as_jsonl(rows))
        assert load_local(path).to_list() == rows


@pytest.mark.parametrize("make", [hub_row, authors_row], ids=["hub", "authors"])
def test_load_local_gives_eli5s_columns_the_hubs_types(tmp_path: Path, make: Callable[[int], Row]) -> None:
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(as_json([make(number) for number in range(5)])))
    dataset = load_local(path)
    assert dataset.features == ELI5_FEATURES
    assert dataset.to_list() == HUB_ROWS


def test_load_local_keeps_other_columns_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_jsonl(NESTED))
    assert load_local(path).column_names == ["answers", "id"]


def test_split_rows_holds_out_a_fifth_and_loses_no_row() -> None:
    split = split_rows(Dataset.from_dict({"id": list(range(50))}))
    assert {side: len(rows) for side, rows in split.items()} == {"train": 40, "test": 10}
    assert sorted(split["train"]["id"][:] + split["test"]["id"][:]) == list(range(50))


def test_split_rows_is_the_same_each_time_and_another_with_another_seed() -> None:
    dataset = Dataset.from_dict({"id": list(range(50))})
    first, again, other = (split_rows(dataset, seed=seed)["test"]["id"][:] for seed in (42, 42, 7))
    assert first == again != other
    assert split_rows(dataset)["test"]["id"][:] == first


@pytest.mark.parametrize(("rows", "test_size", "held_out"), [(2, 0.5, 1), (5000, 0.2, 1000), (9, 0.2, 2), (3, 0.7, 2)])
def test_split_rows_rounds_the_share_to_whole_rows(rows: int, test_size: float, held_out: int) -> None:
    assert len(split_rows(Dataset.from_dict({"id": list(range(rows))}), test_size)["test"]) == held_out


@pytest.mark.parametrize("test_size", [0, 1, -0.5, 2, 0.01])
def test_split_rows_refuses_to_leave_a_side_empty(test_size: float) -> None:
    with pytest.raises(ValueError, match=rf"10 rows with test_size={test_size} leave .* both need at least 1"):
        split_rows(Dataset.from_dict({"id": list(range(10))}), test_size)


@pytest.mark.parametrize(
    ("features", "column"),
    [
        (ELI5_FEATURES, "answers.text"),
        (ELI5_FEATURES.flatten(), "answers.text"),
        (Features({"answers.text": List(Value("string")), "text": Value("string")}), "answers.text"),
        (Features({"title": Value("string"), "text": Value("string")}), "text"),
        (Features({"answers": List(Value("string")), "text": Value("string")}), "text"),
    ],
)
def test_find_text_column_prefers_the_answers_nested_or_flattened(features: Features, column: str) -> None:
    assert find_text_column(features) == column


def test_find_text_column_names_the_columns_there_are() -> None:
    with pytest.raises(ValueError, match=r"found 'body', 'id'\. Name yours"):
        find_text_column(Features({"body": Value("string"), "id": Value("int64")}))


def test_join_answers_joins_by_a_space_as_the_guide_does() -> None:
    flat = hub_dataset().flatten()
    joined = join_answers(hub_dataset())
    assert joined["text"][:] == [" ".join(answers) for answers in flat["answers.text"]]
    assert joined.features == Features({"text": Value("string")})
    assert join_answers(flat).to_list() == joined.to_list()


def test_join_answers_takes_a_column_by_name_nested_too() -> None:
    assert join_answers(hub_dataset(), "title")["text"][:2] == ["Why 0?", "Why 1?"]
    assert join_answers(hub_dataset(), "answers.a_id")["text"][:2] == ["a0 b0", "a1 b1"]


def test_join_answers_names_the_columns_where_the_one_asked_for_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no column 'body': there are 'q_id', 'title'.*'answers.text'"):
        join_answers(hub_dataset(), "body")


def test_join_answers_of_a_dataset_dict_gives_one() -> None:
    split = DatasetDict(train=hub_dataset().select([0, 1]), test=hub_dataset().select([2]))
    joined = join_answers(split)
    assert isinstance(joined, DatasetDict)
    assert joined["test"]["text"][:] == ["Because 2. For another reason."]
    assert len(joined["train"]) == 2


def test_join_answers_in_two_processes_gives_the_same() -> None:
    assert join_answers(hub_dataset(), num_proc=2).to_list() == join_answers(hub_dataset()).to_list()


def test_join_answers_takes_large_strings() -> None:
    rows = Dataset.from_dict({"text": ["a", "b"]}, features=Features({"text": Value("large_string")}))
    assert join_answers(rows)["text"][:] == ["a", "b"]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_join_answers_numbers_the_row_that_is_bad(num_proc: int | None) -> None:
    texts = [f"fine {number}" for number in range(1500)]
    texts[1234] = "  "
    with pytest.raises(ValueError, match=r"row 1234, answer 1 of 'text' is empty"):
        join_answers(Dataset.from_dict({"text": texts}), num_proc=num_proc)


def test_a_stream_is_joined_as_stored_rows_are_nested_or_not() -> None:
    stored = Dataset.from_list(HUB_ROWS, features=ELI5_FEATURES)
    texts = join_answers(stored)["text"][:]
    for rows in (stored, stored.flatten()):
        stream = join_answers(rows.to_iterable_dataset())
        assert isinstance(stream, IterableDataset)
        assert stream.column_names == ["text"]
        assert [row["text"] for row in stream] == texts


def test_a_streams_faults_are_numbered_as_those_of_stored_rows() -> None:
    rows = Dataset.from_dict({"text": ["a", " ", "c"]}).to_iterable_dataset()
    with pytest.raises(ValueError, match=r"row 1, answer 1 of 'text' is empty"):
        list(join_answers(rows))
    with pytest.raises(ValueError, match=r"no column 'answer'"):
        list(join_answers(rows, text_column="answer"))
    with pytest.raises(ValueError, match="no rows: 0 texts"):
        join_answers(rows.take(0))


@pytest.mark.parametrize("revision", [None, "v2"])
def test_another_data_set_of_the_hub_is_loaded_by_its_id(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick: Track, revision: str | None
) -> None:
    asked = []

    def open_hub_data(name: str, revision: str | None) -> tuple[Dataset, str]:
        asked.append((name, revision))
        return Dataset.from_dict({"text": ["one", "two", "three"]}), f"{name}, commit 123"

    monkeypatch.setattr(eli5, "open_hub_data", open_hub_data)
    capsys.readouterr()
    rows = load_eli5(replace(quick, data="owner/name", data_revision=revision, rows=2))
    assert rows["text"][:] == ["one", "two"]
    assert rows.info.description == "owner/name, commit 123, the first 2 rows"
    assert capsys.readouterr().out == "2 rows from owner/name\n"
    assert asked == [("owner/name", revision)]


def test_a_revision_of_eli5_is_asked_of_the_hub_alone(monkeypatch: pytest.MonkeyPatch, quick: Track) -> None:
    rows = Dataset.from_dict({"text": ["one"]})
    monkeypatch.setattr(eli5, "open_hub_data", lambda name, revision: (rows, f"{name}, commit {revision}"))
    loaded = load_eli5(replace(quick, data=HUB_DATA, data_revision="v2"))
    assert loaded.info.description == f"{HUB_DATA}, commit v2, the first 1 rows"


def test_several_files_are_joined_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: Track
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{name}1"}}\n{{"text": "{name}2"}}\n')
    capsys.readouterr()
    rows = load_eli5(replace(quick, data=(str(tmp_path / "b.jsonl"), str(tmp_path / "a.jsonl")), rows=3))
    assert rows["text"][:] == ["b1", "b2", "a1"]
    assert rows.info.description.startswith("2 files, b.jsonl to a.jsonl, 60 bytes, sha256 ")
    assert capsys.readouterr().out == "3 rows from 2 files\n"
