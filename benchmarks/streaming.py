"""How many rows a second become blocks when they are streamed, and when they are stored first?

    .venv/bin/python -m benchmarks.streaming

All begin with the same Parquet file and end with every block in the hands of who trains. A stream is read by clmkit, or
by Datasets, as rows on the Hub are that have no files of a kind which clmkit reads. Each has a process of its own with
an empty cache, and they take turns: 5,000 rows, and ten times as many of distinct text; medians are printed. Data and
vocabulary are those of ``benchmarks.text_to_blocks``.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from datasets import load_dataset
from transformers import GPT2TokenizerFast

from benchmarks.common import QUIET, format_table, medians, take_turns
from benchmarks.text_to_blocks import prepare, prepare_distinct
from clmkit.chunking import chunk
from clmkit.scale.streams import BlockStream, Stream, hold_out
from clmkit.scale.text_files import stream_texts
from clmkit.texts import join_answers
from clmkit.tokenization import tokenize
from clmkit.tracks import BUNDLED

BLOCK_SIZE = 128
CONTENDERS = ["stored", "streamed", "streamed by Datasets"]


def measure(contender: str, data: str, vocabulary: str) -> dict[str, float]:
    """Seconds until the last block, and how many blocks there were."""
    tokenizer = GPT2TokenizerFast.from_pretrained(vocabulary)
    began = time.perf_counter()
    blocks = 0
    if contender == "stored":
        rows = load_dataset("parquet", data_files=data, split="train")
        for _ in chunk(tokenize(join_answers(rows), tokenizer), BLOCK_SIZE):
            blocks += 1
    else:
        if contender == "streamed":
            texts = stream_texts([data])
        else:
            texts = join_answers(load_dataset("parquet", data_files=data, split="train", streaming=True))
        tokens = tokenize(hold_out(texts, 0.0, 0)[0], tokenizer)
        stream = BlockStream(tokens, BLOCK_SIZE, window=Stream().window, seed=0)
        for _ in stream:
            if stream.state_dict()["epoch"]:
                break
            blocks += 1
    return {"seconds": time.perf_counter() - began, "blocks": blocks}


def command(contender: str, data: Path, vocabulary: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.streaming", "--one", contender, str(data), vocabulary]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=3, help="measure one in this process: contender, data, vocabulary")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(*chosen.one)))
        return
    vocabulary = os.environ.get("CLMKIT_GPT2_VOCAB", str(BUNDLED / "tiny_gpt2"))
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for name, data, rows in (
            ("real or bundled rows", prepare(Path(folder), chosen.rows, 1), chosen.rows),
            ("distinct text", prepare_distinct(Path(folder), 10 * chosen.rows), 10 * chosen.rows),
        ):
            turns = take_turns(CONTENDERS, partial(command, data=data, vocabulary=vocabulary), chosen.repeats, QUIET)
            found = {contender: one["seconds"] for contender, one in medians(turns).items()}
            speeds = [f"{rows / found[contender]:,.0f}" for contender in CONTENDERS]
            ratios = [f"{found[contender] / found['stored']:.2f}" for contender in CONTENDERS[1:]]
            table.append([f"{rows:,} of {name}", *speeds, *ratios])
    head = [f"{contender}, rows/s" for contender in CONTENDERS] + [f"time {name} to stored" for name in CONTENDERS[1:]]
    print(format_table(["rows", *head], table))


if __name__ == "__main__":
    main()
