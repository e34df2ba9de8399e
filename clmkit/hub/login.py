"""The Hugging Face Hub: is it there, who is logged in, and shall a model be shared."""

import os
from typing import Any

from huggingface_hub import HfApi, constants, get_session

from clmkit.hub.client import HUB_ERRORS, NotSetUp, certificate_problem, get_token, limit_waits, reason, status_of
from clmkit.messages import _, break_lines

TOKENS = "https://huggingface.co/settings/tokens"


def check_hub(timeout: float = 5.0) -> None:
    """Ask the Hub for one header.

    Args:
        timeout: Seconds to wait for an answer.

    Raises:
        ConnectionError: If it does not answer; the message says what is wrong, in a few words.
    """
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    limit_waits()
    try:
        answer = get_session().head(constants.ENDPOINT, timeout=timeout, headers={"User-Agent": "clmkit"})
        if answer.status_code >= 500:
            answer.raise_for_status()
    except NotSetUp as error:
        raise ConnectionError(f"{constants.ENDPOINT} can't be asked: {error}") from error
    except HUB_ERRORS as error:
        if problem := certificate_problem(error):
            raise ConnectionError(f"{constants.ENDPOINT} can't be asked: {problem}") from error
        status = status_of(error)
        problem = f"answers with status {status}" if status else f"does not answer: {reason(error).split(': ', 1)[-1]}"
        raise ConnectionError(f"{constants.ENDPOINT} {problem}") from error


def hub_problem() -> str | None:
    """What is wrong with the Hub, in a few words, as ``check_hub`` has it; ``None`` if it answers."""
    try:
        check_hub()
    except ConnectionError as error:
        return str(error)
    return None


def login_status() -> str:
    """Find out whether this machine can share on the Hub (the guide's first step, ``notebook_login()``).

    A token is looked for where huggingface_hub looks: ``HF_TOKEN``, Colab's secret of that name, and the file that a
    login writes. Without one, no request is made. The token itself is never part of the answer.

    Returns:
        One sentence: who is logged in, or why no one is and what still works.
    """
    return break_lines(_login_status())


def _login_status() -> str:
    if get_token() is None:
        return _(
            "Not logged in. Everything in this course but sharing works without. "
            "To log in: notebook_login(), or set HF_TOKEN."
        )
    try:
        name, may_write = _whoami()
    except PermissionError as error:
        return _(
            "The Hub refuses the token (status {status}). Make a new one at {address}, and log in again. "
            "Everything in this course but sharing works without.",
            status=status_of(error),
            address=TOKENS,
        )
    except ConnectionError as error:
        return _(
            "There is a token, but it can't be checked now: {error}. "
            "Everything in this course but sharing works without.",
            error=error,
        )
    if may_write:
        return _("Logged in as {name}. Sharing works.", name=name)
    return _("Logged in as {name}. This token may only read: sharing needs one that may write.", name=name)


def choose_sharing(share: bool | None = None) -> bool:
    """Decide whether the model that a notebook trains is shared on the Hub, and print one line.

    Args:
        share: ``True`` shares, ``False`` does not. Without it the environment variable ``CLMKIT_SHARE`` decides: 1
            shares; without that, nothing is shared.

    Returns:
        Whether to share.

    Raises:
        PermissionError: If it was asked for without a token that may write.
        ConnectionError: If it was asked for and the Hub can't be asked whose the token is.
    """
    if share is None:
        share = os.environ.get("CLMKIT_SHARE") == "1"
    if not share:
        print(_("Not sharing: the model stays in this folder. To share it on the Hub: choose_sharing(True)."))
        return False
    without = "To go on without: choose_sharing(False)."
    if get_token() is None:
        raise PermissionError(f"sharing needs a login, and there is no token: notebook 1 shows the ways. {without}")
    try:
        name, may_write = _whoami()
    except OSError as error:
        raise type(error)(f"sharing is not possible now: {error}. {without}") from error
    if not may_write:
        raise PermissionError(f"the token of {name} may only read; sharing needs one that may write. {without}")
    print(_("Sharing: the model will be uploaded to the account {name}.", name=name))
    return True


def user_name() -> str:
    """The name of the account that is logged in.

    Raises:
        PermissionError: If there is no token, or the Hub refuses it.
        ConnectionError: If the Hub can't be asked.
    """
    if get_token() is None:
        raise PermissionError("not logged in")
    return _whoami()[0]


def _whoami() -> tuple[str, bool]:
    """The name behind the token, and whether it may write."""
    check_hub()
    limit_waits()
    try:
        account = HfApi().whoami()
    except HUB_ERRORS as error:
        status = status_of(error)
        if status in (401, 403):
            raise PermissionError(
                f"The Hub refuses the token (status {status}). Make a new one at {TOKENS}, and log in again"
            ) from error
        raise ConnectionError(reason(error)) from error
    return str(account["name"]), _may_write(account.get("auth", {}).get("accessToken", {}))


def _may_write(token: dict[str, Any]) -> bool:
    """Whether a token may write to some repository; where the Hub does not say, it decides when something is shared.

    A login by ``notebook_login()`` may have no role.
    """
    if fine := token.get("fineGrained"):
        return any("repo.write" in scope.get("permissions", []) for scope in fine.get("scoped", []))
    return token.get("role") != "read"
