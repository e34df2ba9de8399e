"""A learner's own data set on the Hub: what was downloaded once is there offline too."""

import io

import pandas as pd
import pytest

from tests.hub.clients import Kernel, run_client
from tests.hub.server import StandInHub

LOAD = """
import sys
from clmkit.hub.data_sets import open_hub_data
rows, source = open_hub_data("ada/texts", *sys.argv[1:])
print(rows["text"][:], source)
"""


def put(hub: StandInHub, *texts: str) -> str:
    file = io.BytesIO()
    pd.DataFrame({"text": texts}).to_parquet(file)
    return hub.put("ada/texts", {"data/train-00000-of-00001.parquet": file.getvalue()}, "dataset")


@pytest.mark.parametrize("offline", [True, False])
def test_what_was_downloaded_is_taken_where_the_hub_does_not_answer(
    hub: StandInHub, kernel: Kernel, offline: bool
) -> None:
    commit = put(hub, "one", "two")
    assert "['one', 'two']" in run_client(hub, kernel, LOAD).stdout
    hub.stop()
    without = {"HF_HUB_OFFLINE": "1"} if offline else {}
    for arguments in ([], [commit]):
        client = run_client(hub, kernel, LOAD, *arguments, **without)
        assert f"Taking what was downloaded before: ada/texts, commit {commit}\n" in client.stdout, client.stderr
        assert client.stdout.endswith(f"['one', 'two'] ada/texts, commit {commit}\n")
    client = run_client(hub, kernel, LOAD, "f" * 40, **without)
    assert "ConnectionError: asking the Hub for ada/texts failed: " in client.stderr
    assert "['one'" not in client.stdout


def test_what_was_never_downloaded_is_an_error_offline(hub: StandInHub, kernel: Kernel) -> None:
    client = run_client(hub, kernel, LOAD, HF_HUB_OFFLINE="1")
    assert "ConnectionError: asking the Hub for ada/texts failed: " in client.stderr
    assert client.stderr.rstrip().endswith("Check the name, or name a local file")
