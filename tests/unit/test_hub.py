import errno
import json
import re
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import HfApi, constants, get_session, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import _http, http_backoff

from clmkit.hub import client as hub_client
from clmkit.hub import login as hub
from clmkit.hub.client import (
    HUB_ERRORS,
    explain,
    few_retries,
    hub_step,
    is_disk_full,
    is_final,
    is_hub_error,
    is_silence,
    limit_waits,
    status_of,
)
from clmkit.hub.download import download_model
from clmkit.hub.login import check_hub, choose_sharing, hub_problem, login_status, user_name
from tests.fake_hub import TOKEN, httpx


def refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("asked the Hub")


def down(problem: str | None) -> None:
    """What ``check_hub`` makes of a problem."""
    if problem:
        raise ConnectionError(problem)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[tuple[str, str]]]]:
    """Make a server on loopback the Hub; it answers every request with one status, and lists the requests."""
    requests: list[tuple[str, str]] = []
    status = 200

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            requests.append((self.command, self.headers["User-Agent"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def start(code: int) -> list[tuple[str, str]]:
        nonlocal status
        status = code
        return requests

    yield start
    server.shutdown()
    server.server_close()


@pytest.fixture
def raw_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes | None], None]]:
    """Make a bare socket the Hub: it sends the bytes and closes, or with ``None`` never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    thread: Thread | None = None

    def start(reply: bytes | None) -> None:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply or b"")

        nonlocal thread
        if reply is not None:
            thread = Thread(target=serve, daemon=True)
            thread.start()

    yield start
    if thread:
        thread.join(10)
    listener.close()


def test_a_hub_that_answers_is_no_problem_and_gets_one_head_request(answer: Callable[[int], list[object]]) -> None:
    requests = answer(200)
    assert hub_problem() is None
    assert requests == [("HEAD", "clmkit")]


@pytest.mark.parametrize("status", [401, 404, 429])
def test_a_hub_that_refuses_this_request_is_there_all_the_same(
    answer: Callable[[int], list[object]], status: int
) -> None:
    answer(status)
    assert hub_problem() is None


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_that_fails_is_a_problem(answer: Callable[[int], list[object]], status: int) -> None:
    answer(status)
    assert hub_problem() == f"{constants.ENDPOINT} answers with status {status}"


def test_a_closed_port_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    assert str(hub_problem()).startswith(f"http://127.0.0.1:{port} does not answer: ")


def test_a_name_that_does_not_resolve_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    assert "http://hub.invalid does not answer" in str(hub_problem())


def test_a_hub_that_never_answers_is_a_problem_after_the_timeout(raw_server: Callable[[bytes | None], None]) -> None:
    raw_server(None)
    with pytest.raises(ConnectionError, match="timed out"):
        check_hub(timeout=0.2)


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"], ids=["hangs up", "not HTTP"])
def test_a_server_that_does_not_speak_http_is_a_problem(
    raw_server: Callable[[bytes | None], None], reply: bytes
) -> None:
    raw_server(reply)
    assert "does not answer" in str(hub_problem())


def test_an_endpoint_that_is_no_address_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "huggingface.co")
    assert "huggingface.co" in str(hub_problem())


def test_offline_by_choice_is_a_problem_without_a_request(
    answer: Callable[[int], list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = answer(200)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_problem() == "HF_HUB_OFFLINE is set"
    assert requests == []


def account(role: str | None) -> dict[str, Any]:
    token = {"displayName": "course"} | ({"role": role} if role else {})
    return {"name": "ada", "auth": {"type": "access_token", "accessToken": token}}


def refusal(status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "http://127.0.0.1/api/whoami-v2")
    return HfHubHTTPError(f"{status}", response=httpx.Response(status, request=request))


@pytest.fixture
def hub_says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Log in, and let the Hub answer ``whoami`` with an account or a fault."""

    def start(reply: dict[str, Any] | Exception, problem: str | None = None) -> list[str]:
        asked: list[str] = []

        def whoami(self: HfApi, *arguments: object, **options: object) -> dict[str, Any]:
            asked.append("whoami")
            if isinstance(reply, Exception):
                raise reply
            return reply

        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(hub, "check_hub", lambda: down(problem))
        monkeypatch.setattr(HfApi, "whoami", whoami)
        return asked

    return start


