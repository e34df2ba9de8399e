"""Every fault of the table, on both kernels: survived, or said in one sentence, and over with the next run."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub.clients import Kernel
from tests.hub.fault_table import ROWS, Row
from tests.hub.play import CHECKS, complaints, play

# The clients' waits are cut to a fifth; ``python -m tests.hub.report`` measures the whole ones against the limits.
HURRY = 5
PLAYED = [pytest.param(row, kernel, id=f"{row.name} [{kernel}]") for row in ROWS for kernel in row.kernels]


def named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


@pytest.mark.parametrize(("row", "kernel"), PLAYED)
def test_a_fault_is_survived_or_said_and_the_next_run_works(row: Row, kernel: Kernel, tmp_path: Path) -> None:
    with play(row, kernel, tmp_path / "hub", HURRY) as player:
        for check in CHECKS:
            check(player)


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


def test_what_is_not_as_the_table_has_it_is_found(tmp_path: Path) -> None:
    row = replace(named("get the model: 403"), sees="status 500", raises="ValueError", cause="none", limit=0)
    with play(row, "main", tmp_path / "hub", HURRY) as player:
        found = complaints(player)
        assert [complaint.split(":")[0] for complaint in found] == [
            "the step works or says one sentence",
            "the clients exception is the cause",
            "it ends in time",
        ]
        blob = next(player.hub.folder.glob("hf_home/hub/*/blobs/*"))
        blob.write_bytes(b"other bytes")
        (player.hub.folder / "home" / "notes.txt").write_text(player.token)
        assert [complaint.split(":")[0] for complaint in complaints(player)[3:]] == [
            "it works when the fault is over",
            "nothing half is left",
            "no token is told",
        ]


def test_a_second_commit_of_the_same_model_is_found(tmp_path: Path) -> None:
    with play(named("share: commit 503 once"), "main", tmp_path / "hub", HURRY) as player:
        assert complaints(player) == []
        player.hub.put("ada/mine", {"config.json": b"{}"}, message="Share the tuned model with its card")
        assert [complaint.split(":")[0] for complaint in complaints(player)] == [
            "it works when the fault is over",
            "one commit is made of one model",
        ]
