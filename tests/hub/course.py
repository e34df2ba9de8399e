"""The course's data and model under their real names, on the stand-in Hub."""

import gzip
import io
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from safetensors.numpy import load_file, save

from clmkit.eli5 import ELI5_FEATURES
from clmkit.tracks import BUNDLED, HUB_DATA, HUB_MODEL
from tests.hub.server import StandInHub

AUTHORS_PATH = "/eli5c/datasets/eli5-category-train.json.gz"
LINKS = ("title_urls", "selftext_urls")

DATA_CARD = """---
language: en
pretty_name: ELI5-Category
---

What the stand-in Hub serves in the place of ELI5-Category.
"""
MODEL_CARD = """---
language: en
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

What the stand-in Hub serves in the place of DistilGPT2: the course's tiny GPT-2.
"""

Row = dict[str, Any]


def serve_course(hub: StandInHub, rows: int = 300, shards: int = 1) -> str:
    """Put the data set with its parquet branch, the model and the authors' file on the Hub.

    The rows are those of the bundled sample, or of real ELI5 text where ``CLMKIT_ELI5_JSON`` names a file.

    Args:
        hub: Where to.
        rows: How many rows the training split has at most. The other three splits have 20 each.
        shards: In how many files the model has its weights.

    Returns:
        The address of the authors' file: what ``clmkit.eli5.AUTHORS_FILE`` must be.
    """
    splits = _splits(os.environ.get("CLMKIT_ELI5_JSON") or str(BUNDLED / "eli5_sample.jsonl"), rows)
    files = {f"data/{split}-00000-of-00001.parquet": _parquet(some, "snappy") for split, some in splits.items()}
    hub.put(HUB_DATA, {"README.md": DATA_CARD.encode()} | files, "dataset")
    # Other bytes than those of the main branch: a client that has those fetches these too.
    converted = {f"default/{split}/0000.parquet": _parquet(some, "zstd") for split, some in splits.items()}
    hub.put(HUB_DATA, converted, "dataset", "refs/convert/parquet")
    hub.pages[AUTHORS_PATH] = _as_the_authors_do(splits["train"])
    model: dict[str, bytes | Path] = {path.name: path for path in (BUNDLED / "tiny_gpt2").iterdir() if path.is_file()}
    if shards > 1:
        model |= _in_shards(Path(model.pop("model.safetensors")), shards)
    hub.put(HUB_MODEL, {"README.md": MODEL_CARD.encode()} | model)
    # Not from the first host: datasets takes every address there for one of a repository's file.
    return hub.cdn + AUTHORS_PATH


def _in_shards(weights: Path, shards: int) -> dict[str, bytes]:
    """A model's weights in so many files, and the index that names them."""
    tensors = load_file(weights)
    names = [f"model-{number + 1:05}-of-{shards:05}.safetensors" for number in range(shards)]
    where = {tensor: names[number % shards] for number, tensor in enumerate(tensors)}
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())}, "weight_map": where}
    files = {name: save({key: tensors[key] for key in where if where[key] == name}, {"format": "pt"}) for name in names}
    return files | {"model.safetensors.index.json": json.dumps(index).encode()}


@lru_cache(maxsize=4)
def _splits(source: str, rows: int) -> dict[str, list[Row]]:
    content = Path(source).read_bytes()
    text = (gzip.decompress(content) if source.endswith(".gz") else content).decode()
    every = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    every = [_as_the_hub_does(row) for row in every[: rows + 60]]
    train = min(rows, len(every) - 60)
    splits = {"train": every[:train]}
    for number, split in enumerate(("validation1", "validation2", "test")):
        splits[split] = every[train + 20 * number : train + 20 * (number + 1)]
    return splits


def _as_the_hub_does(row: Row) -> Row:
    """The columns of the Hub's data set, with the links of a title as a plain list."""
    links = {
        key: row[key]["url"] if isinstance(row[key], dict) else row[key] for key in ("title_urls", "selftext_urls")
    }
    return {key: (row | links)[key] for key in ELI5_FEATURES}


def _as_the_authors_do(rows: list[Row]) -> bytes:
    wrapped = [row | {key: {"url": row[key]} for key in LINKS} for row in rows]
    return gzip.compress(json.dumps(wrapped).encode(), mtime=0)


def _parquet(rows: list[Row], compression: str) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=ELI5_FEATURES.arrow_schema), file, compression=compression)
    return file.getvalue()
