"""A private model never becomes public, whatever repository of its name is there already."""

import pytest

from tests.hub.clients import Kernel, run_client
from tests.hub.server import StandInHub

PUSH = """
import sys
from pathlib import Path
from clmkit.hub.upload import push_model
Path("mine").mkdir(exist_ok=True)
Path("mine/model.safetensors").write_bytes(b"weights")
print(push_model("mine", private={"True": True, "None": None}[sys.argv[1]]))
"""


@pytest.mark.parametrize("private", [True, None])
def test_a_private_model_is_not_pushed_to_a_public_repository(
    hub: StandInHub, kernel: Kernel, private: bool | None
) -> None:
    token = hub.add_token("ada")
    hub.put("ada/mine", {"README.md": b"# Mine"})
    client = run_client(hub, kernel, PUSH, str(private), HF_TOKEN=token)
    if private is None:
        assert client.stdout.endswith(f"{hub.url}/ada/mine\n"), client.stderr
        return
    assert "PermissionError: the repository ada/mine is public, and a private one was asked for" in client.stderr
    assert "HfApi().update_repo_settings('ada/mine', private=True)" in client.stderr
    assert hub.commits("ada/mine") == ["Add files", "initial commit"]


def test_a_private_repository_is_made_once_and_pushed_to_twice(hub: StandInHub, kernel: Kernel) -> None:
    token = hub.add_token("ada")
    for _ in range(2):
        client = run_client(hub, kernel, PUSH, "True", HF_TOKEN=token)
        assert client.stdout.endswith(f"{hub.url}/ada/mine\n"), client.stderr
    assert hub.repositories["model", "ada/mine"].private
    assert "model.safetensors" in hub.files("ada/mine")
