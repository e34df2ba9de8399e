"""ELI5 from its three sources, none of which is asked here, and a learner's own file in its place."""

import errno
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError
from huggingface_hub.errors import HfHubHTTPError

from clmkit import eli5
from clmkit.eli5 import AUTHORS_FILE, ELI5_FEATURES, load_eli5
from clmkit.hub import download as module
from clmkit.tracks import HUB_DATA, Track, choose_track
from tests.data import HUB_ROWS, Row, hub_dataset, hub_row
from tests.fake_hub import httpx


def authors_row(number: int) -> Row:
    """The same row in the shape of the authors' file, whose columns come in another order."""
    row = hub_row(number)
    row |= {"title_urls": {"url": row["title_urls"]}, "selftext_urls": {"url": row["selftext_urls"]}}
    return dict(reversed(row.items()))


COMMIT = "c" * 40
AUTHORS = "the authors' file"
AUTHORS_GZIP = gzip.compress(json.dumps([authors_row(number) for number in range(5)]).encode())


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

    def answer(self, url: str, timeout: float) -> SimpleNamespace:
        assert url == AUTHORS_FILE
        content = (self.fetch(AUTHORS) / "rows.json.gz").read_bytes()
        return SimpleNamespace(content=content, raise_for_status=lambda: None)


NO_SUCH = ConnectionError("downloading failed: the Hub has no such thing")


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sources:
    """Stand in for the three sources of ELI5; none has anything at first."""
    sources = Sources(tmp_path / "my [cache] 50%")
    monkeypatch.setattr(eli5, "download", sources.download)
    monkeypatch.setattr(module, "get_session", lambda: SimpleNamespace(get=sources.answer))
    monkeypatch.setattr(module, "ATTEMPTS", 1)
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
    sources.files[AUTHORS] = httpx.ConnectError("no route")
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
        HfHubHTTPError("503", response=httpx.Response(503, request=httpx.Request("GET", "http://127.0.0.1"))),
        # What the clients let through where a download is dropped; neither is an OSError.
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ConnectError("connection refused"),
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


@pytest.mark.parametrize("make", [hub_row, authors_row], ids=["hub", "authors"])
def test_a_local_file_with_eli5s_columns_gets_the_hubs_types(
    quick: Track, tmp_path: Path, make: Callable[[int], Row]
) -> None:
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(json.dumps([make(number) for number in range(5)]).encode()))
    dataset = load_eli5(replace(quick, data=str(path), rows=4))
    assert dataset.features == ELI5_FEATURES
    assert dataset.column_names == list(ELI5_FEATURES)
    assert dataset.to_list() == HUB_ROWS[:4]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert dataset.info.description == f"rows.json.gz, sha256 {sha256}, the first 4 rows"


@pytest.mark.parametrize("revision", [None, "v2"])
def test_another_data_set_of_the_hub_is_loaded_by_its_id(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick: Track, revision: str | None
) -> None:
    asked = []

    def open_hub_data(name: str, revision: str | None, config: str | None) -> tuple[Dataset, str]:
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
    monkeypatch.setattr(eli5, "open_hub_data", lambda name, revision, config: (rows, f"{name}, commit {revision}"))
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
