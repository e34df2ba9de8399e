"""How the course talks to the Hub's clients: waits that end, retries that end, and one sentence for what failed."""

import errno
import json
import math
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from huggingface_hub import constants
from huggingface_hub import get_token as _get_token
from huggingface_hub.errors import HfHubHTTPError

if TYPE_CHECKING:
    import httpx2

# What a request to the Hub may raise: huggingface_hub 2.4's connection errors are no OSError but a relative of
# HfHubHTTPError, a page of HTML in place of JSON is a ValueError, and an upload given up is a RuntimeError.
HUB_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, *HfHubHTTPError.__bases__)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

READING_SECONDS, WRITING_SECONDS = 10, 25  # how long a request may be silent


def get_token() -> str | None:
    """The token that is logged in with, as ``huggingface_hub.get_token``, and no warning where there is none.

    In Colab, 0.36 warns at length where there is no secret; what it says, the callers say.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\nThe secret `HF_TOKEN` does not exist", UserWarning)
        return _get_token()


@contextmanager
def hub_step(step: str, remedy: str) -> Iterator[None]:
    """Turn what the Hub's clients raise within the block into one sentence, with their exception as its cause.

    Args:
        step: What is being done: "downloading distilbert/distilgpt2".
        remedy: A sentence that says what to do, and what is kept.

    Raises:
        PermissionError: If the Hub refuses the token.
        ConnectionError: If the Hub, or the way to it, fails.
        OSError: If the disk is full.
    """
    limit_waits()
    try:
        yield
    except HUB_ERRORS as error:
        raise explain(error, step, remedy) from error


def explain(error: BaseException, step: str, remedy: str) -> OSError:
    """The exception that ``hub_step`` raises in place of another one."""
    sentence = f"{step} failed: {reason(error)}."
    if is_disk_full(error):
        return OSError(
            errno.ENOSPC,
            f"{sentence} Make room, or set HF_HOME to a folder on a larger disk, and run this again",
        )
    if status_of(error) in (401, 403):
        return PermissionError(f"{sentence} {remedy}".rstrip())
    return ConnectionError(f"{sentence} {remedy}".rstrip())


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception, or one that led to it, tells of; ``None`` if none does."""
    statuses = (getattr(getattr(cause, "response", None), "status_code", None) for cause in _causes(error))
    return next((status for status in statuses if status), None)


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk, or quota, is what led to an exception."""
    return any(isinstance(cause, OSError) and cause.errno in DISK_FULL for cause in _causes(error))


def is_silence(error: BaseException) -> bool:
    """Whether a request that heard nothing for too long is what led to an exception."""
    return any(isinstance(cause, TimeoutError) for cause in _causes(error))


def reason(error: BaseException) -> str:
    """What an exception of the clients means, in a few words."""
    status = status_of(error)
    if is_disk_full(error):
        return "the disk is full"
    if status == 401:
        if get_token() is None:
            return "the Hub wants a login (status 401)"
        return "the Hub refuses the token (status 401)"
    if status == 403:
        return "the token does not allow it (status 403)"
    if status == 404:
        return "the Hub has no such thing, or it is private (status 404)"
    if status:
        return f"the Hub answers with status {status}"
    causes = [cause for cause in _causes(error) if isinstance(cause, HUB_ERRORS)]
    if any(isinstance(cause, json.JSONDecodeError) for cause in causes):
        return f"what answers at {constants.ENDPOINT} is not the Hub; some networks want a login in the browser first"
    root = causes[-1] if causes else error
    # A complaint about a malformed header quotes the header.
    lines = re.sub("Bearer .*", "Bearer ...", str(root)).splitlines()
    return f"{type(root).__name__}: {lines[0].rstrip('.')}" if lines else type(root).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """The exception, what it was raised from, and so on."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    return causes


class Retries:
    """Ends huggingface_hub's retries of a request when patience is over; by themselves they take 23 to 65 seconds.

    A retry asks for the same bytes, to within a mebibyte: a download that breaks off and gets on may go on.
    """

    def __init__(self) -> None:
        self._patience, self._began = math.inf, dict[tuple[str, int], float]()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let no retry begin, while the block runs, that many seconds after the first try."""
        self._patience, self._began = seconds, {}
        try:
            yield
        finally:
            self._patience = math.inf

    def are_over(self, method: str | None, url: object, headers: Mapping[str, Any], more: float = 0.0) -> bool:
        """Whether patience, or so many seconds more, has passed since a request was first made."""
        if self._patience == math.inf or method not in ("GET", "HEAD"):
            return False
        start = re.match(r"bytes=(\d+)", headers.get("Range", ""))
        began = self._began.setdefault((f"{method} {url}", int(start[1]) >> 20 if start else 0), time.monotonic())
        return time.monotonic() - began > self._patience + more


RETRIES = Retries()


def _is_retried(status: int) -> bool:
    """Whether huggingface_hub would make a request anew that was answered with this status."""
    return status == 429 or status >= 500


@cache  # a second time would close the connections of an upload that is under way
def limit_waits() -> None:
    """Let no request of huggingface_hub wait for ever, as most of them would by default (0.36 and 2.4).

    A request that hears nothing for 10 seconds while reading, or 25 while writing, ends with the client's own error.
    What huggingface_hub gives a limit of its own keeps it.
    """
    if constants.HF_HUB_OFFLINE:
        return
    try:
        from huggingface_hub import set_client_factory
    except ImportError:  # 0.36, of the Keras kernel
        _limit_waits_of_requests()
        return
    set_client_factory(_client)


def _seconds(method: str | None) -> int:
    return READING_SECONDS if method in ("GET", "HEAD") else WRITING_SECONDS


def _client() -> "httpx2.Client":
    # Private, but the only way to the client that huggingface_hub would make itself; a test names it.
    from huggingface_hub.utils._http import default_client_factory

    def limit(request: "httpx2.Request") -> None:
        given = request.extensions.get("timeout", {})
        parts = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = {part: given.get(part) or _seconds(request.method) for part in parts}
        if RETRIES.are_over(request.method, request.url, request.headers, READING_SECONDS):
            raise TimeoutError("timed out")

    def end_retries(response: "httpx2.Response") -> None:
        request = response.request
        if _is_retried(response.status_code) and RETRIES.are_over(request.method, request.url, request.headers):
            response.raise_for_status()

    client = default_client_factory()
    hooks = client.event_hooks
    hooks["request"].append(limit)
    hooks["response"].append(end_retries)
    client.event_hooks = hooks
    return client


def _limit_waits_of_requests() -> None:
    import requests
    from huggingface_hub import configure_http_backend

    class Limited(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
            options["timeout"] = options.get("timeout") or _seconds(request.method)
            if RETRIES.are_over(request.method, request.url, request.headers, READING_SECONDS):
                raise TimeoutError("timed out")
            response = super().send(request, **options)
            if _is_retried(response.status_code) and RETRIES.are_over(request.method, request.url, request.headers):
                response.raise_for_status()
            return response

    def session() -> requests.Session:
        session = requests.Session()
        session.mount("http://", Limited())
        session.mount("https://", Limited())
        return session

    configure_http_backend(session)
