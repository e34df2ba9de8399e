import json
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from clmkit import hub
from clmkit.hub import login_status

TOKEN = "hf_madeUpForThisTest"


def account(role: str | None) -> dict[str, Any]:
    token = {"displayName": "course"} | ({"role": role} if role else {})
    return {"name": "ada", "auth": {"type": "access_token", "accessToken": token}}


def refusal(status: int) -> HfHubHTTPError:
    request = httpx2.Request("GET", "http://127.0.0.1/api/whoami-v2")
    return HfHubHTTPError(f"{status}", response=httpx2.Response(status, request=request))


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
        monkeypatch.setattr(hub, "hub_problem", lambda: problem)
        monkeypatch.setattr(HfApi, "whoami", whoami)
        return asked

    return start


def test_without_a_token_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("asked the Hub")

    monkeypatch.setattr(hub, "hub_problem", refuse)
    monkeypatch.setattr(HfApi, "whoami", refuse)
    assert login_status() == (
        "Not logged in. Everything in this course but sharing works without. "
        "To log in: notebook_login(), or set HF_TOKEN."
    )


@pytest.mark.parametrize("role", ["write", "fineGrained"])
def test_a_token_that_may_write_can_share(hub_says: Any, role: str) -> None:
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
        httpx2.ConnectError("connection refused"),  # no OSError, in huggingface_hub 2.4
        httpx2.ReadTimeout("slow"),
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