def test_without_a_token_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "check_hub", refuse)
    monkeypatch.setattr(HfApi, "whoami", refuse)
    assert login_status() == (
        "Not logged in. Everything in this course but sharing works without. "
        "To log in: notebook_login(), or set HF_TOKEN."
    )


def test_where_there_is_no_token_huggingface_hubs_warning_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_token() -> str | None:
        # What 0.36 says in Colab.
        warnings.warn("\nThe secret `HF_TOKEN` does not exist in your Colab secrets.\nA page of it.", stacklevel=1)
        warnings.warn("another", stacklevel=1)
        return None

    monkeypatch.setattr(hub_client, "_get_token", get_token)
    with pytest.warns(UserWarning, match="another") as shown:
        assert login_status().startswith("Not logged in.")
    assert {str(warning.message) for warning in shown} == {"another"}


def fine_grained(*permissions: str) -> dict[str, Any]:
    """What the Hub answers for a token with these permissions on what belongs to the account."""
    reply = account("fineGrained")
    scope = {"entity": {"type": "user", "name": "ada"}, "permissions": list(permissions)}
    reply["auth"]["accessToken"]["fineGrained"] = {"canReadGatedRepos": True, "global": [], "scoped": [scope]}
    return reply


def test_a_fine_grained_token_can_share_if_it_may_write_to_repositories(hub_says: Any) -> None:
    hub_says(fine_grained("repo.content.read", "repo.write"))
    assert login_status() == "Logged in as ada. Sharing works."
    hub_says(fine_grained("repo.content.read", "inference.serverless.write"))
    assert login_status() == "Logged in as ada. This token may only read: sharing needs one that may write."


@pytest.mark.parametrize("role", ["write", "fineGrained", None])
def test_a_token_that_may_write_can_share(hub_says: Any, role: str | None) -> None:
    hub_says(account(role))
    assert login_status() == "Logged in as ada. Sharing works."


def test_a_token_that_may_only_read_cannot_share(hub_says: Any) -> None:
    hub_says(account("read"))
    assert login_status() == "Logged in as ada. This token may only read: sharing needs one that may write."


def test_a_hub_that_is_down_is_said_and_not_asked_for_the_name(hub_says: Any) -> None:
    asked = hub_says(account("write"), problem="the Hub sleeps")
    assert login_status().startswith("There is a token, but it can't be checked now: the Hub sleeps.")
    assert asked == []


def test_a_token_that_the_hub_refuses_is_said_with_what_to_do(hub_says: Any) -> None:
    hub_says(refusal(401))
    status = login_status()
    assert status.startswith("The Hub refuses the token (status 401).")
    assert "https://huggingface.co/settings/tokens" in status


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_or_failing_does_not_cost_the_learner_the_token(hub_says: Any, status: int) -> None:
    hub_says(refusal(status))
    answer = login_status()
    assert str(status) in answer
    assert "refuses the token" not in answer
    assert "can't be checked now" in answer


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("connection refused"),  # no OSError, in huggingface_hub 2.4
        httpx.ReadTimeout("slow"),
        json.JSONDecodeError("Expecting value", "<html>", 0),  # a page in place of the answer
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_hub_that_goes_away_meanwhile_is_said_in_a_sentence(hub_says: Any, fault: Exception) -> None:
    hub_says(fault)
    assert "can't be checked now" in login_status()


@pytest.mark.parametrize("reply", [account("write"), account("read"), refusal(401), refusal(503)])
def test_the_token_is_never_part_of_the_answer(hub_says: Any, reply: dict[str, Any] | Exception) -> None:
    hub_says(reply)
    assert TOKEN not in login_status()


def test_a_token_that_is_no_header_is_not_part_of_the_answer(hub_says: Any) -> None:
    # So says h11, of a token with a control character in it.
    hub_says(httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}\\x0b'"))
    assert TOKEN not in login_status()
    with pytest.raises(ConnectionError) as caught:
        choose_sharing(True)
    assert TOKEN not in str(caught.value)


