"""Uploads to a Hub in the place of ``HfApi``; ``tests/hub`` has them over HTTP."""

import errno
import json
import threading
from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError
from transformers import GPT2LMHeadModel

from clmkit.hub.upload import Uploads, push_model
from tests.fake_hub import TOKEN, FakeHub, httpx


def refusal(status: int) -> HfHubHTTPError:
    request = httpx.Request("POST", "http://127.0.0.1/api/repos/create")
    return HfHubHTTPError(f"{status}", response=httpx.Response(status, request=request))


def given_up() -> RuntimeError:
    """What huggingface_hub raises when it has tried a large file six times."""
    error = RuntimeError("Error while uploading 'model.safetensors'")
    error.__cause__ = refusal(503)
    return error


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tuned model, by a relative path as in the notebooks, beside what the Trainer leaves."""
    monkeypatch.chdir(tmp_path)
    folder = Path("quick/tuned")
    for name in ("README.md", "losses.png", "config.json", "model.safetensors", "training_args.bin", "run.json"):
        save(folder / name)
    for name in (
        ".clmkit.lock",
        ".ipynb_checkpoints/a.json",
        "sub/.env",
        "trainer_state.json",
        "runs/Nov30/events.out.1",
    ):
        save(folder / name)
    for name in ("train.log", "slurm-7.out", "__pycache__/a.pyc", "sub/__pycache__/a.pyc"):
        save(folder / name)
    for name in ("checkpoint-5/optimizer.pt", "checkpoint-5/model.safetensors", "unfinished-x1/model.safetensors"):
        save(folder / name)
    return folder


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)


SHARED = {"README.md", "losses.png", "config.json", "model.safetensors"}


def test_the_repository_is_made_first_in_the_account_under_the_folders_name(hub: FakeHub, folder: Path) -> None:
    uploads = Uploads(folder)
    assert uploads.repo_id == "ada/tuned"
    assert (hub.repositories, hub.tokens, hub.uploads) == (["tuned"], [None], [])
    assert Uploads(folder, "other", TOKEN).repo_id == "ada/other"
    assert hub.tokens == [None, TOKEN]


def test_a_repository_is_private_where_that_is_wished(hub: FakeHub, folder: Path) -> None:
    Uploads(folder, private=True)
    push_model(folder, private=True)
    push_model(folder)
    assert hub.private == [True, True, None]


def test_a_private_model_is_not_uploaded_to_a_public_repository(hub: FakeHub, folder: Path) -> None:
    hub.public = {"ada/tuned"}
    for share in (Uploads, push_model):
        with pytest.raises(PermissionError, match=r"ada/tuned is public, and a private one was asked for: nothing was"):
            share(folder, private=True)
    assert hub.uploads == []
    assert push_model(folder) == "https://hub.test/ada/tuned"


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (refusal(401), PermissionError, r"the Hub wants a login \(status 401\)"),
        (refusal(403), PermissionError, r"the token does not allow it \(status 403\)"),
        (refusal(503), ConnectionError, r"the Hub answers with status 503"),
        (httpx.ConnectError("no route"), ConnectionError, "ConnectError: no route"),
    ],
)
def test_a_repository_that_cannot_be_made_is_an_error_that_says_what_works_without(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: type[OSError], reason: str
) -> None:
    def create_repo(*arguments: object, **options: object) -> None:
        raise fault

    monkeypatch.setattr(hub, "create_repo", create_repo)
    sentence = (
        rf"^making the repository tuned failed: {reason}\. "
        r"Run this again with a token that may write; everything else works without$"
    )
    with pytest.raises(kind, match=sentence):
        Uploads(folder, token=TOKEN)
    with pytest.raises(kind, match=sentence):
        push_model(folder)
    assert hub.uploads == []


def test_an_upload_runs_in_the_background_and_leaves_out_what_is_of_use_to_no_one_else(
    hub: FakeHub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults = {0: None}
    uploads = Uploads(folder)
    assert not uploads.busy
    uploads.start("Training in progress, epoch 1", 5)
    assert uploads.busy
    assert set(hub.uploads[0].files) == SHARED
    assert hub.uploads[0].background
    assert hub.messages == ["Training in progress, epoch 1"]
    hub.uploads[0].job.set_result(None)
    assert not uploads.busy
    assert uploads.step == 5
    uploads.finish()
    assert capsys.readouterr().out == ""


def test_an_upload_that_fails_is_told_once_and_the_next_one_begins(
    hub: FakeHub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults = {0: refusal(503)}
    uploads = Uploads(folder)
    uploads.start("epoch 1", 5)
    assert capsys.readouterr().out == ""
    uploads.start("epoch 2", 10)
    assert capsys.readouterr().out == (
        "While training, uploading to ada/tuned failed: the Hub answers with status 503. "
        "The model is safe in quick/tuned; to upload it: push_model('quick/tuned')\n"
    )
    uploads.finish()
    uploads.finish()
    assert capsys.readouterr().out == ""
    assert hub.messages == ["epoch 1", "epoch 2"]
    assert uploads.step == 10


@pytest.mark.parametrize(
    "fault",
    [
        refusal(401),
        httpx.ReadTimeout("slow"),
        ConnectionError("no route"),
        given_up(),
        json.JSONDecodeError("Expecting value", "<html>", 0),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_whatever_an_upload_fails_of_is_told_and_leaves_no_step_uploaded(
    hub: FakeHub, folder: Path, fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults = {0: fault}
    uploads = Uploads(folder, token=TOKEN)
    uploads.start("epoch 1", 5)
    uploads.finish()
    out = capsys.readouterr().out
    assert out.startswith("While training, ")
    assert "uploading to ada/tuned failed: " in out
    assert out.count("\n") == 1
    assert TOKEN not in out
    assert uploads.step is None


@pytest.mark.parametrize("bug", [TypeError("a bug"), ValueError("a bug"), RuntimeError("a bug")], ids=repr)
def test_a_bug_in_an_upload_is_not_hidden(hub: FakeHub, folder: Path, bug: Exception) -> None:
    hub.faults = {0: bug}
    uploads = Uploads(folder)
    uploads.start("epoch 1", 5)
    with pytest.raises(type(bug), match="a bug"):
        uploads.finish()


def test_the_end_waits_for_the_upload_under_way_and_says_so(
    hub: FakeHub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults = {0: None}
    uploads = Uploads(folder)
    uploads.start("epoch 1", 5)
    end = threading.Thread(target=uploads.finish)
    end.start()
    end.join(0.2)
    assert end.is_alive()
    hub.uploads[0].job.set_result(None)
    end.join(5)
    assert not end.is_alive()
    assert capsys.readouterr().out == "Waiting for the upload to ada/tuned\n"


def test_a_model_is_pushed_in_one_commit_and_its_page_named(hub: FakeHub, folder: Path) -> None:
    assert push_model(folder) == "https://hub.test/ada/tuned"
    assert push_model(str(folder), "other") == "https://hub.test/ada/other"
    assert hub.repositories == ["tuned", "other"]
    assert [upload.repository for upload in hub.uploads] == ["ada/tuned", "ada/other"]
    assert all(set(upload.files) == SHARED and not upload.background for upload in hub.uploads)


def test_a_push_that_fails_is_an_error_that_says_where_the_model_is_and_how_to_try_again(
    hub: FakeHub, folder: Path
) -> None:
    hub.faults = {0: refusal(503)}
    with pytest.raises(ConnectionError) as caught:
        push_model(folder)
    assert str(caught.value) == (
        "uploading to ada/tuned failed: the Hub answers with status 503. "
        "The model is safe in quick/tuned; to upload it: push_model('quick/tuned')"
    )
    assert push_model(folder) == "https://hub.test/ada/tuned"


@pytest.mark.parametrize("name", ["quick/nothing", "quick/tuned/config.json"])
def test_a_folder_without_a_model_is_not_pushed(hub: FakeHub, folder: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"there is no model\.safetensors in {name}: save the model there"):
        push_model(name)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        push_model(folder)
    assert (hub.repositories, hub.uploads) == ([], [])


def test_a_model_in_parts_is_pushed_if_all_of_them_are_there(
    hub: FakeHub, folder: Path, model: GPT2LMHeadModel
) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="500KB")
    parts = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(parts) > 1
    push_model(folder)
    assert {*parts, "model.safetensors.index.json"} <= set(hub.uploads[0].files)
    (folder / parts[-1]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"there is no {parts[-1]} in quick/tuned: save the model there"):
        push_model(folder)


CACHE = ["/home/ada lovelace/.cache/hub", r"C:\\Users\\ada\\hub"]  # as JSON has them


@pytest.mark.parametrize("cache", CACHE)
def test_an_adapter_names_its_base_model_by_its_name_on_the_hub(hub: FakeHub, folder: Path, cache: str) -> None:
    slash = "\\\\" if "C:" in cache else "/"
    base = slash.join([cache, "models--ada--base", "snapshots", "0123abcd"])
    (folder / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{base}", "r": 8}}')
    (folder / "README.md").write_text(f"base_model: {base}\ntags:\n- base_model:adapter:{base}\n- lora\n")
    push_model(folder)
    files = hub.uploads[0].files
    assert json.loads(files["adapter_config.json"]) == {"base_model_name_or_path": "ada/base", "r": 8}
    assert files["README.md"] == b"base_model: ada/base\ntags:\n- base_model:adapter:ada/base\n- lora\n"
    assert set(files) == SHARED | {"adapter_config.json"}


@pytest.mark.parametrize("base", ["/home/ada/base", "quick"])
def test_an_adapter_to_a_model_of_this_machine_is_not_shared(
    hub: FakeHub, folder: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    sentence = f"the adapter in quick/tuned is for the model in {base}, which only this machine has: share that model"
    with pytest.raises(ValueError, match=sentence):
        push_model(folder)
    Uploads(folder).start("epoch 1", 5)
    assert f"Not uploading to ada/tuned: {sentence}" in capsys.readouterr().out
    assert hub.uploads == []


def test_a_file_of_ones_own_that_cannot_be_read_is_not_taken_for_the_cache(hub: FakeHub, folder: Path) -> None:
    hub.faults = {0: PermissionError(errno.EACCES, "Permission denied", str(folder / "model.safetensors"))}
    with pytest.raises(
        OSError, match=r"Permission denied: 'quick/tuned/model\.safetensors'\. The model is safe"
    ) as caught:
        push_model(folder)
    assert not isinstance(caught.value, ConnectionError)
    assert "HF_HOME" not in str(caught.value)
