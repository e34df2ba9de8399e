"""Every way to log in, and what a learner reads where one does not work, on both kernels."""

from pathlib import Path

import pytest

from tests.colab.machine import STUB
from tests.hub.clients import Kernel, run_client
from tests.hub.faults import Fault
from tests.hub.notebooks import printed, run_notebook
from tests.hub.server import StandInHub
from tests.tokens import remember

NOBODYS = remember("hf_nobodyHasThisToken")
STATUS = "from clmkit.hub.login import login_status; print(login_status())"
SHARE = "from clmkit.hub.login import choose_sharing; choose_sharing(True)"
WITHOUT = "Everything in this course but sharing works without."

# In Colab there is a shell of its own, by which the clients know where they are, and a place for secrets.
COLAB = """
import builtins, sys
sys.path.append(sys.argv[1])
from google.colab._shell import Shell
builtins.get_ipython = lambda: Shell
"""


def status(hub: StandInHub, kernel: Kernel, code: str = STATUS, *arguments: str, **environment: str) -> str:
    """What a login check prints: one line, and nothing on the side."""
    client = run_client(hub, kernel, code, *arguments, **environment)
    assert (client.returncode, client.stderr) == (0, "")
    assert client.stdout.count("\n") == 1
    return client.stdout.strip()


def refusal(hub: StandInHub, kernel: Kernel, **environment: str) -> str:
    """The last line of the error by which ``choose_sharing(True)`` refuses."""
    client = run_client(hub, kernel, SHARE, **environment)
    assert client.returncode == 1
    assert client.stdout == ""
    return client.stderr.strip().splitlines()[-1]


def test_a_token_in_the_environment(hub: StandInHub, kernel: Kernel) -> None:
    assert status(hub, kernel, HF_TOKEN=hub.add_token("ada")) == "Logged in as ada. Sharing works."


def test_a_secret_of_colab(hub: StandInHub, kernel: Kernel) -> None:
    secret = {"COLAB_SECRET_HF_TOKEN": hub.add_token("ada")}
    assert status(hub, kernel, COLAB + STATUS, str(STUB), **secret) == "Logged in as ada. Sharing works."
    assert status(hub, kernel, COLAB + STATUS, str(STUB)).startswith("Not logged in.")


def test_a_token_that_a_login_before_has_stored(hub: StandInHub, kernel: Kernel) -> None:
    token = hub.add_token("ada")
    login = "import sys; from huggingface_hub import login; login(sys.argv[1], add_to_git_credential=False)"
    assert run_client(hub, kernel, login, token).returncode == 0
    assert status(hub, kernel) == "Logged in as ada. Sharing works."


def test_notebook_login_by_the_code_that_a_person_types_in_a_browser(hub: StandInHub) -> None:
    hub.approve_device("ada")
    login = "import contextlib, io\nfrom huggingface_hub import notebook_login\n"
    login += "with contextlib.redirect_stdout(io.StringIO()): notebook_login()\n"
    assert status(hub, "main", login + STATUS) == "Logged in as ada. Sharing works."
    assert hub.asked("^/oauth/device$", "POST")


def test_no_login_is_said_once_and_costs_no_request(hub: StandInHub, kernel: Kernel) -> None:
    assert status(hub, kernel) == f"Not logged in. {WITHOUT} To log in: notebook_login(), or set HF_TOKEN."
    assert hub.requests == []
    assert refusal(hub, kernel).startswith("PermissionError: sharing needs a login, and there is no token")


def test_a_headless_run_of_the_first_notebook_does_not_wait_for_a_person(hub: StandInHub, tmp_path: Path) -> None:
    text = printed(run_notebook("01_login", hub, tmp_path, CLMKIT_TRACK="quick"))
    assert "Not logged in." in text
    assert not hub.asked("^/oauth")


def test_a_wrong_token(hub: StandInHub, kernel: Kernel) -> None:
    sentence = "The Hub refuses the token (status 401). Make a new one at https://huggingface.co/settings/tokens, "
    said = status(hub, kernel, HF_TOKEN=NOBODYS)
    assert said == f"{sentence}and log in again. {WITHOUT}"
    assert sentence in refusal(hub, kernel, HF_TOKEN=NOBODYS)


def test_a_token_that_may_only_read(hub: StandInHub, kernel: Kernel) -> None:
    token = hub.add_token("ada", "read")
    said = status(hub, kernel, HF_TOKEN=token)
    assert said == "Logged in as ada. This token may only read: sharing needs one that may write."
    refused = refusal(hub, kernel, HF_TOKEN=token)
    assert refused.startswith("PermissionError: the token of ada may only read")
    assert refused.endswith("To go on without: choose_sharing(False).")


def test_a_hub_that_is_down(hub: StandInHub, kernel: Kernel) -> None:
    token = hub.add_token("ada")
    hub.stop()
    said = status(hub, kernel, HF_TOKEN=token)
    assert said.startswith(f"There is a token, but it can't be checked now: {hub.url} does not answer")
    assert said.endswith(WITHOUT)
    assert refusal(hub, kernel, HF_TOKEN=token).startswith("ConnectionError: sharing is not possible now")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("status", path="whoami", times=None), "the Hub answers with status 503"),
        (Fault("status", path="whoami", times=None, status=429), "the Hub answers with status 429"),
        (Fault("html", path="whoami", times=None), "is not the Hub; some networks want a login in the browser first"),
        (Fault("drop", path="whoami", times=None), "it can't be checked now"),
    ],
    ids=["503", "429", "html", "drop"],
)
def test_a_hub_that_fails(hub: StandInHub, kernel: Kernel, fault: Fault, reason: str) -> None:
    hub.inject(fault)
    said = status(hub, kernel, HF_TOKEN=hub.add_token("ada"))
    assert said.startswith("There is a token, but it can't be checked now")
    assert reason in said
    assert said.endswith(WITHOUT)


def test_no_token_is_printed_or_put_into_a_git_config(hub: StandInHub, kernel: Kernel) -> None:
    token = hub.add_token("ada")
    for code in (STATUS, SHARE):
        client = run_client(hub, kernel, code, HF_TOKEN=token)
        assert token not in client.stdout + client.stderr
    files = [path for path in hub.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes() or path.name.startswith(".git")]
