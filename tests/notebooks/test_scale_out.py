"""What notebook 8b says was measured is what the benchmarks measured."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from clmkit.costs import CPU_TOKENS_PER_SECOND, ELI5_TOKENS_PER_ROW

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def read_results(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def constants() -> dict[str, float]:
    """The names that the notebook's cell of measured figures defines."""
    notebook = nbformat.read(ROOT / "notebooks" / "08b_arithmetic.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell.source.startswith("from clmkit.costs import CPU_TOKENS")]
    names: dict[str, float] = {}
    exec(cell.source, names)
    return names


def test_tokenizing_is_as_fast_and_as_large_as_measured(constants: dict[str, float]) -> None:
    found = read_results("text_to_blocks")["medians"]
    largest, distinct = found["100"]["clmkit"], found["distinct"]
    measured, faster = (
        one["tokens"] / (one["tokenize_s"] + one["chunk_s"])
        for one in (distinct["clmkit, without gigatoken"], distinct["clmkit"])
    )
    assert faster / measured == pytest.approx(7, rel=0.05)
    assert constants["TOKENIZED_PER_SECOND"] == pytest.approx(measured, rel=0.01)
    assert constants["BYTES_PER_TOKEN"] == pytest.approx(largest["written_bytes_per_token"], rel=0.01)
    assert pytest.approx(largest["tokens"] / 500_000, rel=0.01) == ELI5_TOKENS_PER_ROW


def test_training_is_as_fast_as_measured(constants: dict[str, float]) -> None:
    medians = read_results("training")["medians"]
    for track, model in {"quick": "tiny", "full": "distilgpt2"}.items():
        measured = medians[model]["clmkit, float32"]["tokens_per_s"]
        assert CPU_TOKENS_PER_SECOND[track] == pytest.approx(measured, rel=0.05)
    assert constants["TRAINED_PER_SECOND"] == CPU_TOKENS_PER_SECOND["full"]
