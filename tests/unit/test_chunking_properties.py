"""Properties of chunking that hold for any documents, however their rows are stored."""

from itertools import chain, pairwise
from random import Random

import pyarrow as pa
from datasets import Dataset, Features, List, Value, concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from clmkit.chunking import chunk
from tests.guide import group_texts as guide_group_texts

Documents = list[list[int]]
INPUT_IDS = Features({"input_ids": List(Value("int32"))})

token_ids = st.integers(0, 50_256)
documents = st.lists(st.lists(token_ids, max_size=20), min_size=1, max_size=25)


@st.composite
def enough(draw: st.DrawFn) -> tuple[Documents, int]:
    """Documents, empty ones among them, and a block_size that their tokens fill at least once."""
    rows = draw(documents)
    rows.insert(draw(st.integers(0, len(rows))), draw(st.lists(token_ids, min_size=1, max_size=20)))
    return rows, draw(st.integers(1, min(40, sum(map(len, rows)))))


def stored(rows: Documents) -> Dataset:
    return Dataset.from_dict({"input_ids": rows}, features=INPUT_IDS)


def in_pieces(rows: Documents, cuts: list[int]) -> Dataset:
    """The same rows, stored as one Arrow chunk for each stretch between two cuts; some of them empty."""
    places = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    arrays = [pa.array(rows[a:b], pa.list_(pa.int32())) for a, b in pairwise(places)]
    return Dataset(pa.table({"input_ids": pa.chunked_array(arrays)}, schema=INPUT_IDS.arrow_schema))


@given(enough())
def test_chunk_equals_the_guides_group_texts_on_one_batch(case: tuple[Documents, int]) -> None:
    rows, block_size = case
    blocks = guide_group_texts({"input_ids": rows}, block_size)["input_ids"]
    assert chunk(stored(rows), block_size).to_dict() == {"input_ids": blocks}


@given(enough())
def test_chunk_loses_only_a_tail_shorter_than_a_block(case: tuple[Documents, int]) -> None:
    rows, block_size = case
    tokens = list(chain.from_iterable(rows))
    kept = list(chain.from_iterable(chunk(stored(rows), block_size)["input_ids"]))
    assert kept == tokens[: len(kept)]
    assert len(tokens) - len(kept) < block_size


@given(enough(), st.lists(st.integers(0, 25), max_size=8))
def test_chunk_gives_the_same_blocks_however_the_rows_are_stored(case: tuple[Documents, int], cuts: list[int]) -> None:
    rows, block_size = case
    assert chunk(in_pieces(rows, cuts), block_size).to_dict() == chunk(stored(rows), block_size).to_dict()


@given(enough(), st.integers(1, 25))
@settings(max_examples=20)
def test_chunk_gives_the_same_blocks_whatever_the_batch_size(case: tuple[Documents, int], batch_size: int) -> None:
    rows, block_size = case
    written = stored(rows).map(lambda row: row, writer_batch_size=batch_size)
    joined = concatenate_datasets([stored([row]) for row in rows])
    expected = chunk(stored(rows), block_size).to_dict()
    assert chunk(written, block_size).to_dict() == chunk(joined, block_size).to_dict() == expected


@given(enough(), documents, st.randoms(use_true_random=False))
def test_chunk_follows_the_order_of_selected_rows(
    case: tuple[Documents, int], others: Documents, random: Random
) -> None:
    rows, block_size = case
    everything = [*rows, *others]
    order = list(range(len(everything)))
    random.shuffle(order)
    mixed = [everything[place] for place in order]
    places = [order.index(number) for number in range(len(rows))]
    assert chunk(stored(mixed).select(places), block_size).to_dict() == chunk(stored(rows), block_size).to_dict()


@given(enough(), st.integers(0, 99))
def test_chunk_follows_the_order_of_shuffled_rows(case: tuple[Documents, int], seed: int) -> None:
    rows, block_size = case
    shuffled = stored(rows).shuffle(seed=seed)
    assert chunk(shuffled, block_size).to_dict() == chunk(stored(shuffled["input_ids"][:]), block_size).to_dict()


@given(documents, enough(), documents)
def test_chunk_of_a_slice_sees_the_rows_of_the_slice_alone(
    before: Documents, case: tuple[Documents, int], after: Documents
) -> None:
    rows, block_size = case
    part = stored([*before, *rows, *after]).select(range(len(before), len(before) + len(rows)))
    assert chunk(part, block_size).to_dict() == chunk(stored(rows), block_size).to_dict()


@given(enough(), st.integers(0, 25))
def test_an_empty_document_changes_no_block(case: tuple[Documents, int], place: int) -> None:
    rows, block_size = case
    with_empty = [*rows[:place], [], *rows[place:]]
    assert chunk(stored(with_empty), block_size).to_dict() == chunk(stored(rows), block_size).to_dict()


@given(enough())
def test_a_stream_is_cut_as_the_stored_rows_are(case: tuple[Documents, int]) -> None:
    rows, block_size = case
    assert list(chunk(stored(rows).to_iterable_dataset(), block_size)) == list(chunk(stored(rows), block_size))