def test_the_users_name_is_the_accounts(hub_says: Any) -> None:
    hub_says(account("read"))
    assert user_name() == "ada"


def test_nobody_has_a_name_without_a_token_a_valid_token_or_the_hub(
    hub_says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_says(refusal(401))
    with pytest.raises(PermissionError, match=r"refuses the token \(status 401\)"):
        user_name()
    hub_says(account("write"), problem="the Hub sleeps")
    with pytest.raises(ConnectionError, match=r"^the Hub sleeps$"):
        user_name()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PermissionError, match=r"^not logged in$"):
        user_name()


@pytest.fixture
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLMKIT_SHARE", raising=False)


@pytest.mark.usefixtures("_no_wish")
@pytest.mark.parametrize(("share", "variable"), [(None, None), (None, "0"), (None, ""), (False, None), (False, "1")])
def test_nothing_is_shared_or_asked_for_unless_sharing_is_wished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], share: bool | None, variable: str | None
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(hub, "check_hub", refuse)
    monkeypatch.setattr(HfApi, "whoami", refuse)
    if variable is not None:
        monkeypatch.setenv("CLMKIT_SHARE", variable)
    assert choose_sharing(share) is False
    assert capsys.readouterr().out == (
        "Not sharing: the model stays in this folder. To share it on the Hub: choose_sharing(True).\n"
    )


@pytest.mark.usefixtures("_no_wish")
@pytest.mark.parametrize("role", ["write", "fineGrained", None])  # a login by notebook_login() may have no role
@pytest.mark.parametrize(("share", "variable"), [(True, None), (True, "0"), (None, "1")])
def test_what_is_wished_and_allowed_is_shared_and_the_account_is_named(
    hub_says: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    role: str | None,
    share: bool | None,
    variable: str | None,
) -> None:
    hub_says(account(role))
    if variable is not None:
        monkeypatch.setenv("CLMKIT_SHARE", variable)
    assert choose_sharing(share) is True
    assert capsys.readouterr().out == "Sharing: the model will be uploaded to the account ada.\n"


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize(
    ("reply", "problem", "error", "reason"),
    [
        (account("read"), None, PermissionError, "the token of ada may only read; sharing needs one that may write."),
        (refusal(401), None, PermissionError, "sharing is not possible now: The Hub refuses the token (status 401)."),
        (refusal(503), None, ConnectionError, "sharing is not possible now: the Hub answers with status 503."),
        (httpx.ConnectError("gone"), None, ConnectionError, "sharing is not possible now: ConnectError: gone."),
        (account("write"), "the Hub sleeps", ConnectionError, "sharing is not possible now: the Hub sleeps."),
    ],
)
def test_sharing_that_is_not_possible_is_an_error_that_says_how_to_go_on(
    hub_says: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reply: dict[str, Any] | Exception,
    problem: str | None,
    error: type[OSError],
    reason: str,
    by_variable: bool,
) -> None:
    hub_says(reply, problem)
    monkeypatch.setenv("CLMKIT_SHARE", "1" if by_variable else "0")
    with pytest.raises(error) as caught:
        choose_sharing(None if by_variable else True)
    assert str(caught.value).startswith(reason)
    assert str(caught.value).endswith(" To go on without: choose_sharing(False).")
    assert TOKEN not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_sharing_without_a_token_is_an_error_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "check_hub", refuse)
    monkeypatch.setattr(HfApi, "whoami", refuse)
    with pytest.raises(PermissionError) as caught:
        choose_sharing(True)
    assert str(caught.value) == (
        "sharing needs a login, and there is no token: notebook 1 shows the ways. "
        "To go on without: choose_sharing(False)."
    )


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """The exception, raised from the second one, which was raised from the third, and so on."""
    if causes:
        error.__cause__ = caused(*causes)
    return error


