from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, LargeList, List, Value, concatenate_datasets
from transformers import (
    AutoTokenizer,
    BloomConfig,
    GPT2Config,
    MambaConfig,
    MptConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from clmkit import chunking
from clmkit.chunking import check_block_size, chunk, collate_blocks, context_length, prepare_blocks
from clmkit.eli5 import load_eli5
from clmkit.files import load_local
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import INPUT_IDS, count_tokens, tokenize
from clmkit.tracks import Track


@pytest.fixture(scope="module")
def tokens(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    return tokenize(texts["train"], tokenizer)


@pytest.mark.parametrize(
    ("config", "context"),
    [(GPT2Config(n_positions=64), 64), (MptConfig(max_seq_len=32), 32), (BloomConfig(), None), (MambaConfig(), None)],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_the_context_is_read_by_whatever_name_a_model_has_for_it(config: PreTrainedConfig, context: int | None) -> None:
    assert context_length(config) == context


def addresses(column: pa.ChunkedArray) -> list[tuple[int, int]]:
    """First and last address of the memory that each piece of a column of lists reads its values from."""
    pieces = []
    for piece in column.chunks:
        values = piece.flatten()
        start = values.buffers()[1].address + values.offset * 4
        pieces.append((start, start + len(values) * 4))
    return pieces


def arrow_column(dataset: Dataset) -> pa.ChunkedArray:
    return dataset.with_format("arrow")[:].column("input_ids")


def test_check_block_size_takes_every_size_from_one_to_the_context() -> None:
    assert [check_block_size(size, 512) for size in (1, 128, 512)] == [None] * 3
    assert check_block_size(10**6) is None


@pytest.mark.parametrize("block_size", [0, -1, 1.5, 128.0, "128", None, True])
def test_check_block_size_refuses_all_but_whole_numbers_from_one(block_size: object) -> None:
    with pytest.raises(ValueError, match=r"block_size must be a whole number of 1 or more, not "):
        check_block_size(block_size)  # type: ignore[arg-type]


def test_check_block_size_refuses_more_than_the_context() -> None:
    with pytest.raises(ValueError, match=r"block_size 513 .* context of 512 tokens"):
        check_block_size(513, 512)


def test_blocks_are_one_column_of_int32_lists(tokens: Dataset) -> None:
    blocks = chunk(tokens, 16)
    assert blocks.features == Features({"input_ids": List(Value("int32"))})
    assert {len(block) for block in blocks["input_ids"]} == {16}


def test_fewer_tokens_than_a_block_are_lost_in_all(tokens: Dataset) -> None:
    for block_size in (1, 7, 128):
        assert count_tokens(tokens) - count_tokens(chunk(tokens, block_size)) < block_size


def test_blocks_of_one_piece_share_their_memory_with_the_tokens(tokens: Dataset) -> None:
    [(start, end)] = addresses(arrow_column(tokens))
    for first, last in addresses(arrow_column(chunk(tokens, 16))):
        assert start <= first <= last <= end


def test_of_many_pieces_only_the_blocks_across_a_seam_are_copied(tokens: Dataset) -> None:
    pieces = [tokens.select(range(start, start + 8)).flatten_indices() for start in (0, 8, 16)]
    joined = concatenate_datasets(pieces)
    memory = addresses(arrow_column(joined))
    blocks = arrow_column(chunk(joined, 16))
    copied = [
        piece
        for piece, (first, last) in zip(blocks.chunks, addresses(blocks), strict=True)
        if not any(start <= first <= last <= end for start, end in memory)
    ]
    assert len(memory) == 3
    assert sum(map(len, copied)) <= 2


def test_on_disk_a_token_takes_four_bytes(tmp_path: Path) -> None:
    tokens = Dataset.from_dict({"input_ids": [list(range(128))] * 1000}, features=INPUT_IDS)
    chunk(tokens, 128).save_to_disk(tmp_path / "blocks")
    size = sum(file.stat().st_size for file in (tmp_path / "blocks").glob("*.arrow"))
    assert 4 <= size / 128_000 < 4.1


def test_the_same_tokens_give_the_same_fingerprint(tokens: Dataset) -> None:
    assert chunk(tokens, 16)._fingerprint == chunk(tokens, 16)._fingerprint != chunk(tokens, 8)._fingerprint
    assert chunk(tokens.select([0, 1]), 8)._fingerprint != chunk(tokens, 8)._fingerprint


@pytest.mark.parametrize("block_size", [1, 7, 128])
def test_a_stream_gives_the_same_blocks_as_a_stream(tokens: Dataset, block_size: int) -> None:
    stream = chunk(tokens.to_iterable_dataset(num_shards=3), block_size)
    assert isinstance(stream, IterableDataset)
    assert stream.features == Features({"input_ids": List(Value("int32"))})
    for _ in range(2):
        assert list(stream) == list(chunk(tokens, block_size))


def test_a_stream_carries_over_from_batch_to_batch() -> None:
    rows = Dataset.from_dict({"input_ids": [[number] * 3 for number in range(2500)]}, features=INPUT_IDS)
    stream = chunk(rows.to_iterable_dataset(), 128)
    assert [ids for block in stream for ids in block["input_ids"]] == [n // 3 for n in range(7500 // 128 * 128)]


def test_a_stream_too_short_for_a_block_says_so() -> None:
    stream = Dataset.from_dict({"input_ids": [[1, 2], [3]]}, features=INPUT_IDS).to_iterable_dataset()
    with pytest.raises(ValueError, match=r"holds 3 tokens, which do not fill one block of 4"):
        list(chunk(stream, 4))


def test_a_dataset_dict_is_cut_side_by_side(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenize(texts, tokenizer)
    blocks = chunk(tokens, 16)
    assert isinstance(blocks, DatasetDict)
    assert {side: rows["input_ids"][:] for side, rows in blocks.items()} == {
        side: chunk(rows, 16)["input_ids"][:] for side, rows in tokens.items()
    }


def test_chunk_refuses_blocks_longer_than_the_context_even_of_a_dataset_dict(tokens: Dataset) -> None:
    for rows in (tokens, DatasetDict(train=tokens)):
        with pytest.raises(ValueError, match=r"block_size 64 .* context of 32"):
            chunk(rows, 64, context=32)


def test_chunk_says_how_many_tokens_there_are_where_they_fill_no_block(tokens: Dataset) -> None:
    few = tokens.select([0])
    with pytest.raises(ValueError, match=rf"1 rows hold {count_tokens(few)} tokens.* one block of 128.* more rows or"):
        chunk(few, 128)


def test_exactly_one_block_of_tokens_gives_one_block() -> None:
    tokens = Dataset.from_dict({"input_ids": [[1, 2], [], [3, 4]]})
    assert chunk(tokens, 4)["input_ids"][:] == [[1, 2, 3, 4]]


def test_blocks_survive_a_round_trip_through_the_disk(tokens: Dataset, tmp_path: object) -> None:
    blocks = chunk(tokens, 16)
    blocks.save_to_disk(f"{tmp_path}/blocks")
    assert Dataset.load_from_disk(f"{tmp_path}/blocks")["input_ids"][:] == blocks["input_ids"][:]


def test_blocks_can_be_shuffled_selected_and_split_like_any_dataset(tokens: Dataset) -> None:
    blocks = chunk(tokens, 16)
    whole = blocks["input_ids"][:]
    assert sorted(blocks.shuffle(seed=1)["input_ids"][:]) == sorted(whole)
    assert blocks.select([3, 1])["input_ids"][:] == [whole[3], whole[1]]
    assert sum(map(len, blocks.train_test_split(0.25, seed=1).values())) == len(whole)


def test_labels_of_the_rows_own_are_kept() -> None:
    batch = collate_blocks([{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [7, 8], "labels": [7, 8]}])
    assert batch["input_ids"].tolist() == [[5, 6], [7, 8]]
    assert batch["labels"].tolist() == [[-100, 6], [7, 8]]


def test_prepare_blocks_is_the_notebooks_steps_in_one(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    prepared = prepare_blocks(quick, tokenizer, 64)
    texts = join_answers(split_rows(load_local(quick.data, quick.rows)))
    by_hand = chunk(tokenize(texts, tokenizer), 64)
    assert {side: rows["input_ids"][:] for side, rows in prepared.items()} == {
        side: rows["input_ids"][:] for side, rows in by_hand.items()
    }
    assert len(prepare_blocks(quick, tokenizer)["train"][0]["input_ids"]) == 128


def test_prepare_blocks_cuts_as_the_track_says(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    described = replace(quick, block_size=64, append_eos=True, test_size=0.5, text_column="title")
    texts = join_answers(split_rows(load_local(quick.data, quick.rows), 0.5), "title")
    by_hand = chunk(tokenize(texts, tokenizer, append_eos=True), 64)
    prepared = prepare_blocks(described, tokenizer)
    assert {side: rows["input_ids"][:] for side, rows in prepared.items()} == {
        side: rows["input_ids"][:] for side, rows in by_hand.items()
    }
    with pytest.raises(ValueError, match="block_size 64 is longer than the model's context of 63 tokens"):
        prepare_blocks(described, tokenizer, context=63)


def test_the_blocks_know_where_their_rows_came_from(quick: Track, tokenizer: PreTrainedTokenizerBase) -> None:
    source = load_eli5(quick).info.description
    assert source.startswith("eli5_sample.jsonl, sha256 ")
    assert {rows.info.description for rows in prepare_blocks(quick, tokenizer).values()} == {source}
    tokens = tokenize(join_answers(split_rows(load_eli5(quick))), tokenizer, num_proc=2)
    assert {rows.info.description for rows in chunk(tokens, 64).values()} == {source}


@pytest.mark.parametrize(
    "kind",
    [List(Value("int64")), LargeList(Value("int64")), List(Value("int32"), length=3)],
    ids=["long", "large list", "equal lists"],
)
def test_ids_of_any_size_in_any_kind_of_list_are_cut_stored_or_streamed(kind: Any) -> None:
    rows = Dataset.from_dict({"input_ids": [[1, 2, 3], [4, 5, 6]]}, features=Features({"input_ids": kind}))
    blocks = [{"input_ids": ids} for ids in ([1, 2], [3, 4], [5, 6])]
    assert chunk(rows, 2).to_list() == list(chunk(rows.to_iterable_dataset(), 2)) == blocks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"append_eos": True}, "has no eos_token to append"),
        ({"block_size": 600}, "block_size 600 is longer than the model's context of 512"),
    ],
)
def test_what_no_rows_would_mend_is_refused_before_they_are_read(
    quick: Track, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(chunking, "load_eli5", lambda track: pytest.fail("rows were read"))
    own = AutoTokenizer.from_pretrained(quick.model)
    own.eos_token = None if "append_eos" in change else own.eos_token
    with pytest.raises(ValueError, match=message):
        prepare_blocks(replace(quick, **change), own, context=512)
