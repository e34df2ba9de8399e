"""A client of the learner's own, with a proxy or certificates, stays theirs when the course limits its waits."""

from tests.hub.clients import Kernel, run_client
from tests.hub.server import StandInHub

ASK = """
import huggingface_hub
from huggingface_hub.utils import _http  # whose _GLOBAL_CLIENT_FACTORY and _GLOBAL_BACKEND_FACTORY are private
from clmkit.hub.login import check_hub

first = type(huggingface_hub.get_session())
def make():
    client = first()
    client.headers["X-Mine"] = "yes"
    return client
change = getattr(huggingface_hub, "set_client_factory", None) or huggingface_hub.configure_http_backend
change(make)
check_hub()
print(huggingface_hub.get_session().headers["X-Mine"], hasattr(huggingface_hub.get_session().send, "__wrapped__")
    or huggingface_hub.get_session().send.__name__)
"""


def test_a_client_of_ones_own_is_kept_and_its_waits_end(hub: StandInHub, kernel: Kernel) -> None:
    client = run_client(hub, kernel, ASK)
    assert client.stdout == "yes send_limited\n", client.stderr
