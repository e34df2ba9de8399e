"""Notebooks 02 to 05 run a second time, in a new process, read what the first one left."""

import shutil
import sys
from pathlib import Path

import pytest

from clmkit.tracks import BUNDLED, SAMPLE
from tests.kernels import run

CHAIN = """
import json, sys
from transformers import AutoTokenizer
from clmkit.tracks import choose_track
from clmkit.chunking import prepare_blocks

data, model, block_size = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(model)
tokenizer(["used before"], truncation=True, max_length=2)  # which changes its state, and not what it does
blocks = prepare_blocks(choose_track("quick", data=data), tokenizer, block_size)["train"]
print(json.dumps([len(blocks), blocks._fingerprint, sum(blocks[0]["input_ids"])]))
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return shutil.copy(SAMPLE, tmp_path / "rows.jsonl")


def prepare(home: Path, data: Path, model: Path = BUNDLED / "tiny_gpt2", block_size: int = 128) -> tuple[str, int]:
    """Run the chain in a new process; return what it found, and how many cache files it wrote."""
    before = written(home)
    # Another seed for the hashes of str, as every process has.
    done = run(sys.executable, "-c", CHAIN, str(data), str(model), str(block_size), HF_HOME=str(home))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], len(written(home) - before)


def written(home: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in home.rglob("*.arrow")}


def test_a_second_run_in_a_new_process_computes_nothing(tmp_path: Path, data: Path) -> None:
    first, wrote = prepare(tmp_path / "home", data)
    assert wrote > 0
    assert prepare(tmp_path / "home", data) == (first, 0)


def test_changed_text_another_tokenizer_and_another_block_size_are_computed_anew(tmp_path: Path, data: Path) -> None:
    home = tmp_path / "home"
    first, _ = prepare(home, data)

    other_size, wrote = prepare(home, data, block_size=64)
    assert other_size != first
    assert wrote == 0  # the tokens are found, and the blocks are views of them

    other_model = tmp_path / "other_model"
    shutil.copytree(BUNDLED / "tiny_gpt2", other_model)
    merges = (other_model / "merges.txt").read_text(encoding="utf-8").splitlines()
    (other_model / "merges.txt").write_text("\n".join(merges[:1000]) + "\n", encoding="utf-8")
    other_tokens, wrote = prepare(home, data, model=other_model)
    assert other_tokens != first
    assert wrote > 1

    data.write_text(data.read_text(encoding="utf-8").replace("the", "a", 1), encoding="utf-8")
    other_text, wrote = prepare(home, data)
    assert other_text != first
    assert wrote > 1