FULL = OSError(errno.ENOSPC, "No space left on device")
NOT_THERE = "An error happened while trying to locate the files on the Hub"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (refusal(401), PermissionError, "the Hub wants a login (status 401)"),
        (refusal(403), PermissionError, "the token does not allow it (status 403)"),
        (refusal(404), ConnectionError, "the Hub has no such thing, or it is private (status 404)"),
        (refusal(503), ConnectionError, "the Hub answers with status 503"),
        (
            httpx.ConnectError("[Errno 111] Connection refused"),
            ConnectionError,
            "ConnectError: [Errno 111] Connection",
        ),
        (httpx.ReadTimeout(""), ConnectionError, "ReadTimeout"),
        (
            json.JSONDecodeError("Expecting value", "<html>", 0),
            ConnectionError,
            "what answers at http://127.0.0.1:9 is",
        ),
        (OSError("Error while reading.\nA page of it."), ConnectionError, "OSError: Error while reading"),
        (
            caused(RuntimeError("Error while uploading"), refusal(503)),
            ConnectionError,
            "the Hub answers with status 503",
        ),
        (caused(LocalEntryNotFoundError(NOT_THERE), refusal(503)), ConnectionError, "the Hub answers with status 503"),
        (caused(LocalEntryNotFoundError(NOT_THERE), refusal(401)), PermissionError, "the Hub wants a login"),
        (
            caused(LocalEntryNotFoundError(NOT_THERE), httpx.ConnectError("x"), ConnectionRefusedError("refused")),
            ConnectionError,
            "ConnectionRefusedError: refused",
        ),
        (caused(RuntimeError("upload"), FULL), OSError, "the disk is full"),
    ],
)
def test_a_step_that_fails_is_one_sentence_with_the_reason_and_what_to_do(
    error: Exception, kind: type[OSError], reason: str
) -> None:
    with pytest.raises(OSError, match="uploading to ada") as caught, hub_step("uploading to ada/tuned", "It is kept"):
        raise error
    said = str(caught.value).removeprefix(f"[Errno {errno.ENOSPC}] ")
    assert type(caught.value) is kind
    assert said.startswith(f"uploading to ada/tuned failed: {reason}")
    assert said.endswith(
        "It is kept" if kind is not OSError else "set HF_HOME to a folder on a larger disk, and run this again"
    )
    assert "\n" not in said
    assert ".." not in said
    assert caught.value.__cause__ is error


def test_a_full_disk_stays_one_for_who_asks() -> None:
    error = explain(caused(RuntimeError("upload"), FULL), "downloading", "Run this again")
    assert is_disk_full(error)
    assert error.errno == errno.ENOSPC


def test_a_refused_token_is_told_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the Hub wants a login (status 401)" in str(explain(refusal(401), "uploading", ""))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "the Hub refuses the token (status 401)" in str(explain(refusal(401), "uploading", ""))


def test_a_sentence_without_a_remedy_ends_with_its_full_stop() -> None:
    assert str(explain(refusal(503), "uploading", "")) == "uploading failed: the Hub answers with status 503."


@pytest.mark.parametrize(
    "error",
    [TypeError("a bug"), ValueError("a bug"), RuntimeError("a bug"), KeyboardInterrupt(), AssertionError()],
    ids=repr,
)
def test_a_bug_and_an_interrupt_go_through_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, hub_step("uploading", "Try again"):
        raise error
    assert caught.value is error


