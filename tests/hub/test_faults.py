"""Every fault of the table, on both kernels: survived, or said in one sentence, and over with the next run."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub.clients import Kernel
from tests.hub.fault_table import ROWS, Row
from tests.hub.play import complaints, play

# The clients' waits are cut to a fifth; ``python -m tests.hub.report`` measures the whole ones against the limits.
HURRY = 5
# So what is tested is that a step ends: four plays beside other tests can take minutes to import TensorFlow.
ALLOWANCE = 300
# Before a release one of each step is played by Pythons of their own too, and has to come out as by forks.
STEPS = {row.step: row for row in reversed(ROWS)}
PLAYED = [(row, kernel, False) for row in ROWS for kernel in row.kernels]
PLAYED += [(row, kernel, True) for row in STEPS.values() for kernel in row.kernels]


def label(kernel: Kernel, fresh: bool) -> str:
    return f"{kernel}, fresh" if fresh else kernel


def named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


@pytest.fixture(scope="module")
def complaints_about(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Row, Kernel, bool], list[str]]]:
    """What is wrong with a play; those that were chosen are played four at a time, since most of a play is waiting."""

    folder = tmp_path_factory.mktemp("plays")

    def perform(number: int, row: Row, kernel: Kernel, fresh: bool) -> list[str]:
        with play(row, kernel, folder / str(number), HURRY, ALLOWANCE, fresh) as player:
            return complaints(player)

    played = test_a_fault_is_survived_or_said_and_the_next_run_works.__name__
    chosen = [item.callspec.params for item in request.session.items if vars(item).get("originalname") == played]
    with ThreadPoolExecutor(4) as pool:
        jobs = {
            (one["row"].name, one["kernel"], one["fresh"]): pool.submit(perform, number, **one)
            for number, one in enumerate(chosen)
        }
        yield lambda row, kernel, fresh: jobs[row.name, kernel, fresh].result()
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    ("row", "kernel", "fresh"),
    [
        pytest.param(
            *played, marks=[pytest.mark.long] if played[2] else [], id=f"{played[0].name} [{label(*played[1:])}]"
        )
        for played in PLAYED
    ],
)
def test_a_fault_is_survived_or_said_and_the_next_run_works(
    complaints_about: Callable[[Row, Kernel, bool], list[str]], row: Row, kernel: Kernel, fresh: bool
) -> None:
    assert complaints_about(row, kernel, fresh) == []


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
        notes = player.hub.folder / "home" / "notes.txt"
        notes.write_text(player.token)
        assert [complaint.split(":")[0] for complaint in complaints(player)[3:]] == [
            "it works when the fault is over",
            "nothing half is left",
            "no token is told",
        ]
        notes.unlink()


def test_a_second_commit_of_the_same_model_is_found(tmp_path: Path) -> None:
    with play(named("share: commit 503 once"), "main", tmp_path / "hub", HURRY) as player:
        assert complaints(player) == []
        player.hub.put("ada/mine", {"config.json": b"{}"}, message="Share the tuned model with its card")
        assert [complaint.split(":")[0] for complaint in complaints(player)] == [
            "it works when the fault is over",
            "one commit is made of one model",
        ]
