"""How the course talks to the Hub's clients: waits that end, retries that end, and one sentence for what failed."""

import errno
import json
import os
import re
import ssl
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub import get_token as _get_token
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from huggingface_hub.utils import _http

from clmkit.saving import cache_variable

# What a request to the Hub may raise: huggingface_hub 2.4's connection errors are no OSError but a relative of
# HfHubHTTPError, and a page may come in place of JSON.
HUB_ERRORS: tuple[type[Exception], ...] = (OSError, json.JSONDecodeError, *HfHubHTTPError.__bases__)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

READING_SECONDS, WRITING_SECONDS = 10, 25  # how long a request may be silent
TRIES = 2  # how often huggingface_hub may make the same request within ``few_retries``
PROXIES = [name for one in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY") for name in (one, one.lower())]
CERTIFICATES = ["SSL_CERT_FILE", "SSL_CERT_DIR"]


class NotSetUp(ConnectionError):
    """No request can be made, as no session can."""


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
    except Exception as error:
        if not is_hub_error(error):
            raise
        raise explain(error, step, remedy) from error


def is_hub_error(error: BaseException) -> bool:
    """Whether the Hub, or the way to it, failed: an upload that huggingface_hub gives up is a RuntimeError."""
    cause = error.__cause__ if type(error) is RuntimeError else error
    return isinstance(cause, HUB_ERRORS)


def explain(error: BaseException, step: str, remedy: str) -> OSError:
    """The exception that ``hub_step`` raises in place of another one."""
    sentence = f"{step} failed: {reason(error)}."
    if is_disk_full(error):
        return OSError(
            errno.ENOSPC,
            f"{sentence} Make room, or set HF_HOME to a folder on a larger disk, and run this again",
        )
    causes = [cause for cause in _causes(error) if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError)]
    refused = [cause for cause in causes if cause.errno in READ_ONLY]  # an SSLError has numbers of its own
    if refused and all(map(_is_of_cache, refused)):
        variable = cache_variable(next((cause.filename for cause in refused if cause.filename), constants.HF_HOME))
        return OSError(f"{sentence} Set {variable} to a folder that can be written, and start Python again")
    kind = OSError if refused else PermissionError if status_of(error) in (401, 403) else ConnectionError
    return kind(f"{sentence} {remedy}".rstrip())


def _is_of_cache(error: OSError) -> bool:
    """Whether what could not be read or written may be of the cache, and not a file of the learner's."""
    caches = (constants.HF_HOME, constants.HF_HUB_CACHE)
    return error.filename is None or any(Path(str(error.filename)).is_relative_to(cache) for cache in caches)


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


def is_final(error: BaseException) -> bool:
    """Whether trying again can't help."""
    refused = status_of(error) in (401, 403, 404)
    missing = type(error) in (FileNotFoundError, NotSetUp)
    return refused or missing or is_disk_full(error) or constants.HF_HUB_OFFLINE or bool(certificate_problem(error))


def certificate_problem(error: BaseException) -> str | None:
    """What is wrong with the certificate that answers; ``None`` if that did not lead to an exception."""
    found = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if found is None:
        return None
    variable = "SSL_CERT_FILE" if hasattr(_http, "_GLOBAL_CLIENT_FACTORY") else "REQUESTS_CA_BUNDLE"
    return (
        f"its certificate is not accepted ({found.verify_message}); if it is one of your network's own, let "
        f"{variable} name the file of it"
    )


def reason(error: BaseException) -> str:
    """What an exception of the clients means, in a few words."""
    status = status_of(error)
    if isinstance(error, NotSetUp):
        return str(error)
    if problem := certificate_problem(error):
        return f"{constants.ENDPOINT} can't be asked, as {problem}"
    if is_disk_full(error):
        return "the disk is full"
    if any(isinstance(cause, GatedRepoError) for cause in _causes(error)):
        return f"its owner gives access on request: ask for it on its page, and log in (status {status})"
    if status == 401:
        return f"the Hub {'refuses the token' if get_token() else 'wants a login'} (status 401)"
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


# How often each request for reading was made within ``few_retries``, by its method, address and first byte.
_tries: Counter[tuple[str, str, str]] | None = None


@contextmanager
def few_retries() -> Iterator[None]:
    """Let huggingface_hub make each request for reading no more than twice while the block runs.

    By itself it makes it six times: 65 seconds where a "download stalls always", 46 where the data's "HEAD 503 always"
    (rows of benchmarks/hub_faults.md). A download that gets on asks for other bytes each time, and may go on.
    """
    global _tries
    _tries = Counter()
    try:
        yield
    finally:
        _tries = None


@cache  # a second time would close the connections of an upload that is under way
def limit_waits() -> None:
    """Let no request of huggingface_hub wait for ever, as most of them would by default (0.36 and 2.4).

    A request that hears nothing for 10 seconds while reading, or 25 while writing, ends with the client's own error.
    What huggingface_hub gives a limit of its own keeps it.
    """
    if constants.HF_HUB_OFFLINE:
        return
    http: Any = _http
    # What makes its sessions, perhaps the user's own, with a proxy and certificates; huggingface_hub has it for itself,
    # and a test names it.
    try:
        from huggingface_hub import set_client_factory
    except ImportError:  # 0.36, of the Keras kernel, whose sessions are requests'
        from huggingface_hub import configure_http_backend

        make = http._GLOBAL_BACKEND_FACTORY
        configure_http_backend(lambda: _limited(_set_up(make)))
    else:
        make = http._GLOBAL_CLIENT_FACTORY
        set_client_factory(lambda: _limited(_set_up(make)))


def _set_up(make: Callable[[], Any]) -> Any:
    """Make a session.

    Raises:
        NotSetUp: If what the environment says of a proxy or of certificates keeps it from being made.
    """
    try:
        return make()
    except Exception as error:
        # httpx's InvalidURL is of no family, and is called httpx or httpx2's.
        if not isinstance(error, (*HUB_ERRORS, ImportError, ValueError)) and type(error).__name__ != "InvalidURL":
            raise
        names = CERTIFICATES if isinstance(error, OSError) else PROXIES
        given = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
        shown = re.sub("//[^/@]*@", "//...@", ", ".join(given))  # a proxy's password
        raise NotSetUp(f"{str(error).rstrip('.')}; the environment says {shown or 'nothing of it'}") from error


def _limited(session: Any) -> Any:
    """A session, of requests or httpx, whose every request has a time limit and counts as a try.

    A limit of the session as a whole is not enough: where huggingface_hub has none, it asks for none, and "no answer
    past the front page" (a row of benchmarks/hub_faults.md) lasts for ever.
    """
    send = session.send

    def send_limited(request: Any, **options: Any) -> Any:
        seconds = READING_SECONDS if request.method in ("GET", "HEAD") else WRITING_SECONDS
        if hasattr(request, "extensions"):  # httpx
            given = request.extensions["timeout"]
            request.extensions["timeout"] = {part: given[part] or seconds for part in given}
        else:
            options["timeout"] = options.get("timeout") or seconds
        tries = _count(request)
        if tries > TRIES:
            raise ConnectionError("it was tried twice")
        response = send(request, **options)
        if tries == TRIES and response.status_code >= 429:
            response.raise_for_status()
        return response

    session.send = send_limited
    return session


def _count(request: Any) -> int:
    """How often a request was made within ``few_retries``, this time too; 0 for one that is not limited."""
    if _tries is None or request.method not in ("GET", "HEAD"):
        return 0
    key = request.method, str(request.url), request.headers.get("Range", "")
    _tries[key] += 1
    return _tries[key]