def test_a_step_that_works_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with hub_step("uploading", "Try again"):
        done = True
    assert done
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "error",
    [
        refusal(503),
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
        json.JSONDecodeError("x", "", 0),
        LocalEntryNotFoundError("x"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_clients_raise_counts_as_the_hubs_error(error: Exception) -> None:
    assert isinstance(error, HUB_ERRORS)
    assert is_hub_error(error)
    assert is_hub_error(caused(RuntimeError("Error while uploading"), error))


def test_the_status_is_that_of_the_first_exception_that_has_one() -> None:
    assert status_of(refusal(404)) == 404
    assert status_of(caused(OSError("x"), ValueError("y"), refusal(429))) == 429
    assert status_of(caused(refusal(403), refusal(500))) == 403
    assert status_of(OSError("x")) is None
    assert status_of(httpx.ConnectError("x")) is None


def test_a_cause_that_was_raised_while_handling_another_counts() -> None:
    error = OSError("no local file")
    error.__context__ = refusal(503)
    assert status_of(error) == 503


def test_causes_that_go_in_a_circle_come_to_an_end() -> None:
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert status_of(first) is None
    assert not is_disk_full(first)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_known_by_its_code_however_deep(code: int) -> None:
    assert is_disk_full(OSError(code, "x"))
    assert is_disk_full(caused(DatasetGenerationError("x"), OSError(code, "x")))


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), OSError("No space left on device"), refusal(507)])
def test_another_error_is_no_full_disk(error: OSError) -> None:
    assert not is_disk_full(error)


@pytest.mark.parametrize(
    ("error", "silent"),
    [
        (TimeoutError("timed out"), True),
        (caused(LocalEntryNotFoundError(NOT_THERE), httpx.ReadTimeout("x"), TimeoutError("timed out")), True),
        (refusal(504), False),
        (caused(httpx.ConnectError("x"), ConnectionRefusedError("x")), False),
    ],
)
def test_a_silent_hub_is_told_from_one_that_fails(error: BaseException, silent: bool) -> None:
    assert is_silence(error) is silent


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let huggingface_hub wait no longer than a moment; its own client is back after the test."""
    monkeypatch.setattr(hub_client, "READING_SECONDS", 0.1)
    monkeypatch.setattr(hub_client, "WRITING_SECONDS", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    limit_waits.cache_clear()
    yield
    limit_waits.cache_clear()
    set_client_factory(_http.default_client_factory)


def test_a_session_of_huggingface_hubs_own_still_sets_no_limit() -> None:
    # If this fails, maybe limits of the course's own are no longer needed.
    session = get_session()
    assert session.timeout == httpx.Timeout(None)
    assert session.follow_redirects
    assert session.event_hooks["request"] == [_http.hf_request_event_hook]


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(("method", "least"), [("GET", 0.1), ("POST", 0.3)])
def test_a_request_that_hears_nothing_ends(
    raw_server: Callable[[bytes | None], None], method: str, least: float
) -> None:
    raw_server(None)
    limit_waits()
    start = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        get_session().request(method, constants.ENDPOINT)
    assert least <= time.monotonic() - start < 5


@pytest.mark.usefixtures("waits")
def test_a_hub_that_falls_silent_after_it_answered_is_said(
    raw_server: Callable[[bytes | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_server(None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(hub, "check_hub", lambda: None)
    assert "can't be checked now: TimeoutError: timed out." in login_status()


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("HTTPS_PROXY", "gopher://me:secret@proxy:9", "gopher://...@proxy:9"),
        ("HTTPS_PROXY", "http://proxy:port", "http://proxy:port"),
        ("SSL_CERT_FILE", "/nowhere/own.pem", "/nowhere/own.pem"),
    ],
)
def test_what_keeps_a_session_from_being_made_is_told_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://localhost:9")
    for one in (*hub_client.PROXIES, *hub_client.CERTIFICATES):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, value)
    problem = hub_problem() or ""
    assert problem.startswith("https://localhost:9 can't be asked: ")
    assert problem.endswith(f"; the environment says {name}={shown}")
    assert "secret" not in problem
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=rf"the environment says {name}="):
        download_model("ada/none")
    assert time.monotonic() - start < 1, "it was tried again"


@pytest.mark.usefixtures("waits")
def test_a_certificate_that_is_not_accepted_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = ssl.SSLCertVerificationError(errno.EPERM, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    cause.verify_message = "self-signed certificate"
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = cause
    said = r"its certificate is not accepted \(self-signed certificate\); if it is one of your network's own, let SSL"
    told = explain(error, "downloading ada/texts", "Run this again")
    assert type(told) is ConnectionError
    assert re.search(said, str(told))
    assert is_final(error)

    class Session:
        def head(self, *_: object, **__: object) -> None:
            raise error

    monkeypatch.setattr(hub, "get_session", Session)
    with pytest.raises(ConnectionError, match=rf"^{constants.ENDPOINT} can't be asked: {said}"):
        check_hub()


class Noted(Exception):
    """Ends a request before it is sent, and has its limits."""


def limits(method: str, **options: Any) -> dict[str, float | None]:
    """How long a request of huggingface_hub's client may take to connect, read and so on."""

    def note(request: httpx.Request) -> None:
        raise Noted(request.extensions["timeout"])

    session = get_session()
    session.event_hooks = {"request": [*session.event_hooks["request"], note]}
    with pytest.raises(Noted) as caught:
        session.request(method, "http://127.0.0.1:9", **options)
    given: dict[str, float | None] = caught.value.args[0]
    return given


