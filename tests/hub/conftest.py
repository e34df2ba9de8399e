"""Each test of this folder has a Hub of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.clients import Kernel
from tests.hub.server import StandInHub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    """An empty stand-in Hub; its clients' HF_HOME and HOME lie in the test's folder and are empty too."""
    with StandInHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture(params=["main", "keras"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Both kernels, one after the other: their clients are of different versions."""
    kernel: Kernel = request.param
    return kernel
