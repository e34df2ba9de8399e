"""Streams: endless, shuffled, shared by processes, and able to go on from any block."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, load_dataset
from pyarrow import parquet
from transformers import PreTrainedTokenizerBase

from clmkit.scale.data import prepare_stream
from clmkit.scale.run import train
from clmkit.scale.streams import BlockStream, Stream, hold_out, is_held_out
from clmkit.texts import join_answers
from clmkit.tokenization import tokenize
from clmkit.tracks import choose_track
from tests.training import jobs
from tests.training.launch import run


def texts_of(shards: Path) -> Any:
    return join_answers(load_dataset("json", data_files=str(shards / "*.jsonl"), split="train", streaming=True))


def make_stream(shards: Path, tokenizer: PreTrainedTokenizerBase, share: float = 0.1, **how: Any) -> BlockStream:
    rest, _ = hold_out(texts_of(shards), share, 500)
    how = {"block_size": 16, "window": 30, "seed": 42, **how}
    return BlockStream(tokenize(rest, tokenizer), **how)


def first_epoch(stream: BlockStream) -> list[list[int]]:
    blocks = []
    for row in stream:
        if stream.state_dict()["epoch"]:
            break
        blocks.append(row["input_ids"])
    return blocks


@pytest.mark.parametrize("window", [7, 30, 1000])
def test_an_epoch_has_every_token_of_the_rows_to_train_on(
    shards: Path, tokenizer: PreTrainedTokenizerBase, window: int
) -> None:
    texts = [row["text"] for row in texts_of(shards)]
    expected = Counter(token for text in texts if not is_held_out(text, 0.1) for token in tokenizer(text)["input_ids"])
    stream = make_stream(shards, tokenizer, window=window, block_size=1)
    assert Counter(token for block in first_epoch(stream) for token in block) == expected
    blocks = first_epoch(make_stream(shards, tokenizer, window=window))
    lost = expected - Counter(token for block in blocks for token in block)
    assert lost.total() < 16
    assert all(len(block) == 16 for block in blocks)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_take_the_blocks_in_turn_from_one_place_in_the_stream(
    shards: Path, tokenizer: PreTrainedTokenizerBase, processes: int
) -> None:
    blocks = [row["input_ids"] for row in islice(make_stream(shards, tokenizer), 12 * 60)]
    shared = [make_stream(shards, tokenizer, rank=rank, processes=processes) for rank in range(processes)]
    shares = [[row["input_ids"] for row in islice(stream, 12 * 30 // processes)] for stream in shared]
    assert [share[place] for place in range(len(shares[0])) for share in shares] == blocks[: 12 * 30]
    places = [stream.state_dict() for stream in shared]
    assert all(place == places[0] for place in places)
    alone = make_stream(shards, tokenizer)
    alone.load_state_dict(json.loads(json.dumps(places[0])))
    assert [row["input_ids"] for row in islice(alone, 12 * 30)] == blocks[12 * 30 :]


def test_it_goes_on_from_any_block_into_the_next_epochs(shards: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    stream = make_stream(shards, tokenizer)
    taken, states = [], []
    for row in islice(stream, 2 * len(first_epoch(make_stream(shards, tokenizer))) + 10):
        taken.append(row["input_ids"])
        states.append(json.dumps(stream.state_dict()))
    assert json.loads(states[-1])["epoch"] == 2
    for place in range(0, len(taken) - 1, 37):
        other = make_stream(shards, tokenizer)
        other.load_state_dict(json.loads(states[place]))
        rest = [row["input_ids"] for row in islice(other, len(taken) - place - 1)]
        assert rest == taken[place + 1 :], f"after block {place}"


def test_going_on_reads_one_window_again_and_no_more(
    shards: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make_stream(shards, tokenizer, window=10)
    blocks = first_epoch(make_stream(shards, tokenizer, window=10))
    for _ in islice(stream, len(blocks) - 1):
        pass
    other = make_stream(shards, tokenizer, window=10)
    other.load_state_dict(stream.state_dict())
    shuffled = BlockStream._shuffled
    windows = []

    def counting(self: BlockStream, table: Any, epoch: int, window: int) -> Any:
        windows.append(len(table))
        return shuffled(self, table, epoch, window)

    monkeypatch.setattr(BlockStream, "_shuffled", counting)
    assert next(iter(other))["input_ids"] == blocks[-1]
    assert windows
    assert sum(windows) <= 20


def test_windows_and_epochs_are_shuffled_and_a_seed_decides(shards: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    orders = [first_epoch(make_stream(shards, tokenizer, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    stream = make_stream(shards, tokenizer, seed=1)
    second = [row["input_ids"] for row in islice(stream, 2 * len(orders[0]))][len(orders[0]) :]
    assert second != orders[0]


def test_texts_to_test_on_are_never_trained_on_copies_included(shards: Path) -> None:
    rest, test = hold_out(texts_of(shards), 0.2, 500)
    trained, tested = [row["text"] for row in rest], list(test["text"])
    assert len(trained) + len(tested) == 200
    assert 10 < len(tested) < 80
    assert not set(trained) & set(tested)
    assert len(hold_out(texts_of(shards), 0.2, 3)[1]) == 3


def test_too_little_text_is_an_error_and_not_an_endless_loop(
    documents: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = Dataset.from_dict({"input_ids": [[1, 2, 3]]}).to_iterable_dataset()
    with pytest.raises(ValueError, match="too few tokens to fill one block of 16"):
        next(iter(BlockStream(rows, 16, window=5, seed=0)))


def test_a_stream_wants_to_know_how_many_steps(shards: Path, steady_model: Path, tmp_path: Path) -> None:
    track = choose_track(data=shards / "*.jsonl", model=steady_model, block_size=16)
    with pytest.raises(ValueError, match="how long a stream is: say how many steps to train by --max_steps"):
        train(track, stream=Stream(), output_dir=str(tmp_path / "out"))


def test_memory_does_not_grow_with_what_was_read(tmp_path: Path) -> None:
    ids = pa.array(range(512 * 1000), pa.int32())
    rows = pa.table({"input_ids": pa.ListArray.from_arrays(pa.array(range(0, len(ids) + 1, 512), pa.int32()), ids)})
    for shard in range(60):
        parquet.write_table(rows, tmp_path / f"{shard}.parquet", row_group_size=200)
    run(jobs.read_through, str(tmp_path / "*.parquet"), tmp_path / "notes", log=tmp_path / "log")
    blocks, early, peak = json.loads((tmp_path / "notes").read_text())
    size = 60 * ids.nbytes / 2**20
    assert blocks == 60 * len(ids) // 256
    assert size > 110
    assert peak < early + size / 5, f"{size:.0f} MiB of rows: {early:.0f} MiB after two files, {peak:.0f} in the end"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_stream_is_read_in_the_encoding_that_is_named(
    kind: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    texts = [f"{number} étés à Noël; {number + 1} hivers à Pâques" for number in range(300)]
    path = tmp_path / f"rows.{kind}"
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(rows if kind == "jsonl" else ["text", *texts]), encoding="cp1252")
    track = choose_track("quick", data=path, encoding="cp1252", test_size=0.1)
    prepared = prepare_stream(track, Stream(), tokenizer, None, tmp_path / "run", seed=0)
    assert prepared.stream is not None
    read = "".join(tokenizer.decode(block) for block in first_epoch(prepared.stream))
    assert "étés à Noël" in read
    assert "hivers à Pâques" in read


def test_a_stream_of_json_whose_lines_do_not_end_as_in_ascii_is_refused(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"text": "here"}\n'.encode("utf-16"))
    track = choose_track("quick", data=path, encoding="utf-16")
    with pytest.raises(
        ValueError, match=r"rows\.jsonl: a stream of JSON can't be read in utf-16: save the files as UTF-8"
    ):
        prepare_stream(track, Stream(), tokenizer, None, tmp_path / "run", seed=0)
