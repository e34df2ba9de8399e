"""A training as Windows and macOS would have it: workers that begin empty, and no signals to be told by."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clmkit.scale.command import run_command
from tests.training.launch import record, same_weights
from tests.unit.test_platforms import problem_on_windows


def test_without_fork_and_signals_a_run_comes_to_the_same_weights(
    words_of: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"max_steps": 4, "save_steps": 2}
    assert run_command("train", words_of(output_dir=tmp_path / "as here", **short)) == 0
    set_by: list[int] = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: set_by.append(number))
    multiprocessing.set_start_method("spawn", force=True)
    try:
        words = words_of(output_dir=tmp_path / "as there", dataloader_num_workers=1, **short)
        # No signal reaches a thread but the main one.
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(run_command, "train", words).result() == 0
    finally:
        multiprocessing.set_start_method(None, force=True)
    assert not set_by
    assert record(tmp_path / "as there")["status"] == "finished"
    assert same_weights(tmp_path / "as here", tmp_path / "as there")
    left = [path.relative_to(tmp_path) for path in (tmp_path / "as there").rglob("*")]
    assert len(left) > 10
    assert not [found for path in left if (found := problem_on_windows(path))]
