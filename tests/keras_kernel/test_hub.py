"""huggingface_hub 0.36, which is on requests; ``tests/unit/test_hub.py`` has what both versions share."""

import errno
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from huggingface_hub import HfApi, configure_http_backend, constants, get_session
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import PreTrainedTokenizerBase

from clmkit.chunking import prepare_blocks
from clmkit.evaluation import LossHistory, Score
from clmkit.hub import client as hub_client
from clmkit.hub import download
from clmkit.hub import login as hub
from clmkit.hub.client import HUB_ERRORS, explain, few_retries, is_disk_full, limit_waits, status_of
from clmkit.hub.login import choose_sharing, login_status
from clmkit.tracks import Track
from clmkit.training.model_card import write_card
from tests.fake_hub import TOKEN


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Hub that takes a request and never answers, and no more than a moment to wait for it."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setattr(hub_client, "READING_SECONDS", 0.1)
    monkeypatch.setattr(hub_client, "WRITING_SECONDS", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    limit_waits.cache_clear()
    yield url
    limit_waits.cache_clear()
    configure_http_backend()
    listener.close()


def test_huggingface_hub_itself_sets_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # If this fails, maybe limits of the course's own are no longer needed.
    limits: list[object] = []

    def send(self: object, request: object, **options: object) -> None:
        limits.append(options["timeout"])
        raise requests.ConnectionError

    configure_http_backend()
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with pytest.raises(requests.ConnectionError):
        HfApi(token=TOKEN).whoami()
    assert limits == [None]


@pytest.mark.parametrize(("method", "least"), [("GET", 0.1), ("HEAD", 0.1), ("POST", 0.3), ("PUT", 0.3)])
def test_a_request_that_hears_nothing_ends(silent: str, method: str, least: float) -> None:
    limit_waits()
    start = time.monotonic()
    with pytest.raises(requests.Timeout):
        get_session().request(method, silent)
    assert least <= time.monotonic() - start < 5


def test_a_limit_that_the_request_has_stays(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "READING_SECONDS", 60)
    limit_waits()
    start = time.monotonic()
    with pytest.raises(requests.Timeout):
        get_session().get(silent, timeout=0.1)
    assert time.monotonic() - start < 5


def test_limiting_a_second_time_keeps_the_session(silent: str) -> None:
    limit_waits()
    session = get_session()
    limit_waits()
    assert get_session() is session


def test_a_request_is_made_twice_and_no_more(silent: str) -> None:
    limit_waits()
    with few_retries():
        for kind in (requests.Timeout, requests.Timeout, ConnectionError):
            with pytest.raises(kind):
                get_session().get(silent)


def refusal(status: int) -> HfHubHTTPError:
    response = requests.Response()
    response.status_code = status
    return HfHubHTTPError(f"{status}", response=response)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (refusal(401), PermissionError, "the Hub wants a login (status 401)"),
        (refusal(403), PermissionError, "the token does not allow it (status 403)"),
        (refusal(503), ConnectionError, "the Hub answers with status 503"),
        (requests.ConnectionError("refused"), ConnectionError, "ConnectionError: refused"),
        (requests.ReadTimeout("slow"), ConnectionError, "ReadTimeout: slow"),
        (requests.exceptions.ChunkedEncodingError("cut"), ConnectionError, "ChunkedEncodingError: cut"),
        (requests.JSONDecodeError("x", "<html>", 0), ConnectionError, f"what answers at {constants.ENDPOINT} is not"),
        (json.JSONDecodeError("x", "<html>", 0), ConnectionError, f"what answers at {constants.ENDPOINT} is not"),
        (LocalEntryNotFoundError("no such snapshot"), ConnectionError, "LocalEntryNotFoundError: no such snapshot"),
        (OSError(errno.ENOSPC, "x"), OSError, "the disk is full"),
    ],
)
def test_what_the_clients_raise_is_told_in_a_sentence(error: Exception, kind: type[OSError], reason: str) -> None:
    assert isinstance(error, HUB_ERRORS)
    told = explain(error, "downloading ada/model", "Run this again")
    assert type(told) is kind
    assert f"downloading ada/model failed: {reason}" in str(told)
    assert is_disk_full(told) is (kind is OSError)


def test_an_error_without_an_answer_has_no_status() -> None:
    assert status_of(LocalEntryNotFoundError("no such snapshot")) is None
    assert status_of(refusal(429)) == 429


def test_a_hub_that_falls_silent_after_it_answered_is_said(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", silent)
    monkeypatch.setattr(hub, "check_hub", lambda: None)
    monkeypatch.setattr(hub, "HfApi", lambda: HfApi(endpoint=silent))
    status = login_status()
    assert "can't be checked now: " in status
    assert TOKEN not in status
    with pytest.raises(ConnectionError, match=r"choose_sharing\(False\)") as caught:
        choose_sharing(True)
    assert TOKEN not in str(caught.value)


def test_nothing_is_found_in_an_empty_cache() -> None:
    assert download.cached_folder("ada/nothing", ["*"], required=["config.json"]) is None


def test_a_card_can_be_written_here(quick: Track, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    history = LossHistory([(1, 3.0), (2, 2.0)], [(2, 2.5)])
    score = Score(2000.0, 1000)
    card = write_card(
        tmp_path,
        quick,
        prepare_blocks(quick, tokenizer),
        framework="tf_keras",
        hyperparameters={"learning_rate": 3e-3},
        before=score,
        after=score,
        history=history,
    )
    assert "| data | eli5_sample.jsonl, sha256 " in card.text
    assert ", tensorflow " in card.text
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "losses.png"}
