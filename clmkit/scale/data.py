"""From what a run is told to train on to blocks: rows of files or of the Hub, whole or streamed."""

import glob
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset, concatenate_datasets, load_dataset
from huggingface_hub import HfApi
from pyarrow import parquet
from transformers import PreTrainedTokenizerBase

from clmkit.chunking import chunk
from clmkit.eli5 import load_eli5
from clmkit.files import BUILDERS, load_local
from clmkit.hub.client import hub_step
from clmkit.messages import _
from clmkit.saving import write_whole
from clmkit.scale.options import RunOptions
from clmkit.scale.streams import BlockStream, hold_out
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import tokenize
from clmkit.tracks import HUB_DATA, Track
from clmkit.training.model_card import describe_blocks

HELD_OUT = "held_out.parquet"  # the blocks that a streamed run is tested on


@dataclass
class Prepared:
    """Blocks to train and test on, and where they came from.

    Attributes:
        train: Blocks, or a stream of them.
        test: Blocks.
        facts: What a model's card says of them, by name.
        fingerprint: A hash of all tokens to train and to test on; of a stream, of its files.
        rows: How many rows there were; ``None`` for a stream, which nobody has counted.
    """

    train: Dataset | BlockStream
    test: Dataset
    facts: dict[str, str]
    fingerprint: str
    rows: int | None


def prepare_rows(track: Track, options: RunOptions, tokenizer: PreTrainedTokenizerBase, context: int) -> Prepared:
    """Load, split, join, tokenize and chunk rows that fit on this disk, as notebooks 02 to 05 do.

    Args:
        track: Names the data where the options do not.
        options: What to load, and how to cut it.
        tokenizer: The model's.
        context: The longest block that the model takes.

    Returns:
        Blocks, in the order of the rows.

    Raises:
        ValueError: If the rows hold no text, or too little of it.
        FileNotFoundError: If a file is not there.
        ConnectionError: If the Hub fails.
        OSError: If the disk is full.
    """
    rows = _load(track, options)
    texts = join_answers(split_rows(rows, options.held_out), options.text_column)
    blocks = chunk(tokenize(texts, tokenizer, append_eos=options.append_eos), options.block_size, context=context)
    fingerprint = _fingerprint(blocks["train"], blocks["test"])
    facts = describe_blocks(blocks, f"{options.held_out:.3g}")
    return Prepared(blocks["train"], blocks["test"], facts, fingerprint, len(rows))


def prepare_stream(
    track: Track,
    options: RunOptions,
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    folder: Path,
    *,
    seed: int,
    rank: int = 0,
    processes: int = 1,
) -> Prepared:
    """Make a stream of blocks, and read the rows to test on, which are few.

    Args:
        track: Names the data where the options do not.
        options: What to read, and how to cut it.
        tokenizer: The model's.
        context: The longest block that the model takes.
        folder: Keeps the blocks to test on, so that a run that goes on need not look for them again.
        seed: Of the order in which rows come.
        rank: Which of the processes this one is.
        processes: How many share the stream.

    Returns:
        A stream to train on, and blocks to test on.

    Raises:
        ValueError: If none of the rows is held out, or they hold too little text.
        FileNotFoundError: If a file is not there.
        ConnectionError: If the Hub fails.
    """
    rows, source, fingerprint = _open_stream(track, options)
    texts = join_answers(rows, options.text_column)
    how: dict[str, Any] = {"append_eos": options.append_eos}
    kept = folder / HELD_OUT
    train, test = hold_out(texts, options.held_out, 0 if kept.is_file() else options.test_rows)
    if kept.is_file():
        test_blocks = read_held_out(folder)
    else:
        if not len(test):
            raise ValueError(f"none of the rows is held out by --test_size {options.held_out}: raise it")
        test_blocks = chunk(tokenize(test, tokenizer, **how), options.block_size, context=context)
        with write_whole(folder) as unfinished:
            test_blocks.to_parquet(unfinished / HELD_OUT)
    stream = BlockStream(
        tokenize(train, tokenizer, **how),
        options.block_size,
        window=options.window,
        seed=seed,
        rank=rank,
        processes=processes,
    )
    facts = {
        "data": source,
        "split": f"{options.held_out:.3g} of the rows held out by a checksum of their text",
        "block size": f"{options.block_size} tokens",
        "blocks": f"streamed to train on, {len(test_blocks):,} to test on",
    }
    return Prepared(stream, test_blocks, facts, fingerprint, None)


