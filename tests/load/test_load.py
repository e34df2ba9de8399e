"""Load: much data, many prompts, and many programs at once on one cache and one home.

`CLMKIT_LOAD` is the share of the full load that is tried, 1 by default: 10 GB and 10,000 prompts.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.load import jobs
from tests.training.launch import run
from tools.course import HEADLESS

pytestmark = [pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(6 * 3600)]

SHARE = float(os.environ.get("CLMKIT_LOAD", "1"))
DATA, PROMPTS = int(10e9 * SHARE), int(10_000 * SHARE)
SHARD = min(DATA // 10, 100_000_000)  # bytes
ROOT = Path(__file__).parents[2]
AT_ONCE = ("02_load_eli5", "03_flatten", "04_tokenize", "05_chunk")


def write_shard(path: Path, size: int) -> None:
    """Write about so many bytes of made-up texts of 2 kB each, one JSON object a line."""
    chance = random.Random(0)
    words = [f"{one}{two}" for one in ("sky", "salt", "ice", "iron", "bread") for two in ("", "s", "y", "ing", "ed")]
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            file.writelines(json.dumps({"text": " ".join(chance.choices(words, k=400))}) + "\n" for _ in range(200))


def test_10_gb_are_read_as_a_stream_with_memory_that_does_not_grow(tmp_path: Path) -> None:
    write_shard(tmp_path / "0000.jsonl", SHARD)
    shards = DATA // SHARD
    for number in range(1, shards):  # the same bytes under other names: the disk need not hold 10 GB
        os.link(tmp_path / "0000.jsonl", tmp_path / f"{number:04}.jsonl")
    began = time.monotonic()
    run(jobs.read_stream, str(tmp_path / "*.jsonl"), tmp_path / "notes", log=tmp_path / "log", patience=6 * 3600)
    blocks, held = json.loads((tmp_path / "notes").read_text())
    early = max(held[: max(len(held) // 10, 2)])
    print(f"\n{shards * SHARD / 1e9:.2f} GB, {blocks:,} blocks in {time.monotonic() - began:.0f} s")
    print(f"{early:.0f} MiB in the first tenth, {max(held):.0f} MiB at most")
    assert len(held) > 20
    assert max(held) < early + 100


def test_10_000_prompts_are_continued(tmp_path: Path) -> None:
    run(jobs.write_texts, PROMPTS, tmp_path / "notes", log=tmp_path / "log", patience=3600)
    texts, begun, as_alone, (before, after) = json.loads((tmp_path / "notes").read_text())
    print(f"\n{texts:,} texts; {before:.0f} MiB after the first two batches, {after:.0f} MiB after all")
    assert texts == PROMPTS
    assert begun
    assert as_alone
    assert after < before + 100


def test_four_notebooks_and_two_trainings_at_once_share_a_cache_and_a_home(tmp_path: Path) -> None:
    folder, home = tmp_path / "course", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    for name in AT_ONCE:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
    environment = {**os.environ, **HEADLESS, "CLMKIT_TRACK": "quick", "HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment["HF_HOME"] = str(home / "huggingface")
    nbval = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-cell-timeout=600"]
    commands = [[*nbval, f"{name}.ipynb"] for name in AT_ONCE]
    train = [sys.executable, "-m", "clmkit", "train", "--track", "quick", "--max_steps", "4", "--output_dir"]
    commands += [[*train, "one"], [*train, "two"]]
    started = []
    for number, command in enumerate(commands):
        log = (tmp_path / f"log{number}").open("w")
        started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
        log.close()
    try:
        statuses = [process.wait(1800) for process in started]
    finally:
        for process in started:
            process.kill()
    logs = [(tmp_path / f"log{number}").read_text() for number in range(len(commands))]
    assert statuses == [0] * len(commands), "\n".join(log for log, status in zip(logs, statuses, strict=True) if status)
    one, two = (json.loads((folder / name / "run.json").read_text()) for name in ("one", "two"))
    assert one["losses"] == two["losses"]
    assert not list(home.rglob("*.incomplete"))
