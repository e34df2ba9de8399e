"""A Hub in the place of ``HfApi`` that notes what it is asked, and answers as a test wants it to."""

import inspect
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from huggingface_hub import HfApi

TOKEN = "hf_madeUpForThisTest"


class Upload(NamedTuple):
    """One upload, with the files as they were when it began."""

    repository: str
    message: str
    files: dict[str, bytes]
    job: "Future[None]"


class FakeHub:
    """Attributes:
    tokens: What each client was made with.
    repositories: The names that were asked for.
    uploads: Each upload, in order.
    faults: By the upload's number, from 0: an error that it ends with, or None where a test ends it itself.
    """

    def __init__(self) -> None:
        self.tokens: list[str | None] = []
        self.repositories: list[str] = []
        self.uploads: list[Upload] = []
        self.faults: dict[int, Exception | None] = {}

    def __call__(self, **options: Any) -> "FakeHub":
        inspect.signature(HfApi).bind(**options)
        self.tokens.append(options.get("token"))
        return self

    def create_repo(self, *arguments: Any, **options: Any) -> SimpleNamespace:
        call = inspect.signature(HfApi.create_repo).bind(self, *arguments, **options).arguments
        assert call["exist_ok"], "the second run of a notebook would fail"
        self.repositories.append(call["repo_id"])
        return SimpleNamespace(repo_id=f"ada/{call['repo_id']}")

    def upload_folder(self, **options: Any) -> "Future[None]":
        call = inspect.signature(HfApi.upload_folder).bind(self, **options).arguments
        assert call["run_as_future"], "training would wait for the upload"
        folder = Path(call["folder_path"])
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        job: Future[None] = Future()
        fault = self.faults.get(len(self.uploads), job)
        if isinstance(fault, Exception):
            job.set_exception(fault)
        elif fault is job:
            job.set_result(None)
        self.uploads.append(Upload(call["repo_id"], call["commit_message"], files, job))
        return job

    @property
    def messages(self) -> list[str]:
        return [upload.message for upload in self.uploads]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The Hub that the callbacks talk to."""
    fake = FakeHub()
    monkeypatch.setattr("clmkit.training.keras_callbacks.HfApi", fake)
    return fake
