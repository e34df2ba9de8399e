"""Who is logged in to the Hugging Face Hub, said in one sentence."""

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError

from clmkit.tracks import hub_problem

# What a request to the Hub may raise: huggingface_hub 2.4's connection errors are no OSError but a relative of
# HfHubHTTPError, and a page of HTML in place of JSON is a ValueError.
HUB_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError, *HfHubHTTPError.__bases__)


def login_status() -> str:
    """Find out whether this machine can share on the Hub (the guide's first step, ``notebook_login()``).

    A token is looked for where huggingface_hub looks: ``HF_TOKEN``, Colab's secret of that name, and the file that a
    login writes. Without one, no request is made. The token itself is never part of the answer.

    Returns:
        One sentence: who is logged in, or why no one is and what still works.
    """
    without = "Everything in this course but sharing works without."
    if get_token() is None:
        return f"Not logged in. {without} To log in: notebook_login(), or set HF_TOKEN."
    if problem := hub_problem():
        return f"There is a token, but it can't be checked now: {problem}. {without}"
    try:
        account = HfApi().whoami()
    except HUB_ERRORS as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status not in (401, 403):
            reason = f"the Hub answers with status {status}" if status else f"{type(error).__name__}: {error}"
            return f"There is a token, but it can't be checked now: {reason}. {without}"
        new = "Make a new one at https://huggingface.co/settings/tokens, and log in again."
        return f"The Hub refuses the token (status {status}). {new} {without}"
    token = account.get("auth", {}).get("accessToken", {})
    may_write = token.get("role") in ("write", "fineGrained")
    sharing = "Sharing works." if may_write else "This token may only read: sharing needs one that may write."
    return f"Logged in as {account['name']}. {sharing}"
