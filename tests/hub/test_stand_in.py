"""The stand-in Hub itself, by what the real clients of both kernels make of it."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clmkit.tracks import BUNDLED, HUB_DATA, HUB_MODEL
from tests.hub.cards import check_metadata
from tests.hub.clients import Kernel, run_client
from tests.hub.course import serve_course
from tests.hub.faults import Fault
from tests.hub.server import StandInHub
from tests.kernels import ROOT

# What the clients' code begins with. ``attempt`` says what a call gave or raised, and how long it took.
PRELUDE = """
import json, sys, time
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
api = HfApi()
def show(value):
    print(json.dumps(value))
def attempt(call):
    began = time.monotonic()
    try:
        found = {"value": call()}
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        found = {"error": [kind.__name__ for kind in type(error).__mro__], "text": str(error), "status": status}
    return found | {"seconds": time.monotonic() - began}
"""
LARGE = bytes(range(256)) * 49152  # 12 MiB: more than the clients read at once, so that there is something to resume
FILES = {"config.json": b"{}", "model.safetensors": os.urandom(5000), 'sub/name with "é".txt': b"two\nlines\n"}


def ask(hub: StandInHub, kernel: Kernel, code: str, *arguments: str, **environment: str) -> Any:
    """What the client's code shows, as JSON in its last line."""
    done = run_client(hub, kernel, PRELUDE + code, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def content(hub: StandInHub, repo_id: str) -> dict[str, bytes]:
    return {path: file for path, file in hub.files(repo_id).items() if path != ".gitattributes"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``FILES`` in it."""
    for name, file in FILES.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path / "folder"


def test_whoami_knows_the_account_and_the_role_of_a_token_and_refuses_a_wrong_one(
    hub: StandInHub, kernel: Kernel
) -> None:
    tokens = hub.add_token("ada"), hub.add_token("ada", "read"), "hf_wrong"
    code = "show([attempt(lambda: api.whoami(token=token)) for token in sys.argv[1:]])"
    write, read, wrong = ask(hub, kernel, code, *tokens)
    assert write["value"]["name"] == read["value"]["name"] == "ada"
    assert [found["value"]["auth"]["accessToken"]["role"] for found in (write, read)] == ["write", "read"]
    assert wrong["status"] == 401
    assert "Invalid user token" in wrong["text"]


def test_a_repository_is_created_once_by_who_may(hub: StandInHub, kernel: Kernel) -> None:
    hub.add_token("grace")
    code = """
def create(name, **options):
    return attempt(lambda: (lambda made: [made.repo_id, made.repo_type, str(made)])(api.create_repo(name, **options)))
show([create("mine"), create("mine", exist_ok=True), create("mine"), create("mine", repo_type="dataset"),
      create("grace/hers"), create("yours", token=sys.argv[1]), create("yours", token=False)])
"""
    token, reader = hub.add_token("ada"), hub.add_token("ada", "read")
    new, same, again, dataset, hers, read, nobody = ask(hub, kernel, code, reader, HF_TOKEN=token)
    assert new["value"] == same["value"] == ["ada/mine", "model", f"{hub.url}/ada/mine"]
    assert dataset["value"] == ["ada/mine", "dataset", f"{hub.url}/datasets/ada/mine"]
    assert [found["status"] for found in (again, hers, read, nobody)] == [409, 403, 403, 401]
    assert set(hub.repositories) == {("model", "ada/mine"), ("dataset", "ada/mine")}
    assert hub.commits("ada/mine") == ["initial commit"]


def test_a_folder_is_uploaded_once_and_then_only_what_changed(hub: StandInHub, kernel: Kernel, folder: Path) -> None:
    code = """
repo_id, folder = api.create_repo("mine").repo_id, Path(sys.argv[1])
def upload(message, **options):
    return api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, **options).oid
first, same = upload("first"), upload("same")
(folder / "config.json").write_text("[]")
second = upload("second")
(folder / "sub" / 'name with "é".txt').unlink()
(folder / "model.safetensors").write_bytes(b"other")
third = upload("third", delete_patterns="*")
stale = attempt(lambda: api.upload_file(repo_id=repo_id, path_or_fileobj=b"", path_in_repo="x", parent_commit=first))
show([first, same, second, third, [file.path for file in api.list_repo_tree(repo_id, revision=second)],
      [file.path for file in api.list_repo_tree(repo_id, "sub", revision=second)], stale["text"]])
"""
    first, same, second, third, top, sub, stale = ask(hub, kernel, code, str(folder), HF_TOKEN=hub.add_token("ada"))
    assert first == same
    assert hub.commits("ada/mine") == ["third", "second", "first", "initial commit"]
    assert content(hub, "ada/mine") == {"config.json": b"[]", "model.safetensors": b"other"}
    assert {path: hub.files("ada/mine", revision=first)[path] for path in FILES} == FILES
    assert hub.files("ada/mine", revision=second) == hub.files("ada/mine", revision=first) | {"config.json": b"[]"}
    assert set(top) == {".gitattributes", "config.json", "model.safetensors", "sub"}
    assert sub == ['sub/name with "é".txt']
    assert "412" in stale
    assert third == hub.repositories["model", "ada/mine"].resolve("main")
    assert len(hub.asked("^/cdn/", "PUT")) == 2  # the weights, and the other weights
    assert {request.account for request in hub.requests} - {"ada"} == {None}
    assert {request.account for request in hub.asked("^/cdn/")} == {None}, "a token went to the CDN"


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_downloads_give_the_bytes_that_were_put(hub: StandInHub, kernel: Kernel, repo_type: Any) -> None:
    old = hub.put("grace/hers", {"config.json": b"old"}, repo_type)
    hub.put("grace/hers", FILES, repo_type)
    hub.put("grace/hers", {"0000.parquet": b"rows"}, repo_type, "refs/convert/parquet")
    hub.put("grace/secret", FILES, repo_type, private=True)
    code = """
repo_type, paths, old = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
def download(path, repo_id="grace/hers", **options):
    return attempt(lambda: Path(hf_hub_download(repo_id, path, repo_type=repo_type, **options)).read_bytes().hex())
folder = Path(snapshot_download("grace/hers", repo_type=repo_type, cache_dir="%s"))
show({
    "single": {path: download(path)["value"] for path in paths},
    "snapshot": {path: (folder / path).read_bytes().hex() for path in paths},
    "old": download("config.json", revision=old)["value"],
    "converted": download("0000.parquet", revision="refs/convert/parquet")["value"],
    "errors": [download("nothing.txt"), download("config.json", revision="nothing"),
               download("config.json", "grace/nothing"), download("config.json", "grace/secret")],
    "owner": download("config.json", "grace/secret", token=sys.argv[4])["value"],
})
"""
    token = hub.add_token("grace", "read")
    code = code % (hub.folder / "another_cache")
    found = ask(hub, kernel, code, repo_type, json.dumps(list(FILES)), old, token, HF_TOKEN=hub.add_token("ada"))
    assert found["single"] == found["snapshot"] == {path: file.hex() for path, file in FILES.items()}
    assert bytes.fromhex(found["old"]) == b"old"
    assert bytes.fromhex(found["converted"]) == b"rows"
    assert bytes.fromhex(found["owner"]) == FILES["config.json"]
    names = ["EntryNotFoundError", "RevisionNotFoundError", "RepositoryNotFoundError", "RepositoryNotFoundError"]
    assert all(name in error["error"] for name, error in zip(names, found["errors"], strict=True))
    assert not any("LocalEntryNotFoundError" in error["error"] for error in found["errors"])
    assert {request.account for request in hub.asked("^/cdn/")} == {None}, "a token went to the CDN"


def test_a_dropped_download_is_resumed_where_it_ended(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("grace/hers", {"large.bin": LARGE})
    fault = hub.inject(Fault("drop", "^/cdn/.*large.bin", "GET", after=len(LARGE) - 1000))
    code = """
load = lambda: Path(hf_hub_download("grace/hers", "large.bin")).read_bytes() == bytes(range(256)) * 49152
show([attempt(load), attempt(load)])
"""
    first, second = ask(hub, kernel, code)
    assert second["value"] is True
    # The older client does not try again by itself, but knows what it has when it is asked again.
    assert first.get("value") is True if kernel == "main" else "ChunkedEncodingError" in first["error"]
    assert fault.used == 1
    assert [request.status for request in hub.asked("^/cdn/")] == [0, 206]


@pytest.mark.parametrize(
    ("wanted", "status", "given"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=10-", 416, b""),
        ("lines=1", 416, b""),
        (None, 200, b"0123456789"),
    ],
)
def test_range(hub: StandInHub, wanted: str | None, status: int, given: bytes) -> None:
    hub.put("grace/hers", {"digits.txt": b"0123456789"})
    url = f"{hub.url}/grace/hers/resolve/main/digits.txt"
    request = urllib.request.Request(url, headers={"Range": wanted} if wanted else {})
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    assert (answer.status, answer.read()) == (status, given)
    start = b"0123456789".find(given)
    whole = {206: f"bytes {start}-{start + len(given) - 1}/10", 416: "bytes */10"}.get(status)
    assert answer.headers["Content-Range"] == whole


def test_the_courses_data_loads_from_its_three_sources(
    hub: StandInHub, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLMKIT_ELI5_JSON", raising=False)
    authors = serve_course(hub)
    code = """
from datasets import load_dataset
name, authors = sys.argv[1:]
rows = load_dataset(name, split="train[:50]")
parquet = load_dataset(name, revision="refs/convert/parquet", split="train")
raw = load_dataset("json", data_files=authors, split="train")
show({"rows": list(rows), "splits": list(load_dataset(name)), "parquet": list(parquet["q_id"]),
      "raw": list(raw["q_id"]), "links": raw[0]["title_urls"]})
"""
    found = ask(hub, kernel, code, HUB_DATA, authors)
    sample = [json.loads(line) for line in (BUNDLED / "eli5_sample.jsonl").read_text().splitlines()]
    assert found["rows"] == sample[:50]
    assert set(found["splits"]) == {"train", "validation1", "validation2", "test"}
    assert found["parquet"] == found["raw"] == [row["q_id"] for row in sample[:300]]
    assert found["links"] == {"url": []}


def test_the_courses_rows_are_real_ones_where_a_file_is_named(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = json.loads((BUNDLED / "eli5_sample.jsonl").read_text().splitlines()[0])
    links = {"title_urls": {"url": ["a"]}, "selftext_urls": {"url": []}, "another": 1}
    rows = [row | links | {"q_id": str(number)} for number in range(100)]
    (tmp_path / "real.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    monkeypatch.setenv("CLMKIT_ELI5_JSON", str(tmp_path / "real.json.gz"))
    authors = serve_course(hub, rows=30)
    assert authors.startswith("http://localhost:")
    kept = json.loads(gzip.decompress(urllib.request.urlopen(authors).read()))
    assert [row["q_id"] for row in kept] == [str(number) for number in range(30)]
    assert kept[0]["title_urls"] == {"url": ["a"]}
    assert hub.files(HUB_DATA, "dataset")["data/test-00000-of-00001.parquet"][:4] == b"PAR1"


def test_the_courses_tokenizer_and_configuration_load(hub: StandInHub, kernel: Kernel) -> None:
    serve_course(hub)
    code = """
from transformers import AutoConfig, AutoTokenizer
tokenizer, config = AutoTokenizer.from_pretrained(sys.argv[1]), AutoConfig.from_pretrained(sys.argv[1])
show([len(tokenizer), config.model_type, config.vocab_size])
"""
    config = json.loads((BUNDLED / "tiny_gpt2" / "config.json").read_text())
    assert ask(hub, kernel, code, HUB_MODEL) == [config["vocab_size"], "gpt2", config["vocab_size"]]
    assert not hub.asked("safetensors", "GET")


def test_the_courses_model_generates(hub: StandInHub) -> None:
    serve_course(hub)
    code = """
from transformers import pipeline
show(pipeline("text-generation", sys.argv[1])("The sky is blue because", max_new_tokens=5)[0]["generated_text"])
"""
    assert ask(hub, "main", code, HUB_MODEL).startswith("The sky is blue because ")
    assert len(hub.asked("^/cdn/.*/model.safetensors$")) == 1


def test_who_may_not_push_is_refused_and_nothing_is_committed(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", {"config.json": b"{}"})
    code = """
def push(token):
    return attempt(lambda: api.upload_file(
        repo_id="ada/mine", path_or_fileobj=b"new", path_in_repo="config.json", token=token))
show([push(token) for token in (sys.argv[1], sys.argv[2], "hf_wrong", False)]
     + [attempt(lambda: api.model_info("ada/mine", token="hf_wrong"))])
"""
    tokens = hub.add_token("ada", "read"), hub.add_token("grace")
    *found, wrong = ask(hub, kernel, code, *tokens)
    assert wrong["status"] == 401, "a wrong token is refused even where none is needed"
    assert all("HfHubHTTPError" in push["error"] for push in found)
    assert [push["status"] for push in found] == [403, 403, 401, 401]
    assert hub.commits("ada/mine") == ["Add files", "initial commit"]


def test_a_card_is_checked_before_it_is_uploaded(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", {})
    code = """
def push(card):
    return attempt(lambda: api.upload_file(
        repo_id="ada/mine", path_or_fileobj=card.encode(), path_in_repo="README.md", commit_message="card"))
show([push("---\\nlicense: mit\\npipeline_tag: text-generation\\n---\\n# Mine"), push("---\\ntags: mine\\n---\\n"),
      api.model_info("ada/mine").pipeline_tag])
"""
    good, bad, task = ask(hub, kernel, code, HF_TOKEN=hub.add_token("ada"))
    assert "error" not in good
    assert "ValueError" in bad["error"]
    assert '"tags" must be an array' in bad["text"]
    assert task == "text-generation"
    assert hub.commits("ada/mine") == ["card", "Add files", "initial commit"]


RESULT = "{task: {type: a}, dataset: {type: b, name: c}, metrics: [{type: d, value: 1}]}"


@pytest.mark.parametrize(
    ("yaml", "errors"),
    [
        ("language: en\nlicense: mit\ntags: [a]\nbase_model: distilbert/distilgpt2\ndatasets: [a/b]\nmetrics: [c]", []),
        ("language: [en, pt-BR]\nbase_model: [a/b]\nlibrary_name: transformers\npipeline_tag: text-generation", []),
        ("license:", []),
        ("", []),
        (f"model-index: [{{name: m, results: [{RESULT}]}}]", []),
        ("- license", ["YAML metadata must be a mapping"]),
        ("license: [mit]", ['"license" must be a string']),
        ("library_name: 1", ['"library_name" must be a string']),
        ("pipeline_tag: {}", ['"pipeline_tag" must be a string']),
        ("tags: a", ['"tags" must be an array of strings']),
        ("metrics: [1]", ['"metrics" must be an array of strings']),
        ("datasets: a/b", ['"datasets" must be an array of strings']),
        ("datasets: [/a/b.json]", ['"datasets" with value "/a/b.json" is not valid']),
        ("base_model: /home/ada/tiny_gpt2", ['"base_model" with value "/home/ada/tiny_gpt2" is not valid']),
        ("language: 1", ['"language" must be a string or an array of strings']),
        ("language: English", ['"language" with value "English" is not valid']),
        ("model-index: a", ['"model-index" must be an array']),
        ("model-index: [{results: []}]", ['"model-index[0].name" is required']),
        ("model-index: [{name: m, results: [{task: {type: a}, dataset: {type: b, name: c}, metrics: [{type: d}]}]}]",
         ['"model-index.results.metrics.value" is required']),
        (f"model-index: [{{name: m, results: [{RESULT.replace(', name: c', '')}]}}]",
         ['"model-index.results.dataset.name" is required']),
    ],
)  # fmt: skip
def test_what_the_hub_says_about_a_card(yaml: str, errors: list[str]) -> None:
    assert check_metadata(f"---\n{yaml}\n---\n# A card\n") == errors


def test_a_card_without_metadata_or_with_broken_yaml() -> None:
    assert check_metadata("# A card\n") == []
    assert "can't be parsed" in check_metadata("---\na: [\n---\n")[0]


def test_device_login_waits_for_the_click_and_then_logs_in(hub: StandInHub) -> None:
    token = hub.approve_device("ada")
    code = """
from hashlib import sha256
from huggingface_hub import get_token, login
login()
show([sha256(get_token().encode()).hexdigest(), api.whoami()["name"]])
"""
    assert ask(hub, "main", code) == [hashlib.sha256(token.encode()).hexdigest(), "ada"]
    assert [request.status for request in hub.asked("^/oauth/token$")] == [400, 200]


def test_device_login_goes_on_waiting_without_the_click(hub: StandInHub) -> None:
    code = """
from huggingface_hub.utils._oauth_device import poll_device_token, request_device_code
show(attempt(lambda: poll_device_token(request_device_code() | {"expires_in": 2})))
"""
    assert "DeviceCodeError" in ask(hub, "main", code)["error"]
    assert {request.status for request in hub.asked("^/oauth/token$")} == {400}


def git(hub: StandInHub, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"]} | hub.environment
    folder = folder or hub.folder  # never this repository, which git-lfs would put its hooks into
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_git_clones_and_pushes(hub: StandInHub, tmp_path: Path, repo_type: Any) -> None:
    hub.put("ada/mine", FILES, repo_type)
    clone, prefix = tmp_path / "clone", "datasets/" if repo_type == "dataset" else ""
    large = shutil.which("git-lfs") is not None
    if large:
        assert git(hub, "lfs", "install", "--skip-repo").returncode == 0
    for name, email in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        git(hub, "config", "--global", name, email)
    login = f"ada:{hub.add_token('ada')}@"
    assert git(hub, "clone", hub.url.replace("//", f"//{login}") + f"/{prefix}ada/mine", str(clone)).returncode == 0
    assert (clone / "config.json").read_bytes() == FILES["config.json"]
    weights = (clone / "model.safetensors").read_bytes()
    assert weights == FILES["model.safetensors"] if large else weights.startswith(b"version https://git-lfs")

    (clone / "config.json").write_bytes(b"[]")
    (clone / "more.txt").write_bytes(os.urandom(2_000_000))  # more than git sends in one piece
    (clone / "other.safetensors").write_bytes(b"other" if large else weights)
    git(hub, "add", "--all", folder=clone)
    git(hub, "commit", "--message", "from git", folder=clone)
    pushed = git(hub, "push", folder=clone)
    git(hub, "remote", "set-url", "origin", hub.url, folder=clone)  # the address has the token in it
    assert pushed.returncode == 0, pushed.stderr
    assert hub.commits("ada/mine", repo_type) == ["from git", "Add files", "initial commit"]
    files = hub.files("ada/mine", repo_type)
    assert files["config.json"] == b"[]"
    assert files["more.txt"] == (clone / "more.txt").read_bytes()
    assert files["other.safetensors"] == (b"other" if large else FILES["model.safetensors"])


WRONG_LOGINS = [("", "could not read Username"), ("ada:{read}@", "403"), ("ada:wrong@", "Authentication failed")]


@pytest.mark.parametrize(("login", "reason"), WRONG_LOGINS)
def test_git_does_not_push_for_who_may_not(hub: StandInHub, tmp_path: Path, login: str, reason: str) -> None:
    hub.put("ada/mine", {"config.json": b"{}"})
    git(hub, "clone", f"{hub.url}/ada/mine", str(tmp_path / "clone"))
    url = f"{hub.url}/ada/mine".replace("//", "//" + login.format(read=hub.add_token("ada", "read")))
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    git(hub, *who, "commit", "--allow-empty", "--message", "from git", folder=tmp_path / "clone")
    pushed = git(hub, "push", url, "main", folder=tmp_path / "clone")
    assert pushed.returncode != 0
    assert reason in pushed.stderr
    assert hub.commits("ada/mine") == ["Add files", "initial commit"]


# One test for each fault, with what it does to the client.


def test_status(hub: StandInHub, kernel: Kernel) -> None:
    fault = hub.inject(Fault("status", "whoami", times=2, status=429, headers={"Retry-After": "7"}))
    code = "show([attempt(api.whoami) for _ in range(3)])"
    first, second, third = ask(hub, kernel, code, HF_TOKEN=hub.add_token("ada"))
    assert [first["status"], second["status"]] == [429, 429]
    assert "HfHubHTTPError" in first["error"]
    assert third["value"]["name"] == "ada"
    assert fault.used == 2
    assert [request.status for request in hub.requests] == [429, 429, 200]


def test_status_with_retry_after(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES)
    hub.inject(Fault("status", "/resolve/", "GET", status=429, headers={"Retry-After": "1"}))
    found = ask(hub, kernel, "show(attempt(lambda: hf_hub_download('ada/mine', 'config.json')))")
    if kernel == "main":
        assert "value" in found
        assert found["seconds"] > 1
    else:
        assert "error" in found


def test_html(hub: StandInHub, kernel: Kernel) -> None:
    hub.inject(Fault("html", "whoami"))
    found = ask(hub, kernel, "show(attempt(api.whoami))", HF_TOKEN=hub.add_token("ada"))
    assert "JSONDecodeError" in found["error"]


def test_drop_before_the_answer(hub: StandInHub, kernel: Kernel) -> None:
    fault = hub.inject(Fault("drop", "whoami"))
    found = ask(hub, kernel, "show(attempt(api.whoami))", HF_TOKEN=hub.add_token("ada"))
    assert {"ConnectionError", "ReadError", "RemoteProtocolError"} & set(found["error"])
    assert (fault.used, hub.requests[0].status) == (1, 0)


def test_reset_within_the_answer(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES)
    hub.inject(Fault("drop", "safetensors", "GET", after=1000, reset=True))
    load = "attempt(lambda: Path(hf_hub_download('ada/mine', 'model.safetensors')).read_bytes().hex())"
    first, second = ask(hub, kernel, f"show([{load}, {load}])")
    # What the newer client tries again after a connection that closes, it gives up after one that is reset.
    assert {"ReadError", "ChunkedEncodingError"} & set(first["error"])
    assert bytes.fromhex(second["value"]) == FILES["model.safetensors"]


def test_drop_of_an_upload(hub: StandInHub, kernel: Kernel) -> None:
    fault = hub.inject(Fault("drop", "^/cdn/", "PUT", after=1000))
    code = """
api.create_repo("mine")
api.upload_file(repo_id="ada/mine", path_or_fileobj=bytes(range(256)) * 49152, path_in_repo="large.bin")
show(True)
"""
    assert ask(hub, kernel, code, HF_TOKEN=hub.add_token("ada")) is True
    assert [request.status for request in hub.asked("^/cdn/", "PUT")] == [0, 200]
    assert fault.used == 1
    assert content(hub, "ada/mine") == {"large.bin": LARGE}


def test_truncate(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES)
    fault = hub.inject(Fault("truncate", "safetensors", "GET", after=1000))
    code = """
load = lambda: Path(hf_hub_download("ada/mine", "model.safetensors")).read_bytes().hex()
show([attempt(load), attempt(load)])
"""
    first, second = ask(hub, kernel, code)
    assert bytes.fromhex(second["value"]) == FILES["model.safetensors"]
    assert fault.used == 1
    # Only the newer client tries again by itself.
    assert first["value"] == second["value"] if kernel == "main" else "ChunkedEncodingError" in first["error"]


def test_alter(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES)
    hub.inject(Fault("alter", "safetensors", "GET", after=4000))
    code = """
load = lambda: Path(hf_hub_download("ada/mine", "model.safetensors")).read_bytes().hex()
show([load(), load()])
"""
    first, second = ask(hub, kernel, code)
    weights = FILES["model.safetensors"]
    assert bytes.fromhex(first) == weights[:4000] + bytes(255 - byte for byte in weights[4000:])
    assert second == first, "the client noticed by itself"


def test_stall_before_the_answer(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES)
    hub.inject(Fault("stall", "/resolve/", "HEAD", seconds=3))
    code = "show(attempt(lambda: hf_hub_download('ada/mine', 'config.json')))"
    found = ask(hub, kernel, code, HF_HUB_ETAG_TIMEOUT="1")
    assert "value" in found
    assert len(hub.asked("/resolve/", "HEAD")) >= 1  # the stalled one answers when nobody listens any more
    assert 1 < found["seconds"] < 3


def test_stall_within_the_answer(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES)
    hub.inject(Fault("stall", "safetensors", "GET", after=1000, seconds=1))
    code = "show(attempt(lambda: Path(hf_hub_download('ada/mine', 'model.safetensors')).read_bytes().hex()))"
    found = ask(hub, kernel, code)
    assert bytes.fromhex(found["value"]) == FILES["model.safetensors"]
    assert found["seconds"] > 1


def test_lose(hub: StandInHub, kernel: Kernel, folder: Path) -> None:
    fault = hub.inject(Fault("lose", "/commit/main$", "POST"))
    code = """
api.create_repo("mine")
upload = lambda: api.upload_folder(repo_id="ada/mine", folder_path=sys.argv[1], commit_message="mine").oid
show([attempt(upload), attempt(upload)])
"""
    first, second = ask(hub, kernel, code, str(folder), HF_TOKEN=hub.add_token("ada"))
    assert {"ConnectionError", "ReadError", "RemoteProtocolError"} & set(first["error"])
    assert "value" in second
    assert fault.used == 1
    assert content(hub, "ada/mine") == FILES
    # The files are all there, so the second upload has nothing to commit.
    assert hub.commits("ada/mine") == ["mine", "initial commit"]


def test_down_and_up_again_at_the_same_address(hub: StandInHub, kernel: Kernel) -> None:
    token, url = hub.add_token("ada"), hub.url
    hub.put("ada/mine", FILES)
    hub.stop()
    found = ask(hub, kernel, "show(attempt(api.whoami))", HF_TOKEN=token)
    assert {"ConnectionError", "ConnectError"} & set(found["error"])
    assert found["seconds"] < 5
    hub.start()
    assert hub.url == url
    code = "show([api.whoami()['name'], Path(hf_hub_download('ada/mine', 'config.json')).read_text()])"
    assert ask(hub, kernel, code, HF_TOKEN=token) == ["ada", "{}"]


def test_faults_hit_only_what_they_match_and_end_when_they_are_cleared(hub: StandInHub) -> None:
    hub.put("ada/mine", FILES)

    def status(path: str, method: str = "GET") -> int:
        try:
            return int(urllib.request.urlopen(urllib.request.Request(hub.url + path, method=method)).status)
        except urllib.error.HTTPError as error:
            return error.code

    first = hub.inject(Fault("status", "/api/models", "GET", times=None, status=500))
    second = hub.inject(Fault("status", "mine", times=1, status=501))
    paths = ["/api/models/ada/mine", "/ada/mine/resolve/main/config.json", "/ada/mine/resolve/main/config.json", "/"]
    assert [status(path) for path in paths] == [500, 501, 200, 200]
    assert status(paths[0], "HEAD") == 200
    assert (first.used, second.used) == (1, 1)
    hub.faults.clear()
    assert status(paths[0]) == 200


def test_the_log_tells_every_request(hub: StandInHub) -> None:
    hub.put("ada/mine", FILES)
    hub.inject(Fault("stall", "whoami", seconds=0.3))
    code = "api.whoami(); hf_hub_download('ada/mine', 'model.safetensors', token=False); show(True)"
    assert ask(hub, "main", code, HF_TOKEN=hub.add_token("ada"))
    facts = [(request.method, request.path.split("/")[-1], request.status, request.account) for request in hub.requests]
    name = "model.safetensors"
    assert facts == [("GET", "whoami-v2", 200, "ada"), ("HEAD", name, 302, None), ("GET", name, 200, None)]
    assert 0.3 < hub.requests[0].seconds < 5
    assert [request.method for request in hub.asked(r"\.safetensors$")] == ["HEAD", "GET"]
    assert [request.path for request in hub.asked("ada", "HEAD")] == [f"/ada/mine/resolve/main/{name}"]
    hub.requests.clear()
    assert hub.asked() == []


def test_two_processes_fill_one_cache_at_once(hub: StandInHub, kernel: Kernel) -> None:
    hub.put("ada/mine", FILES | {"large.bin": LARGE})
    hub.inject(Fault("stall", "config.json", "GET", after=1, seconds=0.5, times=None))
    code = """
folder = Path(snapshot_download("ada/mine"))
show({path: (folder / path).read_bytes()[:5000].hex() for path in sys.argv[1:]})
"""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: ask(hub, kernel, code, *FILES, "large.bin"), range(2)))
    assert found[0] == found[1] == {path: file[:5000].hex() for path, file in (FILES | {"large.bin": LARGE}).items()}
    assert len(hub.asked("^/api/models/ada/mine")) >= 2


def test_the_clients_find_nothing_of_this_machine(hub: StandInHub, kernel: Kernel) -> None:
    code = """
from huggingface_hub import constants, get_token
show([constants.ENDPOINT, get_token(), str(Path.home()), constants.HF_HUB_CACHE, constants.HF_TOKEN_PATH])
"""
    endpoint, token, *folders = ask(hub, kernel, code)
    assert (endpoint, token) == (hub.url, None)
    assert all(Path(folder).is_relative_to(hub.folder) for folder in folders)


def test_by_hand_it_serves_the_course_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "tests.hub.server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines: list[str] = []
            while not lines or not lines[-1].startswith("#"):
                lines.append(server.stdout.readline())
                assert lines[-1], "it ended by itself"
            settings = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if "=" in line)
            with urllib.request.urlopen(f"{settings['HF_ENDPOINT']}/api/models/{HUB_MODEL}") as answer:
                assert json.load(answer)["id"] == HUB_MODEL
            assert settings["HF_TOKEN"].startswith("hf_")
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()  # or the with statement waits for it for ever
