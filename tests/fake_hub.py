"""A Hub in the place of ``HfApi`` that notes what it is asked, and answers as a test wants it to."""

import importlib
import inspect
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import filter_repo_objects

from tests.tokens import remember

# The library by which this huggingface_hub speaks HTTP: httpx2 from version 2 on, httpx or requests before.
httpx = importlib.import_module(HfHubHTTPError.__mro__[1].__module__.partition(".")[0])
TOKEN = remember("hf_madeUpForThisTest")


class Upload(NamedTuple):
    """One upload, with the files as they were when it began, and without those that it leaves out."""

    repository: str
    message: str
    files: dict[str, bytes]
    job: "Future[None]"
    background: bool


class FakeHub:
    """Attributes:
    tokens: What each client was made with.
    repositories: The names that were asked for.
    private: For each of them, whether it is to be private.
    public: The names of those that are there already, and public.
    uploads: Each upload, in order.
    faults: By the upload's number, from 0: an error that it ends with, or None where a test ends it itself.
    """

    endpoint = "https://hub.test"

    def __init__(self) -> None:
        self.tokens: list[str | None] = []
        self.repositories: list[str] = []
        self.private: list[bool | None] = []
        self.public: set[str] = set()
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
        self.private.append(call["private"])
        return SimpleNamespace(repo_id=f"ada/{call['repo_id']}")

    def model_info(self, *arguments: Any, **options: Any) -> SimpleNamespace:
        name = inspect.signature(HfApi.model_info).bind(self, *arguments, **options).arguments["repo_id"]
        asked = dict(zip(self.repositories, self.private, strict=True))
        return SimpleNamespace(private=asked[name.removeprefix("ada/")] and name not in self.public)

    def upload_folder(self, **options: Any) -> "Future[None] | None":
        call = inspect.signature(HfApi.upload_folder).bind(self, **options).arguments
        folder, background = Path(call["folder_path"]), call.get("run_as_future", False)
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        shared = filter_repo_objects(names, ignore_patterns=call.get("ignore_patterns"))
        files = {name: (folder / name).read_bytes() for name in shared}
        job: Future[None] = Future()
        fault = self.faults.get(len(self.uploads), job)
        self.uploads.append(Upload(call["repo_id"], call["commit_message"], files, job, background))
        if isinstance(fault, Exception):
            job.set_exception(fault)
        elif fault is job:
            job.set_result(None)
        return job if background else job.result()

    @property
    def messages(self) -> list[str]:
        return [upload.message for upload in self.uploads]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The Hub that models are uploaded to."""
    fake = FakeHub()
    monkeypatch.setattr("clmkit.hub.upload.HfApi", fake)
    return fake
