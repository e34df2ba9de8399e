"""Train on data larger than memory and disk: rows are read, tokenized and cut into blocks as training needs them."""

import atexit
import gc
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any
from weakref import WeakSet

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, IterableDataset
from torch.utils.data import get_worker_info

from clmkit.tracks import check_whole_number

HASH_RANGE = 2**32
BEGINNING: dict[str, Any] = {"epoch": 0, "window": 0, "rows": None, "carry": [], "blocks": 0}


@dataclass(frozen=True)
class Stream:
    """What only a job that reads its data while it trains needs.

    Attributes:
        window: Rows that are shuffled at a time, and held in memory.
        test_rows: How many rows to test on at most.
    """

    window: int = 10_000
    test_rows: int = 500

    def __post_init__(self) -> None:
        """Raise a ValueError unless both are whole numbers of 1 or more."""
        check_whole_number("window", self.window)
        check_whole_number("test_rows", self.test_rows)


def is_held_out(text: str, share: float) -> bool:
    """Whether a text of a stream is one to test on, which its checksum decides.

    So a text is on the same side whatever the order, the number of processes or the point where a run goes on, and
    two copies of it are never on both.

    Args:
        text: The text.
        share: The share of texts to hold out, between 0 and 1.
    """
    return zlib.crc32(text.encode()) < share * HASH_RANGE


def hold_out(texts: IterableDataset, share: float, rows: int) -> tuple[IterableDataset, Dataset]:
    """Split a stream of texts into a stream to train on, and rows to test on.

    Args:
        texts: Rows with the column ``text``.
        share: The share of texts to hold out.
        rows: How many of them to test on at most; the rest of them is not used.

    Returns:
        The stream of the other texts, and the rows to test on, of which there may be none.
    """

    def select(held_out: bool) -> IterableDataset:
        def keep(table: pa.Table) -> pa.Table:
            mask = [is_held_out(text, share) is held_out for text in table.column("text").to_pylist()]
            return table.filter(pa.array(mask, pa.bool_()))

        # Not filter: that of datasets 4.0, which Colab has, raises a TypeError on rows whose types are known.
        return texts.with_format("arrow").map(keep, batched=True, features=texts.features).with_format(None)

    return select(False), Dataset.from_dict({"text": [row["text"] for row in select(True).take(rows)]})


Blocks = Generator[dict[str, list[int]], None, None]
_being_read = WeakSet[Blocks]()


@atexit.register
def _stop_reading() -> None:
    """End what reads Parquet for Datasets: where it outlives Python, it may abort it (apache/arrow#45214)."""
    for blocks in list(_being_read):
        blocks.close()
    gc.collect()  # the readers stand in circles


class BlockStream(torch.utils.data.IterableDataset[dict[str, list[int]]]):
    """An endless stream of blocks, of which each process takes its share, and which can go on from any block.

    Rows are read in windows. Each window is shuffled, its tokens joined behind what the window before left over, and
    cut into blocks; so memory holds one window, and what has to be read again to go on is one window. After the last
    row the stream begins anew, in another order.

    Every process reads all rows, and they take the blocks in turn. So they have one place in the stream, from which
    another number of processes can go on, and the blocks of a step do not depend on how many share it. It costs that
    each process tokenizes all of them, about three million tokens a second.
    """

    def __init__(
        self, tokens: IterableDataset, block_size: int, *, window: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        """Make a stream that begins at the first row.

        Args:
            tokens: Rows of ``input_ids``, as ``tokenize`` gives them.
            block_size: Tokens in a block.
            window: Rows in a window.
            seed: Of the order within windows.
            rank: Which of the processes this one is.
            processes: How many share the blocks.
        """
        self.tokens = tokens.with_format("arrow")
        self.block_size, self.window, self.seed = block_size, window, seed
        self.rank, self.processes = rank, processes
        self._state = BEGINNING

    def state_dict(self) -> dict[str, Any]:
        """Where all processes are, when each has taken its next block; it can be written as JSON."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another stream of the same rows was, however many processes shared it."""
        self._state = dict(state)

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        if get_worker_info() is not None:
            raise ValueError("a stream is read by the process that trains: leave dataloader_num_workers at 0")
        blocks = self._all_blocks()
        _being_read.add(blocks)
        while True:
            yield list(islice(blocks, self.processes))[self.rank]

    def _all_blocks(self) -> Blocks:
        """The blocks of all processes, without end."""
        while True:
            at_the_beginning = self._state["rows"] is None and self._state["blocks"] == 0
            blocks = self._blocks_of_epoch(self._state["epoch"])
            first = next(blocks, None)
            if first is None and at_the_beginning:
                raise ValueError(f"the stream holds too few tokens to fill one block of {self.block_size}")
            if first is not None:
                yield first
                yield from blocks
            self._state = {**BEGINNING, "epoch": self._state["epoch"] + 1}

    def _blocks_of_epoch(self, epoch: int) -> Iterator[dict[str, list[int]]]:
        """What is left of one pass over the rows; before each block the state is that after it."""
        start, size = self._state, self.block_size
        self.tokens.set_epoch(epoch)
        if start["rows"] is not None:
            self.tokens.load_state_dict(start["rows"])
        windows = self.tokens.iter(self.window)
        carry, done = np.array(start["carry"], np.int32), start["blocks"]
        for number in count(start["window"]):
            rows = start["rows"] if number == start["window"] else self.tokens.state_dict()
            table = next(windows, None)
            if table is None:
                return
            place = {"epoch": epoch, "window": number, "rows": rows, "carry": carry.tolist()}
            ids = np.concatenate([carry, self._shuffled(table, epoch, number)])
            for block in range(done, len(ids) // size):
                self._state = {**place, "blocks": block + 1}
                yield {"input_ids": ids[block * size : (block + 1) * size].tolist()}
            carry, done = ids[len(ids) // size * size :], 0

    def _shuffled(self, table: pa.Table, epoch: int, window: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The tokens of a window's rows, the rows in another order in every epoch."""
        rows = table.column("input_ids").combine_chunks()
        order = np.random.default_rng([self.seed, epoch, window]).permutation(len(rows))
        ids: np.ndarray[Any, np.dtype[np.int32]] = rows.take(pa.array(order)).flatten().to_numpy()
        return ids