@pytest.mark.usefixtures("waits")
def test_reading_has_one_limit_and_writing_another() -> None:
    assert set(limits("POST").values()) == {None}
    limit_waits()
    assert limits("GET") == limits("HEAD") == dict.fromkeys(("connect", "read", "write", "pool"), 0.1)
    for method in ("POST", "PUT", "DELETE"):
        assert limits(method) == dict.fromkeys(("connect", "read", "write", "pool"), 0.3)


@pytest.mark.usefixtures("waits")
def test_a_limit_that_the_request_has_stays() -> None:
    limit_waits()
    assert set(limits("GET", timeout=7).values()) == {7}
    assert limits("POST", timeout=httpx.Timeout(None, read=7)) == {
        "connect": 0.3,
        "read": 7,
        "write": 0.3,
        "pool": 0.3,
    }


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_stays_busy_is_asked_twice_and_then_its_status_is_told(
    answer: Callable[[int], list[tuple[str, str]]], status: int
) -> None:
    requests = answer(status)
    limit_waits()
    with few_retries(), pytest.raises(httpx.HTTPStatusError) as caught:
        http_backoff("HEAD", constants.ENDPOINT, base_wait_time=0.01, max_retries=99)
    assert status_of(caught.value) == status
    assert len(requests) == 2


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("status", [200, 401, 404])
def test_an_answer_that_is_not_retried_is_left_to_the_client(
    answer: Callable[[int], list[tuple[str, str]]], status: int
) -> None:
    answer(status)
    limit_waits()
    with few_retries():
        for _ in range(2):
            assert get_session().head(constants.ENDPOINT).status_code == status
        with pytest.raises(ConnectionError, match="tried twice"):
            get_session().head(constants.ENDPOINT)
        # What gets on asks for other bytes.
        assert get_session().head(constants.ENDPOINT, headers={"Range": "bytes=9-"}).status_code == status


@pytest.mark.usefixtures("waits")
def test_outside_a_download_and_in_the_next_one_a_request_may_be_made_again(
    answer: Callable[[int], list[tuple[str, str]]],
) -> None:
    requests = answer(200)
    limit_waits()
    for _ in range(3):
        with few_retries():
            get_session().head(constants.ENDPOINT)
    for _ in range(3):
        get_session().head(constants.ENDPOINT)
    assert len(requests) == 6


@pytest.mark.usefixtures("waits")
def test_what_is_written_may_be_sent_again_at_any_time(raw_server: Callable[[bytes | None], None]) -> None:
    raw_server(None)
    limit_waits()
    with few_retries():
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                get_session().put(constants.ENDPOINT)


@pytest.mark.usefixtures("waits")
def test_what_huggingface_hub_does_with_each_request_is_still_done(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_waits()
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    with pytest.raises(OfflineModeIsEnabled):
        get_session().get("http://127.0.0.1:9")


@pytest.mark.usefixtures("waits")
def test_limiting_a_second_time_leaves_a_request_under_way_alone() -> None:
    limit_waits()
    session = get_session()
    with hub_step("uploading", "Try again"):
        limit_waits()
    assert get_session() is session
    assert not session.is_closed


def test_offline_by_choice_nothing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.set_client_factory", refuse)
    limit_waits.cache_clear()
    limit_waits()
    limit_waits.cache_clear()
