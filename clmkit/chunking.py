"""Cut token sequences of uneven length into blocks of equal length, and make batches of blocks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datasets import Dataset, DatasetDict, DatasetInfo, IterableDataset
from datasets.fingerprint import Hasher

from clmkit.eli5 import load_eli5
from clmkit.texts import Rows, join_answers, split_rows
from clmkit.tokenization import INPUT_IDS, check_tokenizer, count_tokens, tokenize
from clmkit.tracks import Track, check_whole_number

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def check_block_size(block_size: int, context: int | None = None) -> None:
    """Raise a ValueError unless ``block_size`` is a whole number from 1 to the model's context length."""
    check_whole_number("block_size", block_size)
    if context is not None and block_size > context:
        raise ValueError(f"block_size {block_size} is longer than the model's context of {context} tokens: lower it")


def context_length(config: "PreTrainedConfig") -> int | None:
    """The longest text that a model takes, in tokens; ``None`` where nothing limits it, as in Mamba and BLOOM."""
    text = config.get_text_config()
    return getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)  # the latter is MPT's


def chunk(dataset: Rows, block_size: int = 128, *, context: int | None = None) -> Rows:
    """Join all sequences and cut them into blocks, carrying what is left of one batch over to the next.

    Fewer than ``block_size`` tokens are lost in all, at the very end, and the blocks do not depend on how the rows are
    batched or on how many processes tokenized them. The blocks are views of the tokens' own memory: next to nothing is
    copied. There are no ``labels``: they would be the ``input_ids`` once more, and a collator makes them.

    Args:
        dataset: Rows of ``input_ids``, as ``tokenize`` gives them. They may be streamed; then so are the blocks.
        block_size: Tokens in a block.
        context: The longest block that the model takes, if it is to be checked; see ``context_length``.

    Returns:
        Rows of exactly ``block_size`` tokens, of the same kind, in the single column ``input_ids`` (lists of int32).

    Raises:
        ValueError: If ``block_size`` is not a whole number from 1 to ``context``, or there are fewer tokens than that.
    """
    check_block_size(block_size, context)
    if isinstance(dataset, DatasetDict):
        return DatasetDict({side: chunk(rows, block_size, context=context) for side, rows in dataset.items()})
    if isinstance(dataset, IterableDataset):
        arguments = {"dataset": dataset, "block_size": block_size}
        return IterableDataset.from_generator(_cut_stream, features=INPUT_IDS, gen_kwargs=arguments)
    tokens = count_tokens(dataset)
    if tokens < block_size:
        raise ValueError(
            f"{len(dataset):,} rows hold {tokens:,} tokens, which do not fill one block of {block_size}: take "
            "more rows or a smaller block_size"
        )
    column = dataset.with_format("arrow")[:].column("input_ids")
    blocks = _cut([rows.flatten() for rows in column.chunks], block_size)
    info = DatasetInfo(description=dataset.info.description, features=INPUT_IDS)
    # Without a fingerprint, Dataset would read all tokens to make one. This one is the same for the same tokens and
    # block_size, in any process. (_fingerprint is private to datasets; a test names it.)
    fingerprint = Hasher.hash(("clmkit.chunk", dataset._fingerprint, block_size))
    table = pa.table({"input_ids": blocks}, schema=INPUT_IDS.arrow_schema)
    return Dataset(table, info=info, fingerprint=fingerprint)


def _cut_stream(dataset: IterableDataset, block_size: int) -> Iterator[dict[str, Any]]:
    """The blocks of a stream of rows, one by one."""
    carry = pa.array([], pa.int32())
    cut = 0
    for table in dataset.with_format("arrow").iter(batch_size=1000):
        flat = pa.concat_arrays(
            [carry, *[rows.flatten().cast(pa.int32()) for rows in table.column("input_ids").chunks]]
        )
        whole = len(flat) // block_size * block_size
        for ids in flat[:whole].to_numpy().reshape(-1, block_size).tolist():
            yield {"input_ids": ids}
        carry = flat[whole:]
        cut += whole
    if not cut:
        raise ValueError(f"the stream holds {len(carry):,} tokens, which do not fill one block of {block_size}")


def _cut(pieces: list[Any], block_size: int) -> pa.ChunkedArray:
    """Cut a run of flat arrays into lists of ``block_size``: views, but for blocks that cross from piece to piece."""
    arrays: list[pa.Array] = []
    carry: list[pa.Array] = []  # fewer than block_size tokens, left over from the pieces before
    for piece in pieces:
        missing = block_size - sum(map(len, carry))
        if len(piece) < missing:
            carry.append(piece)
            continue
        if carry:
            arrays.append(_as_blocks(pa.concat_arrays([*carry, piece[:missing]]), block_size))
            piece = piece[missing:]
        whole = len(piece) // block_size * block_size
        if whole:
            arrays.append(_as_blocks(piece[:whole], block_size))
        carry = [piece[whole:]]
    return pa.chunked_array(arrays)


def _as_blocks(flat: pa.Array, block_size: int) -> pa.ListArray:
    offsets = pa.array(range(0, len(flat) + 1, block_size), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)


def collate_blocks(rows: Sequence[Mapping[str, Sequence[int]]]) -> "dict[str, torch.Tensor]":
    """Make a batch of blocks (the guide's ``data_collator``): blocks of equal length need no padding.

    Args:
        rows: Blocks, each with ``input_ids`` of the same length, and ``labels`` where they are others.

    Returns:
        ``input_ids`` and ``labels``, int64 of shape (batch, block_size), equal unless the rows have labels: the model
        shifts them, and an eos_token in them counts. The guide's collator would take it for padding and leave it out.
    """
    import torch

    labels = [row.get("labels", row["input_ids"]) for row in rows]
    return {"input_ids": torch.tensor([row["input_ids"] for row in rows]), "labels": torch.tensor(labels)}


def prepare_blocks(
    track: Track, tokenizer: "PreTrainedTokenizerBase", block_size: int | None = None, *, context: int | None = None
) -> DatasetDict:
    """Notebooks 02 to 05 in one call: load, split, join, tokenize and chunk the track's rows.

    Args:
        track: What to load, and how to cut it.
        tokenizer: The model's.
        block_size: Tokens in a block; by default the track's.
        context: The longest block that the model takes, to check against.

    Returns:
        ``"train"`` and ``"test"`` blocks, in the order of the rows.

    Raises:
        ValueError: If the rows hold no text, or too little of it, the blocks are longer than the context, or as
            ``check_tokenizer``.
        OSError: As ``load_eli5``.
    """
    size = track.block_size if block_size is None else block_size
    check_tokenizer(tokenizer, append_eos=track.append_eos)  # before the rows are read, of which there may be many
    check_block_size(size, context)
    rows = split_rows(load_eli5(track), 0.2 if track.test_size is None else track.test_size)
    tokens = tokenize(join_answers(rows, track.text_column), tokenizer, append_eos=track.append_eos)
    return chunk(tokens, size, context=context)
