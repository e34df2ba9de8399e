"""Streams: endless, shuffled, shared by processes, and able to go on from any block."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, load_dataset
from pyarrow import parquet
from transformers import PreTrainedTokenizerBase

from clmkit.scale import text_files
from clmkit.scale.data import prepare_stream
from clmkit.scale.run import train
from clmkit.scale.streams import BlockStream, Stream, hold_out, is_held_out
from clmkit.scale.text_files import stream_texts
from clmkit.texts import join_answers
from clmkit.tokenization import tokenize
from clmkit.tracks import BUNDLED, choose_track
from tests.training import jobs
from tests.training.launch import run


def texts_of(shards: Path) -> Any:
    return stream_texts(sorted(map(str, shards.glob("*.jsonl"))))


def texts_as_of_the_hub(shards: Path) -> Any:
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


def check_goes_on(make: Callable[[], BlockStream], step: int) -> None:
    """Begin again after every so many blocks, and get the blocks of the stream that was not stopped."""
    stream = make()
    taken, states = [], []
    for row in islice(stream, 2 * len(first_epoch(make())) + 10):
        taken.append(row["input_ids"])
        states.append(json.dumps(stream.state_dict()))
    assert json.loads(states[-1])["epoch"] == 2
    for place in range(0, len(taken) - 1, step):
        other = make()
        other.load_state_dict(json.loads(states[place]))
        rest = [row["input_ids"] for row in islice(other, len(taken) - place - 1)]
        assert rest == taken[place + 1 :], f"after block {place}"


def test_it_goes_on_from_any_block_into_the_next_epochs(shards: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    check_goes_on(lambda: make_stream(shards, tokenizer), 37)


def in_another_kind(lines: Path, kind: str, folder: Path) -> None:
    """Write a file of JSON Lines as one of another kind."""
    rows = pa.table({"text": [json.loads(line)["text"] for line in lines.read_text().splitlines()]})
    path = folder / f"{lines.stem}.{kind}"
    if kind == "csv":
        rows.to_pandas().to_csv(path, index=False)
    elif kind == "parquet":
        parquet.write_table(rows, path)
    elif kind == "json":
        path.write_text(json.dumps(rows.to_pylist()))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines.read_bytes()))
    else:
        path.write_text(lines.read_text(), encoding="utf-16")


@pytest.mark.parametrize("kind", ["hub", "lines", "csv", "parquet", "json", "jsonl.gz", "jsonl"])
def test_it_goes_on_within_a_file_of_any_kind(
    shards: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(text_files, "CHUNK", 2000)
    monkeypatch.setattr(text_files, "ROWS", 7)
    lines = sorted(shards.glob("*.jsonl"))[:2]
    if kind not in ("hub", "lines"):
        for path in lines:
            in_another_kind(path, kind, tmp_path)
    files = lines if kind == "lines" else sorted(tmp_path.iterdir())
    texts = texts_as_of_the_hub(shards) if kind == "hub" else stream_texts(list(map(str, files)))

    def make() -> BlockStream:
        return BlockStream(tokenize(hold_out(texts, 0.1, 5)[0], tokenizer), 16, window=9, seed=42)

    check_goes_on(make, 97)


def test_lines_that_were_read_before_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "CHUNK", 200)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(100)))
    texts = stream_texts([str(path)])
    first = [row["text"] for row in islice(texts, 60)]
    place = texts.state_dict()
    read, starts = text_files._texts_at, []

    def counting(source: Any, start: int, end: int) -> list[str]:
        starts.append(start)
        return read(source, start, end)

    monkeypatch.setattr(text_files, "_texts_at", counting)
    texts.load_state_dict(place)
    assert first + [row["text"] for row in texts] == [f"text {number}" for number in range(100)]
    assert min(starts) > path.stat().st_size / 2


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


AT_THE_END = """
import atexit, gc, sys, types

@atexit.register  # before clmkit's own, so that it runs after
def count_readers():
    alive = [thing for thing in gc.get_objects() if type(thing) is types.GeneratorType and thing.gi_frame is not None]
    print(sum(generator.gi_code.co_name == "_iter_arrow" for generator in alive), "of Datasets' iterators")

from datasets import load_dataset
from transformers import AutoTokenizer
from clmkit.scale.streams import BlockStream
from clmkit.texts import join_answers
from clmkit.tokenization import tokenize

rows = load_dataset("parquet", data_files=sys.argv[1], split="train", streaming=True)
tokens = tokenize(join_answers(rows), AutoTokenizer.from_pretrained(sys.argv[2]))
blocks = iter(BlockStream(tokens, 8, window=2, seed=0))
print(len(next(blocks)["input_ids"]))
"""


def test_nothing_reads_parquet_any_more_when_python_ends(tmp_path: Path) -> None:
    """In some runs pyarrow's reader aborted Python then: ``terminate called without an active exception``."""
    file = tmp_path / "texts.parquet"
    parquet.write_table(pa.table({"text": ["the sky is blue because of the air"] * 100}), file, row_group_size=10)
    python = [sys.executable, "-c", AT_THE_END, str(file), str(BUNDLED / "tiny_gpt2")]
    ended = subprocess.run(python, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "8\n0 of Datasets' iterators\n"), ended.stderr
