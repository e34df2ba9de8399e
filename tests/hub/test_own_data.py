"""A learner's own data set on the Hub: what was downloaded once is there offline too."""

import io
import json

import pandas as pd
import pytest

from tests.hub.clients import Kernel, run_client
from tests.hub.faults import Fault
from tests.hub.server import StandInHub

LOAD = """
import sys
from clmkit.hub.data_sets import open_hub_data
rows, source = open_hub_data("ada/texts", *sys.argv[1:])
print(rows["text"][:], source)
"""


TOLD = """---
configs:
- config_name: default
  data_files: train.csv
  sep: ";"
---
"""
READ = """
import sys
from dataclasses import replace
from clmkit.eli5 import load_eli5
from clmkit.scale.data import _open
from clmkit.texts import join_answers
from clmkit.tracks import QUICK
for name in sys.argv[1:]:
    track = replace(QUICK, data=name)
    texts, source = _open(track)
    print(name, "streamed:", [row["text"] for row in texts], source)
    print(name, "loaded:", join_answers(load_eli5(track))["text"][:])
"""


def as_parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(columns).to_parquet(file)
    return file.getvalue()


def put(hub: StandInHub, *texts: str) -> str:
    return hub.put("ada/texts", {"data/train-00000-of-00001.parquet": as_parquet(text=texts)}, "dataset")


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


def test_only_the_text_of_a_data_set_counts_streamed_or_not(hub: StandInHub) -> None:
    first, second = ({"text": "one", "more": 1}, {"text": "two", "more": {"key": 1}})
    sets = {
        "ada/lines": {"train-0.jsonl": json.dumps(first).encode(), "train-1.jsonl": json.dumps(second).encode()},
        "ada/cells": {"train.csv": b"text,more\none,1\nNA,A-17\n007,\n"},
        "ada/numbers": {"train.csv": b"text\n007\n1e5\n"},
        "ada/columns": {
            "data/train-0.parquet": as_parquet(text=["one"], more=[1]),
            "data/train-1.parquet": as_parquet(other=["x"], text=["two"], more=["A-17"]),
        },
        "ada/told": {"train.csv": b"text;more\none;1\n", "README.md": TOLD.encode()},
    }
    for name, files in sets.items():
        hub.put(name, files, "dataset")
    commit = hub.put("ada/wrong", {"train.jsonl": b'{"text": "one"}\n{"text": null}\n'}, "dataset")
    client = run_client(hub, "main", READ, *sets, "ada/wrong")
    texts = [["one", "two"], ["one", "NA", "007"], ["007", "1e5"], ["one", "two"], ["one"]]
    for name, expected in zip(sets, texts, strict=True):
        assert f"{name} streamed: {expected} {name}, commit " in client.stdout, client.stderr
        assert f"{name} loaded: {expected}\n" in client.stdout, client.stderr
    place = f"hf://datasets/ada/wrong@{commit}/train.jsonl, line 2"
    assert f"ValueError: {place}, answer 1 of 'text' is null" in client.stderr


def test_a_stream_waits_for_a_hub_that_is_away_for_longer_than_its_clients_would(hub: StandInHub) -> None:
    hub.put("ada/lines", {"train.jsonl": b'{"text": "one"}\n'}, "dataset")
    fault = hub.inject(Fault("status", r"/resolve/.*/train\.jsonl$", "GET", times=8, status=504))  # six times are asked
    client = run_client(hub, "main", "import time; time.sleep = lambda seconds: None\n" + READ, "ada/lines")
    assert "ada/lines streamed: ['one'] ada/lines, commit " in client.stdout, client.stderr
    assert fault.used == 8
