"""One way from rows of answers to blocks, measured: a process of its own for ``benchmarks.text_to_blocks``."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
from datasets import Dataset, Features, List, Value, load_dataset
from transformers import GPT2TokenizerFast

from clmkit.chunking import chunk
from clmkit.texts import join_answers
from clmkit.tokenization import count_tokens, tokenize
from tests.guide import group_texts, preprocess_function

BLOCK_SIZE = 128


def chain_group_texts(examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The form of run_clm: linear in time, since ``chain`` copies every token once."""
    joined = {key: list(chain(*rows)) for key, rows in examples.items()}
    total = len(joined["input_ids"]) // BLOCK_SIZE * BLOCK_SIZE
    blocks = {key: [ids[i : i + BLOCK_SIZE] for i in range(0, total, BLOCK_SIZE)] for key, ids in joined.items()}
    return blocks | {"labels": blocks["input_ids"].copy()}


def as_the_guide(rows: Dataset, tokenizer: Any, num_proc: int | None = None) -> Dataset:
    flat = rows.flatten()
    how = {"batched": True, "num_proc": num_proc, "remove_columns": flat.column_names}
    return flat.map(preprocess_function(tokenizer), **how)


def tokenizer_alone(rows: Dataset, tokenizer: Any) -> Dataset:
    """What no way can be faster than: ``encode_batch_fast``, the ids left where they are."""
    texts = [" ".join(answers["text"]) for answers in rows["answers"]]
    began = time.perf_counter()
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts)
    seconds = time.perf_counter() - began
    features = Features({"input_ids": List(Value("int32"))})
    ids = Dataset.from_dict({"input_ids": [encoding.ids for encoding in encodings]}, features=features)
    ids.info.description = str(seconds)
    return ids


def pack(strategy: str) -> Callable[[Dataset], Dataset]:
    def run(tokens: Dataset) -> Dataset:
        from trl import pack_dataset

        return pack_dataset(tokens.remove_columns("attention_mask"), BLOCK_SIZE, strategy)

    return run


TOKENIZE: dict[str, Callable[[Dataset, Any], Dataset]] = {
    "guide": as_the_guide,
    "guide, num_proc=4": lambda rows, tokenizer: as_the_guide(rows, tokenizer, num_proc=4),
    "chain (run_clm)": as_the_guide,
    "TRL, wrapped": as_the_guide,
    "TRL, bfd_split": as_the_guide,
    "encode_batch_fast alone": tokenizer_alone,
    "clmkit": lambda rows, tokenizer: tokenize(join_answers(rows), tokenizer),
    "clmkit, without gigatoken": lambda rows, tokenizer: tokenize(join_answers(rows), tokenizer, fast=False),
}
CHUNK: dict[str, Callable[[Dataset], Dataset]] = {
    "guide": lambda tokens: tokens.map(group_texts, batched=True),
    "guide, num_proc=4": lambda tokens: tokens.map(group_texts, batched=True, num_proc=4),
    "chain (run_clm)": lambda tokens: tokens.map(chain_group_texts, batched=True),
    "TRL, wrapped": pack("wrapped"),
    "TRL, bfd_split": pack("bfd_split"),
    "encode_batch_fast alone": lambda tokens: tokens,
    "clmkit": lambda tokens: chunk(tokens, BLOCK_SIZE),
    "clmkit, without gigatoken": lambda tokens: chunk(tokens, BLOCK_SIZE),
}


class PeakMemory(threading.Thread):
    """Watches the memory of this process and its children, in megabytes: all, and without pages of mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.resident = self.anonymous = 0.0

    def run(self) -> None:
        """Look every 20 ms, until the process ends."""
        me = psutil.Process()
        while True:
            infos = []
            for process in (me, *me.children(recursive=True)):
                try:
                    infos.append(process.memory_info())
                except psutil.NoSuchProcess:  # it ended while we looked
                    continue
            self.resident = max(self.resident, sum(info.rss for info in infos) / 1e6)
            self.anonymous = max(self.anonymous, sum(info.rss - info.shared for info in infos) / 1e6)
            time.sleep(0.02)


def main(contender: str, data: str, vocabulary: str) -> None:
    tokenizer = GPT2TokenizerFast.from_pretrained(vocabulary)
    rows = load_dataset("parquet", data_files=data, split="train")
    before = sum(file.stat().st_size for file in Path(os.environ["HF_HOME"]).rglob("*.arrow"))
    if contender.startswith("TRL"):
        import trl  # noqa: F401  # takes seconds, which are not the packing's

    memory = PeakMemory()
    memory.start()
    began = time.perf_counter()
    tokens = TOKENIZE[contender](rows, tokenizer)
    tokenized = time.perf_counter()
    blocks = CHUNK[contender](tokens)
    chunked = time.perf_counter()
    time.sleep(0.05)
    kept = count_tokens(blocks.select_columns("input_ids"))
    written = sum(file.stat().st_size for file in Path(os.environ["HF_HOME"]).rglob("*.arrow")) - before
    alone = contender == "encode_batch_fast alone"
    began_again = time.perf_counter()
    if not alone:
        CHUNK[contender](TOKENIZE[contender](rows, tokenizer))
    result = {
        "tokenize_s": float(tokens.info.description) if alone else tokenized - began,
        "chunk_s": chunked - tokenized,
        "again_s": time.perf_counter() - began_again,
        "resident_mb": memory.resident,
        "anonymous_mb": memory.anonymous,
        "blocks": len(blocks),
        "lost": count_tokens(tokens.select_columns("input_ids")) - kept,
        "tokens": kept,
        "written_bytes_per_token": written / kept,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
