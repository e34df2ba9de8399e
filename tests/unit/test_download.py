"""Downloads, with the Hub's client replaced by one that fills a cache as it does; ``tests/hub`` has the client."""

import errno
import gzip
import hashlib
import inspect
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import AutoTokenizer, GPT2LMHeadModel

from clmkit.hub import download as module
from clmkit.hub.download import (
    ATTEMPTS,
    MODEL_FILES,
    cached_folder,
    download,
    download_gzip,
    download_model,
)
from clmkit.hub.models import check_hub_config
from clmkit.hub.weights import weight_files
from clmkit.tracks import HUB_MODEL, Track
from tests.fake_hub import TOKEN, httpx

SHA = "5" * 40
HELLO = b"hello\n"  # git calls it ce01..., as git hash-object says
LARGE = b"weights" * 999
CONFIG = b'{"model_type": "gpt2"}'


def refusal(status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "http://127.0.0.1/api/models/ada/model")
    return HfHubHTTPError(f"{status}", response=httpx.Response(status, request=request))


class Cache:
    """Attributes:
    folder: Of one repository in the Hub's cache: ``blobs`` by hash, and ``snapshots`` that link to them.
    files: What the repository has. What ends in safetensors is large.
    faults: What the next downloads end with, before they bring anything.
    wrong: The names of files that arrive with wrong bytes, and how often.
    calls: The options of each download.
    slept: How long the course waited between downloads, in seconds; no test does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {"config.json": HELLO, "tokenizer.json": b"{}", "model.safetensors": LARGE, "notes.txt": b"n"}
        self.faults: list[BaseException] = []
        self.wrong: dict[str, int] = {}
        self.calls: list[dict[str, object]] = []
        self.slept = 0.0

    def snapshot_download(self, repo_id: str, **options: object) -> str:
        inspect.signature(snapshot_download).bind(repo_id, **options)
        self.calls.append({"repo_id": repo_id} | options)
        snapshot = self.folder / "snapshots" / SHA
        if options.get("local_files_only"):
            if not snapshot.is_dir():
                raise LocalEntryNotFoundError("no such snapshot")
            return str(snapshot)
        if self.faults:
            raise self.faults.pop(0)
        patterns = options["allow_patterns"]
        assert isinstance(patterns, Sequence)
        for name, content in self.files.items():
            if any(fnmatch(name, pattern) for pattern in patterns) and not self.path(name).exists():
                self.put(name, content)
        return str(snapshot)

    def put(self, name: str, content: bytes) -> None:
        blob = self.folder / "blobs" / self.hash(name)
        wrong = self.wrong.get(name, 0) > 0
        if wrong:
            self.wrong[name] -= 1
        if not blob.exists():
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content[::-1] if wrong else content)
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).symlink_to(blob)

    def hash(self, name: str) -> str:
        content = self.files[name]
        if name.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def path(self, name: str) -> Path:
        return self.folder / "snapshots" / SHA / name

    @property
    def blobs(self) -> set[str]:
        return {path.name for path in (self.folder / "blobs").iterdir()}


class Elsewhere(NamedTuple):
    """A server, what it was asked with, and the status and content of its next answers."""

    url: str
    requests: list[dict[str, str]]
    answers: list[tuple[int, bytes]]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "models--ada--model")

    def sleep(seconds: float) -> None:
        cache.slept += seconds

    monkeypatch.setattr(module, "snapshot_download", cache.snapshot_download)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1000 + cache.slept, sleep=sleep))
    return cache


def fetch(*patterns: str, **options: str) -> Path:
    return download("ada/model", patterns or ("*",), required=["config.json", "*.safetensors"], **options)


def test_a_download_is_one_call_of_the_hubs_client_and_ends_in_the_commits_folder(cache: Cache) -> None:
    folder = fetch("*.json", "*.safetensors", revision="v1")
    assert folder == cache.folder / "snapshots" / SHA
    assert cache.calls == [
        {
            "repo_id": "ada/model",
            "repo_type": "model",
            "revision": "v1",
            "allow_patterns": ["*.json", "*.safetensors"],
        }
    ]
    assert {path.name for path in folder.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == LARGE
    assert (folder / "config.json").resolve().name == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert cache.slept == 0


@pytest.mark.parametrize("wrong", ["config.json", "model.safetensors"], ids=["by sha1", "by sha256"])
def test_a_file_with_wrong_bytes_is_fetched_again(cache: Cache, wrong: str) -> None:
    cache.wrong = {wrong: 1}
    folder = fetch()
    assert {name: (folder / name).read_bytes() for name in cache.files} == cache.files
    assert len(cache.calls) == 2


@pytest.mark.parametrize("wrong", ["config.json", "model.safetensors"], ids=["by sha1", "by sha256"])
def test_a_file_that_an_earlier_run_left_with_wrong_bytes_is_fetched_again(cache: Cache, wrong: str) -> None:
    fetch()
    path = cache.path(wrong).resolve()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert (fetch() / wrong).read_bytes() == cache.files[wrong]


@pytest.mark.parametrize("wrong", ["config.json", "model.safetensors"], ids=["by sha1", "by sha256"])
def test_a_file_that_is_cut_short_is_fetched_again(cache: Cache, wrong: str) -> None:
    fetch()
    cache.path(wrong).resolve().write_bytes(b"")
    assert (fetch() / wrong).read_bytes() == cache.files[wrong]


def test_a_file_of_the_shared_cache_that_was_not_asked_for_is_left_alone(cache: Cache) -> None:
    fetch()
    notes = cache.path("notes.txt").resolve()
    notes.write_bytes(b"of another program")
    fetch("*.json", "*.safetensors")
    assert notes.read_bytes() == b"of another program"


def test_equal_files_with_wrong_bytes_are_fetched_again(cache: Cache) -> None:
    cache.files |= {"a.json": HELLO, "sub/b.json": HELLO}
    cache.wrong = {"config.json": 1}
    folder = fetch()
    assert {name: (folder / name).read_bytes() for name in cache.files} == cache.files


def test_files_that_arrive_with_wrong_bytes_again_and_again_are_an_error_and_are_not_kept(cache: Cache) -> None:
    cache.wrong = {"config.json": 99, "model.safetensors": 99}
    with pytest.raises(ConnectionError) as caught:
        fetch(remedy="Or wait")
    assert str(caught.value) == (
        "downloading ada/model failed: OSError: config.json, model.safetensors arrived with wrong bytes. "
        "What has arrived is kept: run this again. Or wait"
    )
    assert cache.slept == ATTEMPTS - 1
    assert cache.blobs == {cache.hash("tokenizer.json"), cache.hash("notes.txt")}
    assert not cache.path("config.json").is_symlink()


@pytest.mark.parametrize("name", ["model.safetensors", "é" * 40, "x" * 64, "train-00000-of-00001-0123456789ab.parq"])
def test_a_file_that_is_not_named_by_its_hash_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, cache: Cache, name: str
) -> None:
    # Where there are no links, the cache has files under their own names.
    folder = cache.path("config.json").parent
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(HELLO)
    (folder / name).write_bytes(b"any bytes")
    monkeypatch.setattr(module, "snapshot_download", lambda *arguments, **options: str(folder))
    assert download("ada/model", ["*"], required=["config.json", name]) == folder
    assert (folder / name).read_bytes() == b"any bytes"


def test_missing_files_are_an_error_at_once_that_names_them(cache: Cache) -> None:
    del cache.files["model.safetensors"], cache.files["tokenizer.json"]
    with pytest.raises(ConnectionError, match=r"no tokenizer\*\.json and no model\.safetensors among its files\.$"):
        download("ada/model", ["*"], required=["config.json", "tokenizer*.json", "model.safetensors"])
    assert (len(cache.calls), cache.slept) == (1, 0)


def test_a_file_that_was_not_asked_for_may_be_missing(cache: Cache) -> None:
    del cache.files["tokenizer.json"]
    assert fetch().is_dir()


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (refusal(401), PermissionError, "the Hub wants a login (status 401)"),
        (refusal(403), PermissionError, "the token does not allow it (status 403)"),
        (refusal(404), ConnectionError, "the Hub has no such thing, or it is private (status 404)"),
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), OSError, "the disk is full"),
    ],
)
def test_what_trying_again_does_not_mend_is_an_error_at_once(
    cache: Cache, fault: OSError, kind: type[OSError], reason: str
) -> None:
    cache.faults = [fault]
    with pytest.raises(kind) as caught:
        fetch(remedy="Or wait")
    assert type(caught.value) is kind
    assert f"downloading ada/model failed: {reason}." in str(caught.value)
    assert "is kept" not in str(caught.value)
    assert (len(cache.calls), cache.slept) == (1, 0)
    assert caught.value.__cause__ is fault


def test_a_full_disk_is_told_with_what_makes_room(cache: Cache) -> None:
    cache.faults = [OSError(errno.ENOSPC, "No space left on device")]
    with pytest.raises(OSError, match="Make room, or set HF_HOME to a folder on a larger disk") as caught:
        fetch()
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("status", [401, 403, 404])
def test_nothing_is_said_to_run_again_where_that_does_not_help(cache: Cache, status: int) -> None:
    cache.faults = [refusal(status)]
    with pytest.raises(OSError, match=rf"\(status {status}\)\. Take another$"):
        fetch(remedy="Take another")


PASSING = [
    refusal(429),
    refusal(503),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("peer closed connection"),
    LocalEntryNotFoundError("the Hub could not be reached"),
    json.JSONDecodeError("Expecting value", "<html>", 0),
    OSError(errno.EIO, "Input/output error"),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: type(fault).__name__)
def test_a_fault_that_passes_costs_a_second(cache: Cache, fault: Exception) -> None:
    cache.faults = [fault]
    assert (fetch() / "config.json").read_bytes() == HELLO
    assert (len([call for call in cache.calls if "local_files_only" not in call]), cache.slept) == (2, 1)


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: type(fault).__name__)
def test_a_fault_that_stays_is_an_error_after_some_seconds(cache: Cache, fault: Exception) -> None:
    cache.faults = [fault] * 99
    with pytest.raises(ConnectionError, match=r"^downloading ada/model \(revision v1\) failed: .*run this again\.$"):
        fetch(revision="v1")
    assert cache.slept == ATTEMPTS - 1


def test_offline_by_choice_is_an_error_at_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache.faults = [LocalEntryNotFoundError("outgoing traffic has been disabled")]
    with pytest.raises(ConnectionError, match="outgoing traffic has been disabled"):
        fetch()
    assert (len(cache.calls), cache.slept) == (1, 0)


NO_JSON = json.JSONDecodeError("Expecting value", "<html>", 0)  # the page of a network that wants a login


def test_a_page_in_place_of_the_hubs_answer_is_as_good_as_no_answer(cache: Cache) -> None:
    folder = fetch()
    cache.faults = [NO_JSON]
    assert fetch() == folder
    assert (len(cache.calls), cache.slept) == (3, 0)


def test_a_page_in_place_of_the_hubs_answer_is_said_where_nothing_was_downloaded_before(cache: Cache) -> None:
    cache.faults = [NO_JSON] * 99
    with pytest.raises(ConnectionError, match="is not the Hub; some networks want a login in the browser first"):
        fetch()
    assert cache.slept == ATTEMPTS - 1


@pytest.mark.parametrize("error", [TypeError("a bug"), KeyboardInterrupt()], ids=repr)
def test_a_bug_and_an_interrupt_go_through_as_they_are(cache: Cache, error: BaseException) -> None:
    cache.faults = [error]
    with pytest.raises(type(error)) as caught:
        fetch()
    assert caught.value is error
    assert len(cache.calls) == 1


def test_what_was_downloaded_before_is_found_without_asking_the_hub(cache: Cache) -> None:
    folder = fetch()
    found = cached_folder("ada/model", ["*.json"], required=["config.json"], repo_type="dataset", revision="v1")
    assert found == folder
    assert cache.calls[1] == {
        "repo_id": "ada/model",
        "repo_type": "dataset",
        "revision": "v1",
        "allow_patterns": ["*.json"],
        "local_files_only": True,
    }


def test_what_was_not_downloaded_before_or_in_part_is_not_found(cache: Cache) -> None:
    assert cached_folder("ada/model", ["*"], required=["config.json"]) is None
    fetch()
    assert cached_folder("ada/model", ["*"], required=["config.json", "vocab.json"]) is None
    assert cache.slept == 0


def test_a_blob_that_is_gone_is_not_found(cache: Cache) -> None:
    fetch()
    cache.path("config.json").resolve().unlink()
    assert cached_folder("ada/model", ["*"], required=["config.json"]) is None


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Elsewhere]:
    """A server on loopback that has one file, and is not the Hub."""
    requests: list[dict[str, str]] = []
    answers: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(dict(self.headers))
            status, content = answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield Elsewhere(f"http://127.0.0.1:{server.server_port}/data/rows.json.gz", requests, answers)
    server.shutdown()
    server.server_close()


WHOLE = gzip.compress(b"rows" * 999, mtime=0)


def test_a_gzip_file_from_elsewhere_is_downloaded_once_without_the_token(cache: Cache, elsewhere: Elsewhere) -> None:
    elsewhere.answers.append((200, WHOLE))
    path = download_gzip(elsewhere.url)
    assert path.read_bytes() == WHOLE
    assert path.name == "rows.json.gz"
    assert download_gzip(elsewhere.url) == path
    assert len(elsewhere.requests) == 1
    assert TOKEN not in str(elsewhere.requests)
    assert [other for other in path.parent.iterdir() if other != path] == []


@pytest.mark.parametrize(
    "fault",
    [(503, b""), (429, b""), (200, WHOLE[:-9]), (200, b""), (200, b"<html>"), (200, WHOLE[:-6] + b"?" + WHOLE[-5:])],
    ids=["503", "429", "cut", "empty", "a page", "wrong bytes"],
)
def test_a_fault_that_passes_costs_a_second_elsewhere_too(
    cache: Cache, elsewhere: Elsewhere, fault: tuple[int, bytes]
) -> None:
    elsewhere.answers.extend([fault, (200, WHOLE)])
    assert download_gzip(elsewhere.url).read_bytes() == WHOLE
    assert cache.slept == 1


def test_a_gzip_file_that_never_arrives_whole_is_an_error_and_is_not_kept(
    cache: Cache, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.answers.extend([(200, WHOLE[:-9])] * 99)
    with pytest.raises(ConnectionError) as caught:
        download_gzip(elsewhere.url)
    assert str(caught.value) == (
        f"reading {elsewhere.url} failed: OSError: what arrived is no whole gzip file. Run this again."
    )
    assert cache.slept == ATTEMPTS - 1
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_a_gzip_file_that_is_not_there_is_an_error_at_once(cache: Cache, elsewhere: Elsewhere) -> None:
    elsewhere.answers.extend([(404, b"")])
    with pytest.raises(ConnectionError, match=rf"^reading {elsewhere.url} failed: .*404"):
        download_gzip(elsewhere.url)
    assert cache.slept == 0


@pytest.fixture
def full(quick: Track, cache: Cache) -> Track:
    cache.files["config.json"] = CONFIG
    return replace(quick, name="full", model=HUB_MODEL)


def test_a_model_in_a_folder_is_taken_from_there(cache: Cache, quick: Track) -> None:
    assert download_model(quick.model) == download_model(quick.model, weights=False) == quick.model
    assert cache.calls == []


def test_the_tracks_model_is_downloaded_whole_and_nothing_else(cache: Cache, full: Track) -> None:
    folder = download_model(full.model)
    assert isinstance(folder, str)
    assert {path.name for path in Path(folder).iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert cache.calls[0]["repo_id"] == HUB_MODEL
    assert cache.calls[0]["allow_patterns"] == list(MODEL_FILES)


def test_a_tokenizer_is_downloaded_without_the_weights(cache: Cache, full: Track) -> None:
    folder = download_model(full.model, weights=False)
    assert {path.name for path in Path(folder).iterdir()} == {"config.json", "tokenizer.json"}


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_repository_without_a_whole_model_is_an_error_that_names_the_quick_track(
    cache: Cache, full: Track, missing: str
) -> None:
    del cache.files[missing]
    with pytest.raises(ConnectionError, match=r"choose_track\('quick'\)") as caught:
        download_model(full.model)
    what = {
        "tokenizer.json": "tokenizer.json or merges.txt or vocab.txt or tokenizer.model or spiece.model",
        "model.safetensors": "model.safetensors or model.safetensors.index.json",
    }
    assert f"no {what.get(missing, missing)} among its files" in str(caught.value)


@pytest.mark.parametrize("name", ["typo", "models/typo", "ada/model"])
def test_a_name_that_may_be_meant_as_a_folder_is_said_to_be_none(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    del cache.files["config.json"]
    with pytest.raises(ConnectionError, match=r"no config\.json among its files") as caught:
        download_model(name)
    assert (f"There is no folder {name!r} here." in str(caught.value)) is (name != "ada/model")


def test_weights_may_come_in_parts(cache: Cache, full: Track) -> None:
    content = cache.files.pop("model.safetensors")
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"weight_map": dict(zip(["one", "two"], parts, strict=True))}).encode()
    cache.files |= {**dict.fromkeys(parts, content), "model.safetensors.index.json": index}
    assert {*parts, "model.safetensors.index.json"} < {path.name for path in Path(download_model(full.model)).iterdir()}


def test_pytorchs_own_weights_are_taken_where_there_are_no_others(
    cache: Cache, full: Track, capsys: pytest.CaptureFixture[str]
) -> None:
    content = cache.files["model.safetensors"]
    cache.files["pytorch_model.bin"] = content
    assert not Path(download_model(full.model), "pytorch_model.bin").exists()
    assert "pickle" not in capsys.readouterr().out


def test_pytorchs_own_weights_are_said_to_be_a_pickle(
    cache: Cache, full: Track, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.files["pytorch_model.bin"] = cache.files.pop("model.safetensors")
    assert Path(download_model(full.model), "pytorch_model.bin").is_file()
    assert f"The weights of {full.model} are a pickle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("tokenizer.json", "no whole model: there is no tokenizer.json or vocab.json"),
        ("config.json", "no whole model: there is no config.json in it"),
        ("model.safetensors", "not all of its weights: there is no model.safetensors in it"),
    ],
)
def test_a_folder_without_a_whole_model_is_an_error(tmp_path: Path, quick: Track, missing: str, message: str) -> None:
    folder = shutil.copytree(quick.model, tmp_path / "model")
    names = ["vocab.json", "merges.txt"] if missing == "tokenizer.json" else []
    for name in (missing, *names):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=message):
        download_model(str(folder))


def test_a_folder_that_lacks_a_part_of_the_weights_is_an_error(tmp_path: Path, quick: Track) -> None:
    GPT2LMHeadModel.from_pretrained(quick.model).save_pretrained(tmp_path, max_shard_size="2MB")
    AutoTokenizer.from_pretrained(quick.model).save_pretrained(tmp_path)
    files = weight_files(tmp_path)
    assert len(files) > 1
    assert download_model(str(tmp_path)) == str(tmp_path)
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match=f"not all of its weights: there is no {files[1].name} in it"):
        download_model(str(tmp_path))


def test_the_tokenizer_files_of_other_tokenizers_will_do(cache: Cache, full: Track) -> None:
    del cache.files["tokenizer.json"]
    cache.files |= {"tokenizer_config.json": b"{}", "vocab.json": b"{}", "merges.txt": b""}
    assert Path(download_model(full.model), "merges.txt").is_file()


def test_a_tokenizer_of_berts_kind_will_do(cache: Cache, full: Track) -> None:
    del cache.files["tokenizer.json"]
    cache.files |= {"vocab.txt": b"[UNK]"}
    assert Path(download_model(full.model), "vocab.txt").is_file()


def test_an_encoder_with_a_decoder_that_was_downloaded_is_refused(cache: Cache, full: Track) -> None:
    cache.files["config.json"] = b'{"model_type": "t5"}'
    for weights in (True, False):
        with pytest.raises(ValueError, match="of the type 't5' continues no text of its own"):
            download_model(full.model, weights=weights)


@pytest.fixture
def own(tmp_path: Path, quick: Track) -> Path:
    return Path(shutil.copytree(quick.model, tmp_path / "own"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "gpt2", "n_la', r"config.json of '.*own' is no JSON \(.*\): download or copy it once more"),
        ("[]", "is no model of Transformers: its config.json names no model_type"),
        ('{"n_layer": 2}', "is no model of Transformers: its config.json names no model_type"),
        (
            '{"model_type": "of_tomorrow"}',
            r"type 'of_tomorrow', which Transformers \d.* does not know: a newer version",
        ),
        ('{"model_type": "t5"}', "of the type 't5' continues no text of its own"),
        ('{"model_type": "bart"}', "of the type 'bart' continues no text of its own"),
        ('{"model_type": "bert"}', "of the type 'bert' is an encoder"),
    ],
)
def test_a_folder_whose_configuration_is_of_no_causal_language_model_is_refused(
    own: Path, config: str, message: str
) -> None:
    (own / "config.json").write_text(config)
    for weights in (True, False):
        with pytest.raises(ValueError, match=message) as caught:
            download_model(str(own), weights=weights)
        assert "\n" not in str(caught.value)


OF_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "config.json"])
def test_what_git_leaves_without_its_lfs_is_called_so(own: Path, name: str) -> None:
    if name == "pytorch_model.bin":
        (own / "model.safetensors").unlink()
    (own / name).write_text(OF_LFS)
    with pytest.raises(ValueError, match=rf"^{name} of '.*own' is a pointer of git LFS, .*: run git lfs pull"):
        download_model(str(own))


def test_an_adapter_is_not_taken_for_a_model(own: Path) -> None:
    (own / "adapter_config.json").write_text('{"base_model_name_or_path": "ada/large"}')
    assert download_model(str(own)) == str(own)
    (own / "model.safetensors").unlink()
    for name in ("README.md", "config.json"):
        with pytest.raises(ValueError, match="is an adapter of PEFT for ada/large, and no model: start from that one"):
            download_model(str(own))
        (own / name).unlink(missing_ok=True)
    with pytest.raises(ValueError, match="'ada/tuned' is an adapter of PEFT for ada/large"):
        check_hub_config("ada/tuned", {"peft": {"base_model_name_or_path": "ada/large", "task_type": "CAUSAL_LM"}})


def test_of_a_folder_with_checkpoints_the_newest_is_named(own: Path, tmp_path: Path) -> None:
    for number in (5, 12, 9):
        shutil.copytree(own, tmp_path / "run" / f"checkpoint-{number}")
    with pytest.raises(FileNotFoundError, match=r"Its checkpoints are models: '.*run/checkpoint-12' is the newest"):
        download_model(str(tmp_path / "run"))


def test_the_hubs_cache_of_a_model_is_called_so(own: Path, tmp_path: Path) -> None:
    cached = tmp_path / "models--ada--small"
    shutil.copytree(own, cached / "snapshots" / SHA)
    with pytest.raises(FileNotFoundError, match="It is the Hub's cache of a model: give the model's id, or a folder"):
        download_model(str(cached))
    assert download_model(str(cached / "snapshots" / SHA))


def test_files_of_llama_cpp_are_no_model_of_transformers(tmp_path: Path) -> None:
    (tmp_path / "small.Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(FileNotFoundError, match=r"there is no config\.json .*: take the model that they were made of"):
        download_model(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["./gone", "../gone/model", "/gone/model", "my--model", "my..model", "https://huggingface.co/ada/small"]
)
def test_what_can_be_no_name_on_the_hub_is_said_to_be_no_folder(cache: Cache, name: str) -> None:
    with pytest.raises(
        FileNotFoundError, match=f"model folder '{name}' is not there; .* It is no id on the Hub either"
    ):
        download_model(name)
    assert cache.calls == []


def test_a_file_of_a_model_is_no_model(own: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors' is a file: name the folder"):
        download_model(str(own / "model.safetensors"))


@pytest.mark.parametrize("share", [0, 0.3, 0.999])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json"])
def test_a_file_of_a_folder_that_was_not_written_whole_is_named(own: Path, name: str, share: float) -> None:
    if name == "pytorch_model.bin":
        torch.save({"a": torch.zeros(99)}, own / name)
        (own / "model.safetensors").unlink()
        assert download_model(str(own)) == str(own)
    if name == "tokenizer.json":
        AutoTokenizer.from_pretrained(own).save_pretrained(own)
    content = (own / name).read_bytes()
    (own / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"^{name} of '.*own' is .*: download or copy it once more$"):
        download_model(str(own))


def test_a_generation_config_that_can_not_be_loaded_is_refused(own: Path) -> None:
    (own / "generation_config.json").write_text('{"num_return_sequences": 3}')
    with pytest.raises(ValueError, match=r"generation_config.json of '.*own' contradicts itself: Greedy methods"):
        download_model(str(own))


def test_a_folder_without_a_tokenizer_is_an_error_where_only_that_is_wanted(own: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (own / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=r"there is no tokenizer\.json or vocab\.json or vocab\.txt"):
        download_model(str(own), weights=False)