def read_held_out(folder: Path) -> Dataset:
    """The blocks that a streamed run is tested on; ``Dataset.from_parquet`` would leave a copy in the cache.

    Raises:
        OSError: If the file is not there, or not whole.
    """
    return Dataset(parquet.read_table(folder / HELD_OUT))


def find_files(data: list[str]) -> list[str]:
    """The local files that names and patterns stand for, sorted; none if it is one id of the Hub.

    Raises:
        FileNotFoundError: If a name or pattern stands for no file.
    """
    files = {word: sorted(glob.glob(word)) or ([word] if Path(word).is_file() else []) for word in data}
    missing = [word for word, found in files.items() if not found]
    if len(data) == 1 and missing and _is_hub_id(data[0]):
        return []
    if missing:
        names = _(" or ").join(missing)
        raise FileNotFoundError(f"no file is {names}; the working folder is {Path.cwd()}")
    return [file for found in files.values() for file in found]


def _is_hub_id(word: str) -> bool:
    """Whether a word that names no local file can be an id on the Hub: ``owner/name`` or ``name``."""
    return word.count("/") < 2 and not set(word) & set("*?[\\") and not _builder(word)


def _builder(file: str) -> str | None:
    suffixes = [suffix.lower() for suffix in Path(file).suffixes if suffix.lower() != ".gz"]
    return BUILDERS.get(suffixes[-1]) if suffixes else None


def _load(track: Track, options: RunOptions) -> Dataset:
    """Rows on this disk, with ``info.description`` set."""
    files = find_files(options.data or [track.data])
    if files and len(files) > 1:
        return _load_files(files, options.rows)
    if files or track.data == HUB_DATA:
        return load_eli5(track if not files else replace(track, data=files[0]))
    commit = _commit(track.data, options.data_revision)
    step = _("loading {name}", name=track.data)
    with hub_step(step, "What has arrived is kept: run this again"):
        rows = load_dataset(track.data, split="train", revision=commit)
    rows = rows.select(range(min(options.rows or len(rows), len(rows))))
    rows.info.description = f"{track.data}, commit {commit}, the first {len(rows):,} rows"
    print(_("{rows:,} rows from {source}", rows=len(rows), source=track.data))
    return rows


def _load_files(files: list[str], rows: int | None) -> Dataset:
    parts = [load_local(file) for file in files]
    joined = concatenate_datasets(parts)
    joined = joined.select(range(min(rows or len(joined), len(joined))))
    joined.info.description = f"{_describe_files(files)}, the first {len(joined):,} rows"
    print(_("{rows:,} rows from {files} files", rows=len(joined), files=len(files)))
    return joined


def _open_stream(track: Track, options: RunOptions) -> tuple[IterableDataset, str, str]:
    """Rows as they come, where they come from, and a hash of that."""
    files = find_files(options.data or [track.data])
    if files:
        builders = {_builder(file) for file in files}
        if len(builders) > 1 or None in builders:
            raise ValueError(
                f"the files of a stream must be of one type out of {', '.join(BUILDERS)}, each also with .gz"
            )
        rows = load_dataset(
            builders.pop(), data_files=[glob.escape(file) for file in files], split="train", streaming=True
        )
        source = _describe_files(files)
    else:
        commit = _commit(track.data, options.data_revision)
        source = f"{track.data}, commit {commit}"
        with hub_step(f"opening {track.data}", "Run this again"):
            rows = load_dataset(track.data, split="train", revision=commit, streaming=True)
    if options.rows:
        source, rows = f"{source}, the first {options.rows:,} rows", rows.take(options.rows)
    return rows, source, hashlib.sha256(source.encode()).hexdigest()


def _commit(name: str, revision: str | None) -> str:
    step = f"asking the Hub for {name}"
    with hub_step(step, "Check the name, or name a local file"):
        return str(HfApi().dataset_info(name, revision=revision).sha)


def _describe_files(files: list[str]) -> str:
    """Names of files, and a hash of names, sizes and beginnings: all of them would take long to read."""
    described = []
    for file in files:
        with open(file, "rb") as opened:
            beginning = hashlib.sha256(opened.read(2**20)).hexdigest()
        described.append((Path(file).name, Path(file).stat().st_size, beginning))
    names = described[0][0] if len(files) == 1 else f"{len(files)} files, {described[0][0]} to {described[-1][0]}"
    return f"{names}, {sum(size for _, size, _ in described):,} bytes, sha256 {_hash(described)}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _fingerprint(*parts: Dataset) -> str:
    """The sha256 of all tokens, in order."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in part.with_format("arrow")[:].column("input_ids").chunks:
            digest.update(piece.flatten().to_numpy().tobytes())
    return digest.hexdigest()
