"""Two processes, which talk by gloo on the CPU, train as one does."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from clmkit.evaluation import score
from clmkit.scale.processes import EpochBlocks
from tests.training import jobs
from tests.training.launch import log_of, record, run
from tests.training.test_streams import make_stream

Words = Callable[..., list[str]]


def noted(notes: Path, rank: int) -> list[Any]:
    return [json.loads(line) for line in notes.with_name(f"{notes.name}-{rank}").read_text().splitlines()]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_loss_curve_is_that_of_one_process_with_the_same_blocks_a_step(
    words_of: Words, tmp_path: Path, processes: int
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(jobs.command, "train", words_of(output_dir=alone), log=tmp_path / "a")
    parts = words_of(output_dir=together, per_device_train_batch_size=2, gradient_accumulation_steps=2 // processes)
    run(jobs.command, "train", parts, log=tmp_path / "t", processes=processes)
    one, two = (record(folder)["losses"] for folder in (alone, together))
    assert [step for step, _ in one["train"]] == list(range(1, 25))
    for name in ("train", "test"):
        assert [loss for _, loss in two[name]] == pytest.approx([loss for _, loss in one[name]], rel=1e-4)
    assert one["train"][-1][1] < one["train"][0][1] - 1, "a run that learns nothing would agree by doing nothing"
    assert record(together)["processes"] == processes


@pytest.mark.parametrize("blocks", [16, 17, 23])
def test_the_blocks_of_an_epoch_are_filled_up_with_ones_that_do_not_count(blocks: int) -> None:
    rows = Dataset.from_dict({"input_ids": [[number] * 4 for number in range(blocks)]})
    epoch = EpochBlocks(rows, multiple_of=8, seed=42)
    seen = []
    for number in range(2):
        epoch.set_epoch(number)
        items = [epoch[position] for position in range(len(epoch))]
        assert len(items) % 8 == 0
        counting = [item["input_ids"][0] for item in items if "labels" not in item]
        assert sorted(counting) == list(range(blocks))
        assert all(item["labels"] == [-100] * 4 for item in items[blocks:])
        seen.append(counting)
    assert seen[0] != seen[1]


def test_no_block_is_seen_twice_or_missed_in_an_epoch(words_of: Words, tmp_path: Path) -> None:
    words = words_of(max_steps=-1, num_train_epochs=2, per_device_train_batch_size=8, eval_strategy="no")
    run(jobs.note_blocks, words, tmp_path / "notes", log=tmp_path / "log", processes=2)
    steps = [noted(tmp_path / "notes", rank) for rank in (0, 1)]
    per_epoch = len(steps[0]) // 2
    epochs = [
        Counter(tuple(block) for rank in steps for _, blocks in rank[part] for block in blocks)
        for part in (slice(per_epoch), slice(per_epoch, None))
    ]
    described = record(tmp_path / "out")["data"]["blocks"]
    assert epochs[0] == epochs[1]
    assert described.startswith(f"{epochs[0].total()} to train on")
    assert epochs[0].total() % 16, "the last step should not divide evenly"
    assert steps[0] != steps[1]


def test_a_stream_is_shared_by_the_processes_and_not_once_more(
    words_of: Words, shards: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    words = words_of(data=shards / "*.jsonl", streaming=True, window=30, test_size=0.1, max_steps=12, save_steps=6)
    run(jobs.note_blocks, words, tmp_path / "notes", log=tmp_path / "log", processes=2)
    for rank in (0, 1):
        stream = make_stream(shards, tokenizer, window=30, block_size=16, rank=rank, processes=2)
        expected = [row["input_ids"] for row in islice(stream, 12 * 4)]
        assert [block for _, blocks in noted(tmp_path / "notes", rank) for block in blocks] == expected


@pytest.mark.parametrize("blocks", [1, 2, 9, 10])
def test_perplexity_is_exact_however_the_blocks_divide(steady_model: Path, blocks: int, tmp_path: Path) -> None:
    ids = [[(7 * block + 3 * place * place) % 4000 for place in range(12)] for block in range(blocks)]
    alone = score(AutoModelForCausalLM.from_pretrained(steady_model), Dataset.from_dict({"input_ids": ids}), 4)
    run(jobs.score, str(steady_model), ids, 4, tmp_path / "notes", log=tmp_path / "log", processes=2)
    for rank in (0, 1):
        assert json.loads((tmp_path / f"notes-{rank}").read_text()) == [*alone]


def test_preprocessing_is_done_once_and_only_the_first_process_prints(words_of: Words, tmp_path: Path) -> None:
    documents = tmp_path / "new.jsonl"  # nobody has it in the cache yet
    documents.write_text(
        "".join(json.dumps({"text": f"Text {n} of the new file, which is short."}) + "\n" for n in range(50))
    )
    words = words_of(data=documents, max_steps=2)
    run(jobs.count_maps, words, tmp_path / "maps", log=tmp_path / "log", processes=2)
    assert (tmp_path / "maps-0").read_text() == "100"  # each row joined and tokenized once
    assert (tmp_path / "maps-1").read_text() == "0"
    first, second = (log_of(tmp_path / "log", rank).read_text() for rank in (0, 1))
    assert "Perplexity" in first
    assert second == ""
