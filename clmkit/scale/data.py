"""From what a track says to blocks: of rows on this disk as in notebooks 02 to 05, or of a stream."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from accelerate import PartialState
from datasets import Dataset, IterableDataset
from pyarrow import parquet
from transformers import PreTrainedTokenizerBase

from clmkit.chunking import chunk, prepare_blocks
from clmkit.files import describe_files
from clmkit.hub.data_sets import find_hub_files, open_hub_data
from clmkit.messages import _
from clmkit.paths import find_files
from clmkit.saving import write_whole
from clmkit.scale.streams import BlockStream, Stream, hold_out
from clmkit.scale.text_files import stream_texts
from clmkit.texts import join_answers
from clmkit.tokenization import tokenize
from clmkit.tracks import Track
from clmkit.training.model_card import describe_blocks

HELD_OUT = "held_out.parquet"  # the blocks that a streamed run is tested on


@dataclass
class Prepared:
    """Blocks to train and test on, and where they came from.

    Attributes:
        train: Blocks, or a stream of them.
        test: Blocks.
        held_out: The share of rows to test on.
        facts: What a model's card says of them, by name.
        fingerprint: A hash of all tokens to train and to test on; of a stream, of its files.
    """

    train: Dataset | BlockStream
    test: Dataset
    held_out: float
    facts: dict[str, str]
    fingerprint: str

    @property
    def stream(self) -> BlockStream | None:
        """What is trained on, if it is a stream."""
        return self.train if isinstance(self.train, BlockStream) else None


def prepare_rows(track: Track, tokenizer: PreTrainedTokenizerBase, context: int | None) -> Prepared:
    """Make blocks of rows that fit on this disk, and a fingerprint of all tokens.

    Args:
        track: What to load, and how to cut it.
        tokenizer: The model's.
        context: The longest block that the model takes.

    Raises:
        ValueError: As ``prepare_blocks``.
        OSError: As ``prepare_blocks``.
    """
    blocks = prepare_blocks(track, tokenizer, context=context)
    digest = hashlib.sha256()
    for part in (blocks["train"], blocks["test"]):
        for piece in part.with_format("arrow")[:].column("input_ids").chunks:
            digest.update(piece.flatten().to_numpy().tobytes())
    held_out = 0.2 if track.test_size is None else track.test_size
    return Prepared(blocks["train"], blocks["test"], held_out, describe_blocks(blocks, track), digest.hexdigest())


def prepare_stream(
    track: Track,
    stream: Stream,
    tokenizer: PreTrainedTokenizerBase,
    context: int | None,
    folder: Path,
    seed: int,
) -> Prepared:
    """Make a stream of blocks for this process, and read the rows to test on, which are few.

    Args:
        track: What to read, and how to cut it.
        stream: What only a stream needs.
        tokenizer: The model's.
        context: The longest block that the model takes.
        folder: Keeps the blocks to test on, so that a run that goes on need not look for them again.
        seed: Of the order in which rows come.

    Raises:
        ValueError: If none of the rows is held out, they hold too little text, or ``stream_texts`` refuses a file.
        FileNotFoundError: If a file is not there.
        ConnectionError: If the Hub fails.
    """
    share = 0.01 if track.test_size is None else track.test_size
    if not 0 < share < 1:
        raise ValueError(f"--test_size {share} leaves nothing to train on, or to test on: take a share between 0 and 1")
    texts, source = _open(track)
    kept = _has_held_out(folder)
    train, test = hold_out(texts, share, 0 if kept else stream.test_rows)
    if not kept:
        if not len(test):
            raise ValueError(f"none of the rows is held out by --test_size {share}: raise it")
        tokens = tokenize(test, tokenizer, append_eos=track.append_eos)
        with write_whole(folder) as unfinished:
            chunk(tokens, track.block_size, context=context).to_parquet(unfinished / HELD_OUT)
    blocks = BlockStream(
        tokenize(train, tokenizer, append_eos=track.append_eos),
        track.block_size,
        window=stream.window,
        seed=seed,
        rank=PartialState().process_index,
        processes=PartialState().num_processes,
    )
    held_out = read_held_out(folder)
    facts = {
        "data": source,
        "split": f"{share:.3g} of the rows held out by a checksum of their text",
        "block size": f"{track.block_size} tokens",
        "blocks": f"streamed to train on, {len(held_out):,} to test on",
    }
    return Prepared(blocks, held_out, share, facts, hashlib.sha256(source.encode()).hexdigest())


def _has_held_out(folder: Path) -> bool:
    """Whether the blocks to test on are there; if they are broken, a line says so."""
    path = folder / HELD_OUT
    try:
        return path.is_file() and bool(parquet.read_metadata(path))
    except pa.ArrowInvalid as error:  # a loss of power can leave it empty, or in part
        print(_("Passing over {path}, which is broken: {error}", path=path.as_posix(), error=str(error)))
        return False


def read_held_out(folder: Path) -> Dataset:
    """The blocks that a streamed run is tested on; ``Dataset.from_parquet`` would leave a copy in the cache.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it is not whole (pyarrow's ``ArrowInvalid``).
    """
    return Dataset(parquet.read_table(folder / HELD_OUT))


def _open(track: Track) -> tuple[IterableDataset, str]:
    """Texts as they come, and where they come from."""
    if files := find_files(track.data):
        texts, source = stream_texts(files, track.text_column, track.encoding), describe_files(files)
    elif found := find_hub_files(str(track.data), track.data_revision, config=track.data_config):
        texts, source = stream_texts(found.files, track.text_column), found.source
    else:
        rows, source = open_hub_data(str(track.data), track.data_revision, config=track.data_config, streaming=True)
        texts = join_answers(rows, track.text_column)
    if track.rows:
        source, texts = f"{source}, the first {track.rows:,} rows", texts.take(track.rows)
    return texts, source
