"""When the Hub's clients may ask again; ``tests/hub/test_faults.py`` has the clients themselves, on both kernels."""

import contextlib
from collections.abc import Iterator

import httpx2
import pytest

from clmkit.hub import client as hub_client
from clmkit.hub.client import READING_SECONDS, RETRIES, Retries

URL = "http://127.0.0.1:9/ada/model/resolve/main/model.safetensors"
MEBIBYTE = 1 << 20


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hub_client, "time", clock)
    return clock


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    """The client that huggingface_hub gets, within a download that has been patient for six seconds at most."""
    with RETRIES.within(6.0), hub_client._client() as client:
        yield client


def test_a_request_may_be_made_again_until_patience_is_over(clock: Clock) -> None:
    retries = Retries()
    with retries.within(6.0):
        over = []
        for seconds in (0, 1, 5, 0.5):
            clock.now += seconds
            over.append(retries.are_over("GET", URL, {}))
        assert over == [False, False, False, True]
        assert not retries.are_over("HEAD", URL, {})
        assert not retries.are_over("GET", URL + "x", {})
        assert not retries.are_over("GET", URL, {}, more=1)


def test_a_download_that_gets_on_may_go_on_and_one_that_does_not_ends(clock: Clock) -> None:
    retries = Retries()
    with retries.within(6.0):
        assert not retries.are_over("GET", URL, {})
        clock.now += 60
        assert retries.are_over("GET", URL, {"Range": f"bytes={MEBIBYTE - 1}-"})
        assert not retries.are_over("GET", URL, {"Range": f"bytes={MEBIBYTE}-"})


@pytest.mark.parametrize("method", ["PUT", "POST", None])
def test_what_is_written_may_be_sent_again_at_any_time(clock: Clock, method: str | None) -> None:
    retries = Retries()
    with retries.within(6.0):
        assert not retries.are_over(method, URL, {})
        clock.now += 60
        assert not retries.are_over(method, URL, {})


def test_before_and_after_a_download_nothing_is_over(clock: Clock) -> None:
    retries = Retries()
    with contextlib.suppress(OSError), retries.within(6.0):
        retries.are_over("GET", URL, {})
        raise OSError("broken off")
    clock.now += 60
    assert not retries.are_over("GET", URL, {})
    with retries.within(6.0):
        assert not retries.are_over("GET", URL, {})


@pytest.mark.parametrize(("status", "waits"), [(200, 60), (404, 60), (429, 1), (503, 5)])
def test_an_answer_is_left_to_the_client(client: httpx2.Client, clock: Clock, status: int, waits: float) -> None:
    judge = client.event_hooks["response"][-1]
    for _ in range(2):
        judge(httpx2.Response(status, request=httpx2.Request("GET", URL)))
        clock.now += waits


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_stays_busy_ends_a_request_with_its_status(client: httpx2.Client, clock: Clock, status: int) -> None:
    answer = httpx2.Response(status, request=httpx2.Request("GET", URL))
    judge = client.event_hooks["response"][-1]
    judge(answer)
    clock.now += 7
    with pytest.raises(httpx2.HTTPStatusError) as caught:
        judge(answer)
    assert hub_client.status_of(caught.value) == status


def test_after_one_silence_a_request_is_made_again_and_after_two_it_is_not(client: httpx2.Client, clock: Clock) -> None:
    ask = client.event_hooks["request"][-1]
    for _ in range(2):
        ask(httpx2.Request("GET", URL))
        clock.now += READING_SECONDS + 1
    with pytest.raises(TimeoutError) as caught:
        ask(httpx2.Request("GET", URL))
    assert hub_client.is_silence(caught.value)
    assert not hub_client.is_silence(ConnectionError("refused"))
